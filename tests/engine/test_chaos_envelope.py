"""Real processes, networks and disks: broken, mended in time, whoever dies meanwhile."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import injecting
from tests.injecting import Victims, named, state_of, until
from validate.core.errors import ClusterError
from validate.ground.machine import local
from validate.suites.chaos.envelope import Envelope, Injection
from validate.suites.chaos.kinds import disk, network, process

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces and mounts need root"),
]


@pytest.fixture
def found(tmp_path: Path) -> Iterator[Victims]:
    with injecting.victims(tmp_path) as made:
        yield made


@pytest.fixture
def envelope(tmp_path: Path) -> Envelope:
    return Envelope(local(), str(tmp_path / "faults"))


def nft(found: Victims) -> str:
    command = ["nsenter", "-t", str(found.networked.pid), "-n", "nft", "list", "ruleset"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_frozen_with_its_children_and_released(envelope: Envelope, found: Victims) -> None:
    until("the child", lambda: bool(injecting.children(found.frozen.pid)))
    tree = [found.frozen.pid, *injecting.children(found.frozen.pid)]
    envelope.apply("f", process.freeze([named(found.frozen.pid)]), 30)
    assert [state_of(p) for p in tree] == ["T", "T"]
    assert [left.state for left in envelope.left()] == ["applied"]
    envelope.undo("f")
    envelope.undo("f")  # whoever comes second finds nothing to do
    assert all(state_of(p) != "T" for p in tree)
    assert envelope.told("f") == ["arming", "armed", "applied", "undone"]
    assert envelope.left() == []


def test_its_watchdog_undoes_it_at_the_deadline(envelope: Envelope, found: Victims) -> None:
    envelope.apply("f", process.freeze([named(found.frozen.pid)]), 1)
    until("the watchdog", lambda: not envelope.left(), 30)
    assert state_of(found.frozen.pid) != "T"
    assert envelope.told("f")[-1] == "undone"


def test_a_process_that_took_its_number_is_not_touched(envelope: Envelope, found: Victims) -> None:
    pid = found.frozen.pid
    with pytest.raises(ClusterError, match="none of the processes is there"):
        envelope.apply("f", process.freeze([f"{pid}:1"]), 30)
    assert state_of(pid) != "T"
    with pytest.raises(ClusterError, match="none of the processes is there"):
        envelope.apply("g", process.member_kill([f"{pid}:1"]), 30)
    assert found.frozen.poll() is None


def test_a_killed_one_takes_its_children_along(envelope: Envelope) -> None:
    parent = subprocess.Popen(["sh", "-c", "sleep 1000 & wait"])
    until("the child", lambda: bool(injecting.children(parent.pid)))
    child = injecting.children(parent.pid)[0]
    envelope.apply("f", process.member_kill([named(parent.pid)]), 30)
    assert parent.wait(5) != 0
    until("the child's end", lambda: not Path(f"/proc/{child}").exists() or state_of(child) == "Z")
    envelope.undo("f")
    assert envelope.left() == []


@pytest.mark.parametrize("direction", ["both", "in", "out"])
def test_a_cut_is_a_table_of_its_own(envelope: Envelope, found: Victims, direction: str) -> None:
    envelope.apply("f-1", network.cut(named(found.networked.pid), direction), 30)
    rules = nft(found)
    assert ("hook input" in rules, "hook output" in rules) == {
        "both": (True, True),
        "in": (True, False),
        "out": (False, True),
    }[direction]
    envelope.undo("f-1")
    assert nft(found) == ""


def test_undone_although_the_process_died_meanwhile(envelope: Envelope, found: Victims) -> None:
    envelope.apply("f", network.loss(named(found.networked.pid), 30), 30)
    found.networked.kill()
    found.networked.wait()
    envelope.undo("f")
    assert envelope.left() == []
    assert str(envelope.root) not in Path("/proc/self/mountinfo").read_text()


def test_the_machine_s_own_network_is_never_cut(envelope: Envelope) -> None:
    with pytest.raises(ClusterError, match="shares the network of its machine"):
        envelope.apply("f", network.cut(named(os.getpid()), "both"), 30)
    with pytest.raises(ClusterError, match="whole machine would become slow"):
        envelope.apply("g", network.slow_link(named(os.getpid()), 1000), 30)
    assert envelope.left() == []


def test_a_full_disk_and_its_refusal_elsewhere(envelope: Envelope, found: Victims, tmp_path: Path) -> None:
    envelope.apply("f", disk.disk_full(str(found.disk), 8192), 30)
    free = os.statvfs(found.disk)
    assert free.f_bavail * free.f_bsize <= 8192
    envelope.undo("f")
    assert list(found.disk.iterdir()) == []
    shared = tmp_path / "shared"
    shared.mkdir()
    with pytest.raises(ClusterError, match="shares its file system with"):
        envelope.apply("g", disk.disk_full(str(shared), 0), 30)


def test_a_file_that_a_reboot_made_forgotten_is_found(found: Victims, tmp_path: Path) -> None:
    (found.disk / ".apadana-fault-old").write_bytes(b"x" * 100)
    (found.disk / "data").write_bytes(b"y")
    said = local().run(disk.forgotten([str(found.disk)]), str(tmp_path / "faults"))
    assert said.split() == [str(found.disk / ".apadana-fault-old")]
    assert [p.name for p in found.disk.iterdir()] == ["data"]


def test_a_half_applied_fault_is_undone_at_once(envelope: Envelope, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    half = Injection("test", f"touch {mark}\nfalse\ntouch {mark}2", f"rm -f {mark}")
    with pytest.raises(ClusterError, match="could not be applied"):
        envelope.apply("f", half, 30)
    assert not mark.exists()
    assert envelope.left() == []


def test_an_undo_that_fails_stays_and_recover_repeats_it(envelope: Envelope, tmp_path: Path) -> None:
    mark = tmp_path / "may-be-undone"
    envelope.apply("f", Injection("test", ":", f"test -e {mark}"), 60)
    with pytest.raises(ClusterError, match="undo of f failed"):
        envelope.undo("f")
    assert [left.state for left in envelope.left()] == ["undo-failed"]
    with pytest.raises(ClusterError):
        envelope.recover()
    mark.touch()
    assert envelope.recover() == ["f undone"]
    assert envelope.left() == []


def test_the_same_fault_can_t_be_planted_twice(envelope: Envelope) -> None:
    envelope.apply("f", Injection("test", ":"), 30)
    with pytest.raises(ClusterError, match="is there already"):
        envelope.apply("f", Injection("test", ":"), 30)
    envelope.undo("f")


def test_nothing_is_left_when_the_validator_is_killed_at_random(tmp_path: Path, found: Victims) -> None:
    """The short form of the bench: the process, its group and its session die in mid-fault."""
    campaign = injecting.Campaign(tmp_path / "faults", found, seed=4)
    campaign.run(25)
    assert campaign.settled(timeout=injecting.SECONDS + 40) == []
    assert campaign.killed >= 1
    assert campaign.ended < campaign.begun
