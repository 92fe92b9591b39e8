"""The floating address moves within 3 s when HAProxy, the host or its network dies.

    APADANA_TRIES=10 pytest -s -m campaign tests/campaign/test_floating_address.py

A client of this machine asks the API through the address, each time by a new connection. The figure
is the longest time between two answers around the fault. The rows are printed and kept in
<state>/figures/floating.json.
"""

from __future__ import annotations

import os
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise

import pytest

from tests import lab, pages
from tests.bench.figures import save, table
from tests.drift_round import wait_for_pods
from validate.ground.kubectl import wait_for
from validate.ground.power.lab import LabHosts

pytestmark = pytest.mark.campaign
TRIES = int(os.environ.get("APADANA_TRIES", "3"))
GOAL_SECONDS, WATCH_SECONDS = 3.0, 8.0
# Clients that ask in turn: one that waits for a dead host does not see when another one answers.
CLIENTS, PAUSE_SECONDS = 8, 0.3
CONNECT_SECONDS, ANSWER_SECONDS = 0.3, 1.0
ADDRESS, PORT = pages.floating(), 8443
# A table of its own, which its own timer takes away should the test die.
CUT = """
systemd-run --quiet --on-active=90 --unit=uncut nft delete table inet cut
nft -f - <<'RULES'
table inet cut {
  chain in { type filter hook input priority -300; policy drop; iif lo accept; }
  chain out { type filter hook output priority -300; policy drop; oif lo accept; }
}
RULES
"""
UNCUT = "systemctl stop uncut.timer; nft delete table inet cut\n"
HAPROXY = "haproxy.service"
Act = Callable[[str], object]


def script(text: str) -> Act:
    return lambda host: lab.on_host(host, text)


#: The fault, what undoes it, and whether the address has to be elsewhere then.
FAULTS: dict[str, tuple[Act, Act, bool]] = {
    "HAProxy stopped": (script(f"systemctl stop {HAPROXY}\n"), script(f"systemctl start {HAPROXY}\n"), True),
    # systemd starts it again, perhaps before anybody asked.
    "HAProxy killed": (script(f"systemctl kill --signal=KILL {HAPROXY}\n"), lambda host: None, False),
    "HAProxy frozen": (
        script(f"systemctl kill --signal=STOP {HAPROXY}\n"),
        script(f"systemctl kill --signal=CONT {HAPROXY}\n"),
        True,
    ),
    "host killed": (LabHosts(lab.SITE).kill, LabHosts(lab.SITE).start, True),
    "network cut": (script(CUT), script(UNCUT), True),
}


@dataclass
class Watch:
    """When the address answered."""

    answers: list[float] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        while not self.ended.is_set():
            if answers():
                self.answers.append(time.monotonic())
            self.ended.wait(PAUSE_SECONDS)

    def gap_around(self, moment: float) -> float:
        """The longest silence since the last answer before the moment, until now."""
        answers = sorted(self.answers)
        seen = [max(at for at in answers if at < moment)]
        seen += [*(at for at in answers if at >= moment), time.monotonic()]
        return max(later - earlier for earlier, later in pairwise(seen))


def answers() -> bool:
    """One question to any API server, by a new connection; its etcd may be electing meanwhile."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with socket.create_connection((ADDRESS, PORT), CONNECT_SECONDS) as plain:
            plain.settimeout(ANSWER_SECONDS)
            link = context.wrap_socket(plain)
            link.sendall(b"GET /livez?exclude=etcd HTTP/1.0\r\n\r\n")
            return b" 200 " in link.recv(64)
    except OSError:
        return False


@contextmanager
def watched() -> Iterator[Watch]:
    watch = Watch()
    threads = [threading.Thread(target=watch.run) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    try:
        wait_for("the address to answer", lambda: watch.answers or None, timeout=30, every=0.2)
        yield watch
    finally:
        watch.ended.set()
        for thread in threads:
            thread.join()


def holders(*without: str) -> list[str]:
    """Who holds the address by its own word."""
    has = f"ip -4 address show | grep -qF ' {ADDRESS}/' && echo yes || true\n"
    planes = [host for host in lab.control_planes() if host not in without]
    return [host for host in planes if lab.on_host(host, has).strip()]


def holder(*without: str) -> str:
    """The one that holds it, waited for: right after a fault there may be none or two."""

    def one() -> str | None:
        found = holders(*without)
        return found[0] if len(found) == 1 else None

    return wait_for("one host to hold the address", one, timeout=60, every=0.5)


def whole() -> None:
    """Every control plane could take the address."""
    ready = (
        f"systemctl is-active --quiet {HAPROXY} keepalived.service containerd.service"
        " && socat -u UNIX-CONNECT:/run/haproxy/alive.sock OPEN:/dev/null && echo yes || true\n"
    )

    def all_ready() -> bool | None:
        told = [lab.on_host(host, ready, check=False).strip() for host in lab.control_planes()]
        return set(told) == {"yes"} or None

    wait_for("every load balancer to work", all_ready, timeout=180, every=1)
    wait_for("all nodes to be Ready", nodes_ready, timeout=240, every=2)


def nodes_ready() -> bool | None:
    for node in lab.cluster().json("get", "nodes")["items"]:
        states = {c["type"]: c["status"] for c in node["status"]["conditions"]}
        if states.get("Ready") != "True":
            return None
    return True


@pytest.mark.parametrize("number", range(TRIES))
@pytest.mark.parametrize("name", FAULTS)
def test_the_address_moves(name: str, number: int) -> None:
    plant, undo, moves = FAULTS[name]
    whole()
    first = holder()
    with watched() as watch:
        time_of_fault = time.monotonic()
        plant(first)
        try:
            time.sleep(WATCH_SECONDS)  # the time that is measured, not a wait for something
            second = holder(first) if moves else ""
        finally:
            undo(first)
        time.sleep(WATCH_SECONDS)  # what comes back must not cut anybody off either
    row = {
        "try": f"{name} {number + 1}",
        "from": first,
        "to": second or holder(),
        "gap_s": f"{watch.gap_around(time_of_fault):.2f}",
        "after": holder(),
    }
    print(f"\n{table(list(row), [list(row.values())])}")
    save("floating", [dict(row)], "try")
    assert float(row["gap_s"]) <= GOAL_SECONDS, row


def test_a_load_balancer_that_comes_and_goes_gets_the_address_no_more() -> None:
    whole()
    first = holder()
    seen = [first]
    for _ in range(5):
        lab.on_host(first, f"systemctl stop {HAPROXY}\n")
        seen.append(holder(first))
        lab.on_host(first, f"systemctl start {HAPROXY}\n")
        seen.append(holder())
    moves = sum(one != other for one, other in pairwise(seen))
    print(f"\nholders: {' '.join(seen)}")
    assert moves == 1, seen


def test_afterwards_all_is_whole() -> None:
    whole()
    wait_for_pods()
    lab.assert_whole()
