"""Every kind that touches a network, planted in one of its own and seen from beside it.

Each case has two network namespaces joined by a cable: a web server in the one, observers in the
other. All cases run at the same time, because most of it is waiting.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.injecting import named, own_network, until
from validate.core.errors import ClusterError
from validate.ground import Member
from validate.ground.machine import local
from validate.suites.chaos import aim, proofs, spec
from validate.suites.chaos.envelope import Envelope
from validate.suites.chaos.kinds.process import clock_wrong
from validate.suites.chaos.members import RunningMember
from validate.suites.chaos.observer import Observer
from validate.suites.chaos.vantage import OwnVantage, PeerVantage

pytestmark = [pytest.mark.engine, pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root")]
PORT = 8000
HOLD = 3.0


@dataclass(frozen=True)
class Cable:
    """A member that serves, and a peer beside it."""

    member: RunningMember
    peer: RunningMember


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


@contextmanager
def cable(number: int) -> Iterator[Cable]:
    serve = [sys.executable, "-m", "http.server", str(PORT), "--bind", "10.9.0.1"]
    with ExitStack() as stack:
        ends = []
        for _ in range(2):
            process = subprocess.Popen(["unshare", "--net", "sleep", "600"])
            stack.callback(process.wait)
            stack.callback(process.kill)
            until("a network of its own", lambda p=process: own_network(p.pid))  # type: ignore[misc]
            ends.append(process.pid)
        near, far = (f"chaos{number}{end}" for end in "ab")
        ip("link", "add", near, "type", "veth", "peer", "name", far)
        for name, pid, address in ((near, ends[0], 1), (far, ends[1], 2)):
            ip("link", "set", name, "netns", str(pid))
            inside = ["nsenter", "--target", str(pid), "--net", "ip"]
            for words in (
                ["addr", "add", f"10.9.0.{address}/24", "dev", name],
                ["link", "set", name, "up"],
                ["link", "set", "lo", "up"],
            ):
                subprocess.run([*inside, *words], check=True, capture_output=True)
        server = subprocess.Popen(
            ["nsenter", "--target", str(ends[0]), "--net", *serve], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        stack.callback(server.wait)
        stack.callback(server.kill)
        made = Cable(running_member("m", server.pid, "10.9.0.1"), running_member("p", ends[1], "10.9.0.2"))
        place = PeerVantage(local(), made.peer)
        wish = {"kind": "detect", "host": "10.9.0.1", "port": PORT}
        until("the server", lambda: place.look([wish], 40)[0]["prompt"] is not None, 60)
        yield made


def running_member(name: str, pid: int, address: str) -> RunningMember:
    member = Member("web", name, f"host-{name}", (pid,), address)
    return RunningMember(member, "", (named(pid),), "", False, (PORT,))


CASES: dict[str, dict[str, object]] = {
    "cut": {"kind": "network-cut"},
    "deaf": {"kind": "network-cut", "direction": "in"},
    "mute": {"kind": "network-cut", "direction": "out"},
    "lossy": {"kind": "loss", "percent": 40},
    "slow": {"kind": "slow-link", "kbit_per_s": 800},
    "frozen": {"kind": "freeze"},
    "killed": {"kind": "member-kill"},
}


def tried(number: int, do: dict[str, object], root: Path, *, really: bool) -> proofs.FaultProof:
    """One fault planted (or only pretended) and looked at, as faultrun.py does it."""
    fault = spec.Fault.model_validate(
        {
            "name": "tried",
            "do": do,
            "target": "one member",
            "duration_s": 5,
            "rationale": "to see it seen",
            "remediation": "nothing to mend",
        }
    )
    with cable(number) as made:
        at = aim.Aim((made.member,), (made.peer,))
        (shot,) = aim.shots(fault, at, aim.Outside({}, {}, {}, {}))
        place = PeerVantage(local(), made.peer)
        observer = Observer(fault, at, place, lambda _: local(), [("10.9.0.1", PORT)])
        envelope = Envelope(local(), str(root / f"{number}-{really}"))
        observer.prepare()
        observer.begin(HOLD)
        asked = time.time()
        if really:
            envelope.apply("f", shot.injection, 60)
        applied = time.time()
        time.sleep(1.0)  # it lasts, and is looked at in its middle
        observer.during()
        time.sleep(max(0.0, applied + HOLD - time.time()))
        ended = time.time()
        if really:
            envelope.undo("f")
        return observer.finish(proofs.Moments(asked, applied, ended))


@pytest.mark.parametrize("really", [True, False], ids=["planted", "pretended"])
def test_what_is_planted_is_proved_and_what_is_not_is_not(tmp_path: Path, really: bool) -> None:
    with ThreadPoolExecutor(len(CASES)) as pool:
        running = {
            name: pool.submit(tried, number, do, tmp_path, really=really)
            for number, (name, do) in enumerate(CASES.items())
        }
        found = {name: future.result() for name, future in running.items()}
    assert {name: proof.proved for name, proof in found.items()} == dict.fromkeys(CASES, really), {
        name: proof.detail for name, proof in found.items()
    }


FAKETIME = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1")


@pytest.mark.skipif(not FAKETIME.exists(), reason="libfaketime is not installed")
def test_the_clock_of_one_process_is_moved_and_put_back(tmp_path: Path) -> None:
    stamp = tmp_path / "stamp"
    stamp.write_text("+0s\n")
    place = {"LD_PRELOAD": str(FAKETIME), "FAKETIME_TIMESTAMP_FILE": str(stamp), "FAKETIME_NO_CACHE": "1"}
    port = 8765
    server = subprocess.Popen(
        [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1"],
        env={**os.environ, **place},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    fault = spec.Fault.model_validate(
        {
            "name": "tried",
            "do": {"kind": "clock-wrong", "offset_s": 7200},
            "target": "one member",
            "duration_s": 5,
            "rationale": "to see it seen",
            "remediation": "nothing to mend",
        }
    )
    envelope = Envelope(local(), str(tmp_path / "faults"))
    try:
        member = running_member("m", server.pid, "127.0.0.1")
        (shot,) = aim.shots(fault, aim.Aim((member,)), aim.Outside({}, {}, {}, {}))
        observer = Observer(fault, aim.Aim((member,)), OwnVantage(local()), lambda _: local(), [("127.0.0.1", port)])
        observer.begin(HOLD)
        asked = time.time()
        envelope.apply("f", shot.injection, 60)
        applied = time.time()
        assert stamp.read_text() == "+7200s\n"
        time.sleep(HOLD)
        ended = time.time()
        envelope.undo("f")
        proof = observer.finish(proofs.Moments(asked, applied, ended))
    finally:
        server.kill()
        server.wait()
    assert proof.proved, proof.detail
    assert stamp.read_text() == "+0s\n"
    with pytest.raises(ClusterError, match="not started under libfaketime"):
        envelope.apply("g", clock_wrong(named(os.getpid()), 60), 60)
