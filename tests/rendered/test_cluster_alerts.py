"""What Prometheus tells of hosts, control planes, volumes and cards, by its own tester of rules.

No card was here: the names are those of NVIDIA's DCGM exporter, the figures are ours.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.kit.discovery import COMPONENTS
from components.prometheus import targets
from tests.rendered import alerting, objects, test_observe
from tests.rendered.alerting import Series, labelled

pytestmark = pytest.mark.rendered
ROOMS = ("cluster", "nodepool", "storage")
READ = re.compile(r"\b(?:kubelet|kubernetes|coredns|DCGM|probe)_\w+")
HOST, POOL = {"instance": "gpu1"}, {"pool": "gpu"}
PLANES = ("cp1", "cp2", "cp3")
CARD = {"Hostname": "gpu1", "gpu": "0"}
CLAIM = {"namespace": "platform", "persistentvolumeclaim": "data-kafka-0"}
GIB = 2**30


def series(name: str, values: str, /, **labels: str) -> Series:
    return {"series": labelled(name, **labels), "values": values}


def up(job: str, values: dict[str, str], **labels: str) -> list[Series]:
    return [series("up", text, job=job, instance=host, **labels) for host, text in values.items()]


def etcd(values: dict[str, str]) -> list[Series]:
    told = {"job": "api-servers", "name": "etcd", "type": "readyz"}
    return [series("kubernetes_healthcheck", text, instance=host, **told) for host, text in values.items()]


def checks(share: float, host: str = "cp2") -> list[Series]:
    """Of etcd's, thirty a minute; `share` of them failed."""
    told = {"job": "api-servers", "name": "etcd", "type": "readyz", "instance": host}
    failed = 30 * share
    return [
        series("kubernetes_healthchecks_total", f"0+{30 - failed}x120", status="success", **told),
        series("kubernetes_healthchecks_total", f"0+{failed}x120", status="error", **told),
    ]


def answers(failed: float, plugin: str, slow: float = 0, panics: str = "0x60") -> list[Series]:
    """CoreDNS of one host, a hundred a minute."""
    told = {"job": "coredns", "instance": "cp2", "server": "dns://:53", "zone": ".", "view": ""}
    name, took = "coredns_dns_responses_total", "coredns_dns_request_duration_seconds"
    return [
        series(name, f"0+{100 - failed}x60", rcode="NOERROR", plugin="errors", **told),
        series(name, f"0+{failed}x60", rcode="SERVFAIL", plugin=plugin, **told),
        series(f"{took}_bucket", f"0+{100 - slow}x60", le="0.512", **told),
        series(f"{took}_count", "0+100x60", **told),
        series("coredns_panics_total", panics, job="coredns", instance="cp2"),
        series("coredns_forward_healthcheck_broken_total", "0x60", job="coredns", instance="cp2"),
    ]


def volume(free: str, size: float = 100, what: str = "available_bytes", whole: str = "capacity_bytes") -> list[Series]:
    more = CLAIM | {"job": "volumes", "instance": "cp1"}
    return [
        series(f"kubelet_volume_stats_{what}", free, **more),
        series(f"kubelet_volume_stats_{whole}", f"{size}x600", **more),
    ]


def card(name: str, values: str, **more: str) -> Series:
    return series(f"DCGM_FI_DEV_{name}", values, **(CARD | more))


