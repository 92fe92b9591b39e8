"""What there is to scrape and to be told of: a pure function of the contract of every room.

Names and no discovery: the contract says which members there should be, so one that is missing is a
target that is down and not one that nobody asks for any more. It also needs no right at the API
server, and goes on while that is away.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Literal

import yaml

from components.kit import naming
from components.kit.contract import Component, Metrics
from components.kit.discovery import room
from components.kit.parts import parts
from components.kit.settings import Frozen, Mode, SiteFacts, UseValues
from components.prometheus.certificates import looks
from components.prometheus.probe import ANY

VOLUMES_JOB, PLANES_JOB, FIGURES_JOB, NAMES_JOB, CARDS_JOB = (
    "volumes",
    "api-servers",
    "usage-figures",
    "coredns",
    "cards",
)
PROMISED = "apadana:cards_promised"
ALERTS, RUNBOOK = "alerts.yaml", "RUNBOOK.md"


class Scrape(Frozen):
    """One job: the members by name, or whatever addresses a headless Service has, or what that Service lists."""

    job: str
    room: str
    path: str
    scheme: Literal["http", "https"]
    port: int
    hosts: tuple[str, ...] = ()  # full names of members
    service: str = ""  # full name of the headless Service; then `hosts` is empty
    namespace: str = ""  # of that Service, where it is not the platform's
    server_name: str = ""  # of the certificate, where it is not the name that is asked for
    listed: str = ""  # path where the pods to scrape are told; "": they are not


def scrapes(site: SiteFacts) -> tuple[Scrape, ...]:
    """Every job, by room."""
    return tuple(
        scrape_of(part, metrics, site)
        for part in parts(site)
        for metrics in part.metrics
        if part.members or metrics.service
    )


def scrape_of(part: Component, metrics: Metrics, site: SiteFacts) -> Scrape:
    """One of a room's metrics as Prometheus is told of it."""
    service, namespace = _service(metrics, site)
    hosts = () if service else tuple(_host(member.name, site) for member in part.members)
    fallback = service if metrics.scheme == "https" else ""  # an address is in no certificate
    return Scrape(
        job=_job(part, metrics),
        room=part.name,
        path=metrics.path,
        scheme=metrics.scheme,
        port=metrics.port,
        hosts=hosts,
        service=service,
        namespace=namespace,
        server_name=metrics.tls_server_name or fallback,
        listed=metrics.listed.path if metrics.listed else "",
    )


def _service(metrics: Metrics, site: SiteFacts) -> tuple[str, str]:
    """The Service's full name, and its namespace where it has one of its own: `name.namespace`."""
    name, _, namespace = (metrics.service or "").partition(".")
    if namespace:
        return f"{name}.{namespace}.svc.{site.cluster_domain}", namespace
    return (site.service_dns(name) if name else ""), ""


def _job(part: Component, metrics: Metrics) -> str:
    """The room; of several, with what tells them apart."""
    if metrics.listed:
        return f"{part.name}-{metrics.listed.path.rpartition('/')[2]}"
    ports = [each.port for each in part.metrics if not each.listed]
    if len(ports) == 1:
        return part.name
    last = metrics.path.rpartition("/")[2] if ports.count(metrics.port) > 1 else metrics.port
    return f"{part.name}-{last}"


def _host(pod: str, site: SiteFacts) -> str:
    """A member of a StatefulSet: the Service is called after the set, as the member is."""
    return site.pod_dns(pod, naming.members_service(pod.rpartition("-")[0]))


def unwatched(site: SiteFacts) -> list[str]:
    """Rooms that run here and show nothing, or show it where no name leads to."""
    watched = {scrape.room for scrape in scrapes(site)}
    return [part.name for part in parts(site) if part.name not in watched]


def watched(site: SiteFacts) -> dict[str, bool]:
    """What no room's contract tells of, by job, and whether it is asked here. Rules about it stand in groups of these
    names, and are loaded only where it is: an alert without a source would be a promise that nobody keeps."""
    own = site.rooms.get("prometheus")
    return {
        VOLUMES_JOB: getattr(own, "watch_volumes", False),
        PLANES_JOB: getattr(own, "watch_control_planes", False),
        FIGURES_JOB: getattr(own, "watch_control_planes", False),
        NAMES_JOB: getattr(own, "watch_names", False),
        CARDS_JOB: getattr(own, "cards", None) is not None,
    }


def uses(site: SiteFacts, but: str) -> tuple[UseValues, ...]:
    """The rooms that are scraped, for labels and egress; watching is no dependency."""
    ports: dict[tuple[str, str], set[int]] = {}
    for scrape in scrapes(site):
        ports.setdefault((scrape.room, scrape.namespace), set()).add(scrape.port)
    for told in (metrics.listed for part in parts(site) for metrics in part.metrics if metrics.listed):
        ports.setdefault((told.room, told.namespace), set()).add(told.port)
    return tuple(
        UseValues(room=name, namespace=namespace, ports=tuple(sorted(found)))
        for (name, namespace), found in sorted(ports.items())
        if name != but
    )


def rules(site: SiteFacts) -> dict[str, str]:
    """Room -> its alerts.yaml, as far as it has a source; each rule says of which room it is, and what to read then."""
    found = {}
    asked = watched(site)
    for name, settings in sorted(site.rooms.items()):
        place = room(name)
        if settings.mode is Mode.MANAGED and place.has(ALERTS):
            content = yaml.safe_load((place.path / ALERTS).read_text(encoding="utf-8"))
            content["groups"] = [group for group in content["groups"] if asked.get(group["name"], True)]
            for rule in _each(content):
                rule["labels"] = {"component": name} | rule.get("labels", {})
                if "alert" in rule and place.has(RUNBOOK):
                    read = {"runbook": f"components/{name}/{RUNBOOK}"}
                    rule["annotations"] = read | rule.get("annotations", {})
            if promised := settings.cards_promised():
                record = {"record": PROMISED, "expr": f"vector({promised})"}
                content["groups"].append({"name": "promised", "rules": [record]})
            found[name] = yaml.safe_dump(content, sort_keys=False, width=1000)
    return found


def _each(content: dict[str, Any]) -> list[dict[str, Any]]:
    return [rule for group in content["groups"] for rule in group["rules"]]


def expected(site: SiteFacts) -> dict[str, dict[str, int]]:
    """For the probe: targets of each job (0: at least one; ANY: none, too), rules and certificates of each room."""
    targets = {scrape.job: ANY if scrape.listed else len(scrape.hosts) for scrape in scrapes(site)}
    # A client's cluster may run its control planes where nobody sees them, and find names by other means.
    known = dict.fromkeys((PLANES_JOB, FIGURES_JOB, NAMES_JOB), 0 if site.inventory else ANY)
    return {
        "targets": targets | {job: known.get(job, 0) for job, asked in watched(site).items() if asked},
        "rules": {name: len(_each(yaml.safe_load(text))) for name, text in rules(site).items()},
        "certificates": dict(Counter(look.room for look in looks(site) for _ in look.places)),
    }
