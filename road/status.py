"""`make status`: what is there, what is whole, where the report is. 0 only if all is whole."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from components.kit import surroundings
from road import certificates, kubectl, lock, running, workloads
from road.console import say
from road.place import Place

DEADLINE_SECONDS = 30


@dataclass(frozen=True)
class Line:
    """One thing that is looked at. `whole` is what its engine or Kubernetes says, never a guess."""

    about: str
    name: str
    whole: bool
    detail: str


def show(place: Place) -> int:
    say(f"site {place.site}: state {place.state}")
    holder = lock.holder_now(place)
    if holder:
        say(f"held by {holder}")
    with ThreadPoolExecutor() as pool:  # each waits for something else
        seen = [pool.submit(guarded, about, look, place) for about, look in LOOKS]
        lines = [line for found in seen for line in found.result()]
    width = max((len(line.name) for line in lines), default=0)
    for line in lines:
        state = "ok" if line.whole else "NOT WHOLE"
        say(f"  {line.about:<11} {line.name:<{width}}  {state:<9}  {line.detail}")
    for told in off(place):
        say(told)
    broken = [line for line in lines if not line.whole]
    say(f"{len(lines) - len(broken)} of {len(lines)} whole." + (" `make up` mends what it can." if broken else ""))
    return 1 if broken or not lines else 0


def guarded(about: str, look: Callable[[Place], Iterable[Line]], place: Place) -> list[Line]:
    """A look that fails is itself the news."""
    try:
        return list(look(place))
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        return [Line(about, "-", False, f"can't be read: {said(error)}")]


def said(error: Exception) -> str:
    if isinstance(error, subprocess.CalledProcessError):
        text = (error.stderr or error.stdout or "").strip().splitlines()
        return text[-1] if text else f"{Path(str(error.cmd[0])).name} ended with {error.returncode}"
    if isinstance(error, subprocess.TimeoutExpired):
        return f"{Path(str(error.cmd[0])).name} gave no answer within {error.timeout:.0f} s"
    if isinstance(error, FileNotFoundError):
        return f"{error.filename} is not there"
    return f"{type(error).__name__}: {error}"


# ---- hosts


def hosts(place: Place) -> Iterable[Line]:
    inventory = str(place.inventory / "hosts.yml")
    command = [running.tool("ansible"), "-i", inventory, "all", "-o", "-m", "ansible.builtin.ping"]
    done = subprocess.run(
        command,
        cwd=place.repository,
        env={
            **surroundings.built(),
            "ANSIBLE_CONFIG": str(place.repository / "ansible.cfg"),
            "APADANA_STATE": str(place.state_root),
            "APADANA_CACHE": str(place.cache),
        },
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        stdin=subprocess.DEVNULL,
    )
    yield from read_pings(done.stdout)


def read_pings(text: str) -> Iterable[Line]:
    lines = [line for line in text.splitlines() if " | " in line or " | SUCCESS" in line]
    if not lines:
        yield Line("host", "-", False, "Ansible reached no host; is there a lab? (make up)")
    for line in sorted(lines):
        name, _, answer = line.partition(" | ")
        good = answer.startswith("SUCCESS")
        yield Line("host", name.strip(), good, "answers by SSH" if good else answer[:160])


# ---- nodes


def nodes(place: Place) -> Iterable[Line]:
    yield from read_nodes(kubectl.read(place, "get", "nodes"))


def read_nodes(document: Mapping[str, Any]) -> Iterable[Line]:
    for item in document["items"]:
        conditions = {entry["type"]: entry["status"] for entry in item["status"].get("conditions", [])}
        ready = conditions.get("Ready") == "True"
        held_off = bool(item["spec"].get("unschedulable"))
        labels = item["metadata"].get("labels", {})
        roles = "control plane" if "node-role.kubernetes.io/control-plane" in labels else "worker"
        pool = labels.get("apadana.io/pool")
        version = item["status"]["nodeInfo"]["kubeletVersion"]
        detail = f"{roles}, {version}" + (f", pool {pool}" if pool else "") + (", cordoned" if held_off else "")
        yield Line("node", item["metadata"]["name"], ready and not held_off, detail)


# ---- components


def components(place: Place) -> Iterable[Line]:
    contract = json.loads(place.platform.read_text())
    pods = [
        pod
        for space in sorted(workloads.spaces(contract))
        for pod in kubectl.read(place, "get", "pods", "-n", space)["items"]
    ]
    yield from read_components(contract, {"items": pods})


def read_components(contract: Mapping[str, Any], pods: Mapping[str, Any]) -> Iterable[Line]:
    for component in contract["components"]:
        endpoints = ", ".join(
            f"{entry['protocol']} {entry['address']}"
            for side in ("endpoints_in", "endpoints_out")
            for entry in component.get(side, [])
        )
        wanted, missing = servers(component, pods["items"])
        detail = f"{wanted - len(missing)} of {wanted} members ready"
        if not wanted:
            detail = f"{component['mode']}, no members here"
        if missing:
            detail += f" (not: {', '.join(missing)})"
        yield Line("component", component["name"], not missing, f"{detail}; {endpoints}".rstrip("; "))


def servers(component: Mapping[str, Any], pods: Iterable[Mapping[str, Any]]) -> tuple[int, list[str]]:
    """How many servers there should be, and a word for each that is not ready."""
    ready = [pod for pod in pods if pod_is_ready(pod)]
    names = {pod["metadata"]["name"] for pod in ready}
    members = [member["name"] for member in component.get("members", [])]
    wanted, missing = len(members), [name for name in members if name not in names]
    for workload in component.get("workloads", []):
        labels, count = workload["labels"].items(), workload["replicas"]
        there = sum(labels <= (pod["metadata"].get("labels") or {}).items() for pod in ready)
        wanted += count
        missing += [workload["role"]] * max(0, count - there)
    return wanted, missing


# ---- all that runs, and all that answers


def running_now(place: Place) -> Iterable[Line]:
    """One line for all that is whole, and one for each that is not: a component may well answer without it."""
    counted, faults = workloads.look(place)
    for about, name, detail in faults:
        yield Line(about, name, False, detail)
    whole = counted - len(faults)
    yield Line("workload", "all others" if faults else "all", whole > 0, f"{whole} workloads and endpoints are whole")


def off(place: Place) -> list[str]:
    """The rooms that this site does not have, as lines; none where no contract can be read."""
    try:
        known = json.loads(place.platform.read_text()).get("off", [])
    except (OSError, ValueError):
        return []  # the line of the components has said so
    return [f"  off         {room['name']}: {room['because']}" for room in known]


def pod_is_ready(pod: Mapping[str, Any]) -> bool:
    conditions = pod.get("status", {}).get("conditions", [])
    return any(entry["type"] == "Ready" and entry["status"] == "True" for entry in conditions)


# ---- certificates


def leaves(place: Place) -> Iterable[Line]:
    yield from read_leaves(certificates.leaves(place.pki), datetime.now(UTC))


def read_leaves(found: Iterable[certificates.Leaf], now: datetime) -> Iterable[Line]:
    for leaf in found:
        days = leaf.days(now)
        told = f"ends in {days:.0f} days" if days > 0 else f"ended {-days:.0f} days ago"
        yield Line("certificate", leaf.name, days >= certificates.LEAST_DAYS, told)


# ---- report


def report(place: Place) -> Iterable[Line]:
    page = place.report / "index.html"
    results = json.loads((place.report / "results.json").read_text())
    yield read_report(results, page)


def read_report(results: Any, page: Path) -> Line:
    """A report is whole when something was judged and all of it passed."""
    counts: dict[str, int] = {}
    for verdict in verdicts(results):
        counts[verdict] = counts.get(verdict, 0) + 1
    whole = bool(counts) and set(counts) == {"PASS"}
    told = ", ".join(f"{count} {verdict}" for verdict, count in sorted(counts.items())) or "no verdict in it"
    return Line("report", "smoke", whole, f"{told}; {page}")


def verdicts(document: Any) -> Iterable[str]:
    return (str(entry["verdict"]).upper() for entry in document["results"])


#: What is looked at, in the order in which it is told.
LOOKS: tuple[tuple[str, Callable[[Place], Iterable[Line]]], ...] = (
    ("host", hosts),
    ("node", nodes),
    ("component", components),
    ("workload", running_now),
    ("certificate", leaves),
    ("report", report),
)