ALIVE = dict.fromkeys(PLANES, "1x60")
DOWN = {"job": "volumes", **HOST, **POOL}
ONE_LOST = ALIVE | {"cp2": "1x5 0x20 1x30"}
DAY = 86400
CASES: dict[str, tuple[str, str, list[Series], dict[int, list[Series]], str]] = {
    "a host that does not answer": (
        "nodepool",
        "HostDown",
        up("volumes", {"gpu1": "1x5 0x20 1x9"}, pool="gpu") + up("volumes", {"cp1": "1x40"}, pool="general"),
        {6: [], 9: [DOWN], 30: []},
        "",
    ),
    "one host of a pool is left": (
        "nodepool",
        "PoolDown",
        up("volumes", {"gpu1": "0x30", "gpu2": "1x5 0x9 1x9"}, pool="gpu") + up("volumes", {"x": "0x30"}),
        {4: [], 9: [POOL], 20: []},
        "",
    ),
    "an API server": (
        "cluster",
        "ApiServerDown",
        up("api-servers", ONE_LOST),
        {6: [], 9: [{"job": "api-servers", "instance": "cp2"}], 30: []},
        "",
    ),
    "all API servers": (
        "cluster",
        "ApiServersDown",
        up("api-servers", dict.fromkeys(PLANES, "1x5 0x20")),
        {5: [], 9: [{}]},
        "",
    ),
    "one API server is not all": ("cluster", "ApiServersDown", up("api-servers", ONE_LOST), {9: []}, ""),
    "an etcd that takes no writes": (
        "cluster",
        "EtcdMemberSilent",
        etcd(ONE_LOST),
        {6: [], 9: [{"instance": "cp2"}], 30: []},
        "",
    ),
    "a majority of etcd by one": (
        "cluster",
        "EtcdNextLossStopsIt",
        up("api-servers", ONE_LOST) + etcd(ALIVE | {"cp2": "1x5 stale _x20 1x30"}),
        {9: [], 12: [{}], 40: []},
        "",
    ),
    "of five etcds one may go": (
        "cluster",
        "EtcdNextLossStopsIt",
        up("api-servers", dict.fromkeys("abcde", "1x30")) + etcd(dict.fromkeys("abcd", "1x30") | {"e": "0x30"}),
        {20: []},
        "",
    ),
    "a single control plane promises nothing": (
        "cluster",
        "EtcdNextLossStopsIt",
        up("api-servers", {"cp1": "1x30"}) + etcd({"cp1": "1x30"}),
        {20: []},
        "",
    ),
    "an etcd without a leader": (
        "cluster",
        "EtcdHasNoLeader",
        etcd(dict.fromkeys(PLANES, "1x5 0x20 1x30")),
        {5: [], 8: [{}], 30: []},
        "",
    ),
    "one etcd that takes writes is enough": ("cluster", "EtcdHasNoLeader", etcd(ONE_LOST), {12: []}, ""),
    "an etcd that comes and goes": (
        "cluster",
        "EtcdFalters",
        checks(0.05) + checks(0.001, "cp1") + etcd(ALIVE),
        {40: [{"instance": "cp2"}]},
        "",
    ),
    "an etcd that was started anew once": (
        "cluster",
        "EtcdFalters",
        [
            series(
                "kubernetes_healthchecks_total",
                text,
                **{"job": "api-servers", "name": "etcd", "type": "readyz", "instance": "cp2", "status": status},
            )
            for status, text in (("success", "0+30x120"), ("error", "0x20 15x100"))
        ]
        + etcd(ALIVE),
        {21: [], 30: [], 45: []},
        "",
    ),
    "an etcd that is gone is told by another": (
        "cluster",
        "EtcdFalters",
        checks(1.0) + etcd(ALIVE | {"cp2": "0x60"}),
        {40: []},
        "",
    ),
    "usage figures that nobody serves": (
        "cluster",
        "UsageFiguresMissing",
        [series("probe_success", "1x5 0x20 1x9", job="usage-figures", instance=host) for host in PLANES],
        {8: [], 13: [{}], 30: []},
        "",
    ),
    "one way to usage figures is enough": (
        "cluster",
        "UsageFiguresMissing",
        [
            series("probe_success", values, job="usage-figures", instance=host)
            for host, values in (("cp1", "0x30"), ("cp2", "1x30"))
        ],
        {20: []},
        "",
    ),
    "names of one host": (
        "cluster",
        "CoreDnsDown",
        up("coredns", ALIVE | {"cp2": "1x5 0x20 1x30"}) + up("volumes", ALIVE, pool="general"),
        {6: [], 9: [{"instance": "cp2"}], 30: []},
        "",
    ),
    "a host without CoreDNS": (
        "cluster",
        "CoreDnsDown",
        up("coredns", {"cp1": "1x60"}) + up("volumes", {"cp1": "1x60", "gpu1": "1x60"}, pool="gpu"),
        {9: [{"instance": "gpu1"}]},
        "",
    ),
    "a host that is lost has an alert of its own": (
        "cluster",
        "CoreDnsDown",
        up("coredns", {"gpu1": "0x60"}) + up("volumes", {"gpu1": "0x60"}, pool="gpu"),
        {20: []},
        "",
    ),
    "names where nobody watches hosts": (
        "cluster",
        "CoreDnsDown",
        up("coredns", {"cp1": "1x60", "cp2": "0x60"}),
        {9: [{"instance": "cp2"}]},
        "",
    ),
    "names of the cluster that fail": (
        "cluster",
        "CoreDnsErrors",
        answers(5, "errors"),
        {3: [], 12: [{"instance": "cp2"}]},
        "",
    ),
    "names of outside where nobody knows them": ("cluster", "CoreDnsErrors", answers(60, ""), {30: []}, ""),
    "a CoreDNS that stumbles over a question": (
        "cluster",
        "CoreDnsErrors",
        answers(0, "errors", panics="0x10 0+1x30"),
        {10: [], 20: [{"instance": "cp2"}]},
        "",
    ),
    "names that take long": ("cluster", "CoreDnsSlow", answers(0, "", slow=5), {3: [], 20: [{"instance": "cp2"}]}, ""),
    "one name in a hundred that takes long": ("cluster", "CoreDnsSlow", answers(0, "", slow=1), {20: []}, ""),
    "resolvers outside that are away": (
        "cluster",
        "CoreDnsResolversDown",
        [series("coredns_forward_healthcheck_broken_total", "0x5 0+10x20", job="coredns", instance="cp2")],
        {5: [], 15: [{"job": "coredns", "instance": "cp2"}]},
        "",
    ),
    "a control plane's certificate": (
        "cluster",
        "ControlPlaneCertificateEnds",
        [
            series("probe_ssl_earliest_cert_expiry", f"{days * DAY}x90", component="cluster", instance=host)
            for host, days in (("cp1", 20), ("cp2", 300))
        ],
        {30: [], 70: [{"instance": "cp1"}]},
        "",
    ),
    "a kubelet that does not renew": (
        "cluster",
        "KubeletCertificateEnds",
        [
            series("kubelet_certificate_manager_client_ttl_seconds", f"{days * DAY}x90", instance=host)
            for host, days in (("cp1", 13), ("cp2", 40))
        ],
        {30: [], 70: [{"instance": "cp1"}]},
        "",
    ),
    "a card that is busy for ten minutes": (
        "nodepool",
        "CardBusy",
        [card("GPU_UTIL", "10x5 98x20 40x20")],
        {10: [], 12: [], 17: [CARD], 40: []},
        "",
    ),
    "a card with a short rest": (
        "nodepool",
        "CardBusy",
        [card("GPU_UTIL", "100x7 0x1 100x30")],
        {9: [], 30: [CARD]},
        "",
    ),
    "a card just below": ("nodepool", "CardBusy", [card("GPU_UTIL", "94x60")], {40: []}, ""),
    "a card that has just begun": ("nodepool", "CardBusy", [card("GPU_UTIL", "_x10 100x30")], {15: [], 25: [CARD]}, ""),
    "a card's memory": (
        "nodepool",
        "CardMemoryFull",
        [card("FB_USED", "10000x5 24000x20"), card("FB_FREE", "14000x5 564x20")],
        {5: [], 8: [], 12: [CARD]},
        "",
    ),
    "a card that is lost": ("nodepool", "CardFault", [card("XID_ERRORS", "0x3 79x9")], {2: [], 5: [CARD]}, "79"),
    "a program's own fault": ("nodepool", "CardFault", [card("XID_ERRORS", "31x9")], {5: []}, ""),
    "a card fewer than promised": (
        "nodepool",
        "CardsMissing",
        [card("GPU_UTIL", "5x30"), card("GPU_UTIL", "5x5 stale _x24", gpu="1"), series(targets.PROMISED, "2x30")],
        {5: [], 8: [], 12: [{}]},
        "2",
    ),
    "no card at all": ("nodepool", "CardsMissing", [series(targets.PROMISED, "2x30")], {4: [], 12: [{}]}, "2"),
    "a volume that fills": (
        "storage",
        "VolumeFillsWithinADay",
        volume(f"{45 * GIB}-{GIB // 30}x600", 100 * GIB),
        {30: [], 120: [CLAIM]},
        "",
    ),
    "one that fills slowly": (
        "storage",
        "VolumeFillsWithinADay",
        volume(f"{45 * GIB}-{GIB // 100}x600", 100 * GIB),
        {400: []},
        "",
    ),
    "one with much room": (
        "storage",
        "VolumeFillsWithinADay",
        volume(f"{90 * GIB}-{GIB // 30}x300", 100 * GIB),
        {200: []},
        "",
    ),
    "a volume of small files": (
        "storage",
        "VolumeHasFewInodes",
        volume("20x5 9x20", 100, "inodes_free", "inodes"),
        {5: [], 12: [CLAIM]},
        "",
    ),
}


