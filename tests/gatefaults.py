"""Faults on the way of a request, injected by hand, and what whoever asks meanwhile saw of them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from components.kit.webs import GATEWAY_NAMESPACE, PROXY_PODS
from tests import lab, pages
from validate.ground.kubectl import wait_for
from validate.ground.power.lab import LabHosts
from validate.pod.load.httptarget import HttpRequest
from validate.pod.load.outcome import LoadOutcome
from validate.pod.load.worker import Order
from validate.suites.load.profiles import LatencyLimit, Profile

RATE, NANOS = 100.0, 1_000_000_000
LEAST_ANSWERED, WHOLE_RUN_S = 0.99, 600.0
PATIENCE = LatencyLimit(percentile=99, max_ms=300)  # a shorter silence is none
FROZEN_S, DEAD_S, WHOLE_S = 20.0, 45.0, 600.0
#: A script without a log-in is refused by the proxy itself: 401, or sent away.
HEADERS = (("X-Requested-With", "XMLHttpRequest"),)
REFUSED = (302, 403)

Item = Mapping[str, Any]


@dataclass(frozen=True)
class Fault:
    """`at`: share of the time after which it is injected; `goal_s`: the longest silence allowed."""

    name: str
    at: float
    inject: Callable[[], object]
    goal_s: float


@dataclass(frozen=True)
class Injected:
    """When it began and when all was whole again, in monotonic ns."""

    fault: Fault
    begin: int
    end: int


def profile(seconds: float) -> Profile:
    """What is asked all the time. No warm-up: moments of faults and of silences are compared."""
    return Profile(
        name="gateway-faults",
        rate_per_s=RATE,
        spacing="constant",
        duration_s=seconds,
        warmup_s=0,
        latency=(PATIENCE,),
        success_share=LEAST_ANSWERED,
    )


def request(page: str, address: str, ca_file: str | None = None) -> HttpRequest:
    """A page by its public name, by whatever way in."""
    return HttpRequest(f"https://{page}/", headers=HEADERS, connect_to=address, ca_file=ca_file, expect=REFUSED)


def answered(outcome: LoadOutcome) -> float:
    """Share of the requests that were answered as they should be."""
    return 1 - outcome.ledger.failed / max(1, outcome.ledger.requests)


def may_fail(seconds: float) -> float:
    """Requests: 1 % of ten minutes, also of a shorter run, which has the same faults in it."""
    return (1 - LEAST_ANSWERED) * RATE * max(seconds, WHOLE_RUN_S)


def longest_silence(outcome: LoadOutcome, begin: int, end: int) -> float:
    """Seconds, of the silences that ended between two moments of this machine's monotonic clock:
    one begins with the last answer before its fault. 0.0: none that kept somebody waiting."""
    found = [silence.seconds for silence in outcome.ledger.silences if begin < silence.end + outcome.begin_ns <= end]
    return max(found, default=0.0)


def spans(injected: Sequence[Injected], outcome: LoadOutcome) -> Iterator[tuple[str, int, int]]:
    """Name, begin and end of each stretch: what was before the first fault, then each fault with
    what follows, up to the next one."""
    last = outcome.begin_ns + len(outcome.ledger.seconds) * NANOS
    begins = [each.begin for each in injected]
    yield "nothing", outcome.begin_ns, begins[0] if begins else last
    for each, end in zip(injected, [*begins[1:], max(last, *begins)], strict=True):
        yield each.fault.name, each.begin, end


def told(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds else f"under {PATIENCE.max_ms / 1000:g} s"


def in_pod(order: Order) -> list[str]:
    """A command that goes on without whoever gave it: the API server it came by may die."""
    wish = json.dumps({"order": order.record(), "certify": False})
    # Its last line alone is kept: what it tells on the way grows with the time.
    script = (
        '{ python3 -m validate.pod load --order "$1" | tail -n 1; } </dev/null >/work/load.jsonl 2>/work/load.err &'
    )
    return ["sh", "-c", script, "sh", wish]


def outcome_in(line: str) -> LoadOutcome | None:
    """The generator's last line, once it is there; AssertionError where it gave up."""
    try:
        record = json.loads(line or "{}")
    except ValueError:
        return None  # it is being written
    assert record.get("kind") != "failed", record.get("why")
    return LoadOutcome.of(record) if record.get("kind") == "outcome" else None


