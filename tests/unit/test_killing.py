"""Only what we started is ever killed, and the right one of it."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from tests import killing
from tests.killing import Process, family, kill, kill_at, of_kind, processes

TREE = {
    1: Process(1, 0, "init", ("init",)),
    10: Process(10, 1, "make", ("make", "up")),
    11: Process(11, 10, "python", ("/x/python", "-m", "road", "--site", "lab", "up")),
    12: Process(12, 11, "ansible-playboo", ("/x/python", "/x/ansible-playbook", "site.yml")),
    13: Process(13, 12, "ansible-playboo", ("/x/python", "/x/ansible-playbook", "site.yml")),
    14: Process(14, 11, "podman", ("podman", "exec")),
    20: Process(20, 1, "podman", ("podman", "exec")),
    21: Process(21, 1, "pulumi", ("pulumi", "up")),
}


def test_the_family_is_what_was_started_and_nothing_else() -> None:
    assert {process.pid for process in family(10, TREE)} == {10, 11, 12, 13, 14}
    assert family(99, TREE) == []


@pytest.mark.parametrize(
    ("kind", "pids"), [("make", {10}), ("python", {11}), ("ansible", {12, 13}), ("podman", {14}), ("pulumi", set())]
)
def test_each_kind_is_known_by_its_name(kind: str, pids: set[int]) -> None:
    assert {process.pid for process in of_kind(kind, family(10, TREE))} == pids


CHILD = """
import subprocess
subprocess.run(["make", "-f", "-"], input="all: ; sleep 60", text=True)
"""


@pytest.fixture
def command() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-c", CHILD], start_new_session=True) as started:
        yield started
        for process in family(started.pid, processes()):
            kill(process, started.pid)


def test_a_descendant_is_killed_at_its_moment(command: subprocess.Popen[bytes]) -> None:
    hit = kill_at(command, "make", 0.2, random.Random(1), deadline=20)
    assert hit is not None
    assert hit.process.name == "make"
    assert hit.seconds >= 0.2
    # Whoever waited for it goes on, and ends.
    assert command.wait(timeout=20) == 0


def test_a_stranger_is_never_killed(command: subprocess.Popen[bytes]) -> None:
    with subprocess.Popen(["sleep", "60"]) as stranger:
        seen = processes()[stranger.pid]
        assert not kill(seen, command.pid)
        assert stranger.poll() is None
        stranger.kill()


def test_what_never_comes_is_told(command: subprocess.Popen[bytes]) -> None:
    begun = time.monotonic()
    assert kill_at(command, "pulumi", 0, random.Random(1), deadline=0.5) is None
    assert time.monotonic() - begun < 10


def test_sightings_name_what_was_there() -> None:
    with subprocess.Popen(["make", "-f", "-"], stdin=subprocess.PIPE) as command:
        assert command.stdin is not None
        command.stdin.write(b"all: ; sleep 1\n")
        command.stdin.close()
        seen = killing.sightings(command, deadline=20)
    assert seen["make"] and not seen["pulumi"]