@pytest.mark.parametrize(("room", "alert", "given", "when", "value"), CASES.values(), ids=CASES)
def test_it_is_told_when_it_is_so(
    tmp_path: Path, room: str, alert: str, given: list[Series], when: dict[int, list[Series]], value: str
) -> None:
    alerting.expect(COMPONENTS / room / "alerts.yaml", tmp_path, given, alert, when, value=value)


def content(room: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = yaml.safe_load((COMPONENTS / room / "alerts.yaml").read_text())["groups"]
    return found


def test_every_alert_has_its_case() -> None:
    written = {(room, rule["alert"]) for room in ROOMS for group in content(room) for rule in group["rules"]}
    assert written == {(room, alert) for room, alert, *_ in CASES.values()}


@pytest.mark.parametrize("room", ROOMS)
def test_whoever_is_told_finds_what_to_do(room: str) -> None:
    text = (COMPONENTS / room / "RUNBOOK.md").read_text()
    alerts = [rule["alert"] for group in content(room) for rule in group["rules"]]
    assert [alert for alert in alerts if f"`{alert}`" not in text] == []


def test_what_a_rule_reads_is_what_its_job_keeps() -> None:
    """A name that is dropped at the scrape is an alert that can't fire."""
    cards = {"cards": {"service": "cards", "namespace": "gpu-operator"}}
    own = type(test_observe.LAB.rooms["prometheus"])
    settings = own.model_validate(test_observe.LAB.rooms["prometheus"].model_dump(by_alias=True, mode="json") | cards)
    documents = objects.rendered("prometheus", settings, test_observe.SITE)
    told = yaml.safe_load(test_observe.files(documents, "prometheus-files")["prometheus.yml"])
    jobs = {job["job_name"]: job for job in told["scrape_configs"]}
    assert set(targets.watched(test_observe.SITE)) < set(jobs)
    for room in ROOMS:
        for group in content(room):
            assert group["name"] in targets.watched(test_observe.SITE), f"{room}: {group['name']} is no job"
            names = {name for rule in group["rules"] for name in READ.findall(rule["expr"])}
            for name in sorted(names):
                job = jobs["api-certificates" if name == "probe_ssl_earliest_cert_expiry" else group["name"]]
                assert kept(job, name), f"{room}: {name} is dropped by {job['job_name']}"
            told = [re.findall(r'job="([^"]*)"', text) for text in _ups(group)]
            assert all(read in ([group["name"]], ["volumes"]) for read in told), group["name"]


#: The labels that decide beside the name, of what the rules read.
BESIDE = {"kubernetes_": ["readyz", "etcd"], "coredns_dns_request_duration_seconds_bucket": ["0.512"]}


def kept(job: dict[str, Any], name: str) -> bool:
    (rule,) = [each for each in job["metric_relabel_configs"] if each.get("action") == "keep"]
    assert rule["source_labels"][0] == "__name__"
    blank = [""] * (len(rule["source_labels"]) - 1)
    beside = next((labels for start, labels in BESIDE.items() if name.startswith(start)), blank)
    return re.fullmatch(rule["regex"], ";".join([name, *beside])) is not None


def test_of_what_a_source_shows_little_is_kept() -> None:
    documents = objects.rendered("prometheus", test_observe.LAB.rooms["prometheus"], test_observe.SITE)
    told = yaml.safe_load(test_observe.files(documents, "prometheus-files")["prometheus.yml"])
    (job,) = [each for each in told["scrape_configs"] if each["job_name"] == "coredns"]
    (rule,) = [each for each in job["metric_relabel_configs"] if each.get("action") == "keep"]
    took = "coredns_dns_request_duration_seconds_bucket"
    assert re.fullmatch(rule["regex"], f"{took};0.512") and not re.fullmatch(rule["regex"], f"{took};0.256")
    assert not re.fullmatch(rule["regex"], "coredns_dns_requests_total;")


def _ups(group: dict[str, Any]) -> list[str]:
    return [found for rule in group["rules"] for found in re.findall(r"\bup\{[^}]*\}", rule["expr"])]