# ---- what is done to the lab


def proxies() -> list[Item]:
    """The pods of the proxies."""
    wish = ",".join(f"{key}={value}" for key, value in PROXY_PODS.items())
    found: list[Item] = lab.cluster().json("-n", GATEWAY_NAMESPACE, "get", "pods", "-l", wish)["items"]
    return [pod for pod in found if pod["status"]["phase"] == "Running" and "deletionTimestamp" not in pod["metadata"]]


def whole() -> bool | None:
    """Every proxy and controller is available, and no host is missing."""
    cluster = lab.cluster()
    for item in cluster.json("-n", GATEWAY_NAMESPACE, "get", "deployments")["items"]:
        if item["status"].get("availableReplicas", 0) < item["spec"]["replicas"]:
            return None
    return True if all(map(ready, cluster.json("get", "nodes")["items"])) else None


def ready(node: Item) -> bool:
    """As its kubelet tells the API."""
    said = {each["type"]: each["status"] for each in node["status"]["conditions"]}
    return said.get("Ready") == "True"


def wait_whole() -> None:
    wait_for("the gateway to be whole", whole, timeout=WHOLE_S, every=1)


def wait_until(moment: float) -> None:
    """A moment of the monotonic clock."""
    left = moment - time.monotonic()
    if left > 0:
        wait_for("the moment", lambda: time.monotonic() >= moment or None, timeout=left + 5, every=0.1)


def floating_host() -> str:
    """Who holds the address that people come by."""
    address = f" {pages.floating()}/"
    return next(h for h in lab.control_planes() if address in lab.on_host(h, "ip -4 -o addr\n"))


def kill_proxy() -> None:
    """The process of one proxy: exact name, in the PID namespace of its host."""
    lab.on_host(proxies()[0]["spec"]["nodeName"], "pkill -KILL -x envoy\n")


def freeze_proxy() -> None:
    """It takes connections and answers none, until it goes on or its kubelet ends it."""
    host = proxies()[-1]["spec"]["nodeName"]
    lab.on_host(host, "pkill -STOP -x envoy\n")
    try:
        wait_until(time.monotonic() + FROZEN_S)
    finally:
        lab.on_host(host, "pkill -CONT -x envoy || test $? = 1\n")


def evict_proxy() -> None:
    """As draining its host does."""
    name = proxies()[0]["metadata"]["name"]
    meta = {"name": name, "namespace": GATEWAY_NAMESPACE}
    asked = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": meta}
    path = f"/api/v1/namespaces/{GATEWAY_NAMESPACE}/pods/{name}/eviction"
    lab.cluster().run("create", "--raw", path, "-f", "-", stdin=json.dumps(asked).encode())


@contextmanager
def dead(host: str) -> Iterator[None]:
    """A host without power, given back in any case."""
    hosts = LabHosts(lab.SITE)
    hosts.kill(host)
    try:
        yield
    finally:
        hosts.start(host)


def kill_host() -> str:
    """The one that holds the floating address, with all that runs on it; it has its power back."""
    with dead(host := floating_host()):
        wait_until(time.monotonic() + DEAD_S)
    return host


FAULTS = (
    Fault("a proxy is killed", 0.10, kill_proxy, 1.0),
    Fault("a proxy is frozen", 0.30, freeze_proxy, 3.0),
    Fault("a proxy is evicted", 0.50, evict_proxy, 1.0),
    Fault("the host with the floating address is killed", 0.70, kill_host, 3.0),
)


def inject(faults: Sequence[Fault], seconds: float) -> list[Injected]:
    """Each at its moment, or when the one before it is over, whichever is later."""
    begun, done = time.monotonic(), []
    for fault in faults:
        wait_until(begun + fault.at * seconds)
        begin = time.monotonic_ns()
        fault.inject()
        wait_whole()
        done.append(Injected(fault, begin, time.monotonic_ns()))
    return done
