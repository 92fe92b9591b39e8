"""One holder for each site: refused in words, free when the holder dies, orphans ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from common import locking
from common.places import PlaceError
from road import lock, orphans
from road.place import Place, RoadError, place

HOLD = """
import sys, subprocess, pathlib
from common import locking
from road import lock, place, orphans
where = place.place("lab", {"APADANA_STATE": sys.argv[1]})
with lock.held(where, "make up") as holder:
    environment = {locking.TOKEN: holder.token, "PATH": "/usr/bin:/bin"}
    child = subprocess.Popen(["sleep", "600"], env=environment)
    print(child.pid, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def where(tmp_path: Path) -> Place:
    return place("lab", {"APADANA_STATE": str(tmp_path)})


def holder_process(where: Place) -> tuple[subprocess.Popen[str], int]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(where.state_root)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=where.repository,
    )
    assert process.stdout is not None
    return process, int(process.stdout.readline())


def test_the_second_is_refused_in_words_and_the_first_goes_on(where: Place) -> None:
    process, child = holder_process(where)
    try:
        with pytest.raises(RoadError) as refusal, lock.held(where, "make up"):
            pass
        assert f"process {process.pid}" in str(refusal.value)
        assert "Nothing was changed" in str(refusal.value)
        assert "make unlock SITE=lab" in str(refusal.value)
        assert lock.holder_now(where) is not None
        assert orphans.is_alive(child)
    finally:
        process.kill()
        process.wait()
        os.kill(child, signal.SIGKILL)


def test_a_dead_holder_is_taken_over_and_what_it_left_is_ended(where: Place) -> None:
    process, child = holder_process(where)
    process.kill()
    process.wait()
    assert orphans.is_alive(child)
    with lock.held(where, "make up"):
        assert not orphans.is_alive(child)
    assert lock.holder_now(where) is None
    assert not where.holder.exists()


def test_an_error_frees_the_site(where: Place) -> None:
    with pytest.raises(ZeroDivisionError), lock.held(where, "make up"):
        raise ZeroDivisionError
    with lock.held(where, "make up"):
        assert locking.read_holder(where.holder) is not None


@pytest.mark.parametrize("name", ["", "Lab", "../x", "a" * 21, "1lab", "lab/other"])
def test_a_site_is_a_name(name: str) -> None:
    with pytest.raises(PlaceError, match="is not a name"):
        place(name, {})
