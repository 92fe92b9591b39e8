"""The liveness probe of a Sentinel: who spins is told from who waits, on real processes."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from validate.ground.kubectl import wait_for

ALIVE = Path(__file__).parents[2] / "components/redis/chart/files/alive.sh"


@contextmanager
def process(program: str) -> Iterator[str]:
    child = subprocess.Popen([sys.executable, "-c", program])
    try:
        yield str(child.pid)
    finally:
        child.kill()
        child.wait()


def look(pid: str, seen: Path) -> tuple[int, str]:
    done = subprocess.run(["sh", str(ALIVE), pid, str(seen)], capture_output=True, text=True, check=False, timeout=10)
    return done.returncode, (done.stdout + done.stderr).strip()


def a_second_passes(seen: Path) -> None:
    """The last look wrote down whole seconds: a whole one lies between where two are counted."""
    last = int(seen.read_text().split()[2])
    wait_for(
        "a whole second", lambda: time.clock_gettime(time.CLOCK_BOOTTIME) >= last + 2 or None, timeout=5, every=0.05
    )


def test_one_that_spins_is_told(tmp_path: Path) -> None:
    seen = tmp_path / "cpu"
    with process("while True: pass") as pid:
        assert look(pid, seen) == (0, "")  # nothing to compare with yet

        def told() -> str | None:
            a_second_passes(seen)
            code, said = look(pid, seen)
            return said if code == 1 else None

        # On a busy machine it may not get its tenth of a core at first.
        said = wait_for("the one that spins to be told", told, timeout=20, every=0.05)
    assert said.startswith("Sentinel spins: ")


def test_one_that_waits_is_alive(tmp_path: Path) -> None:
    seen = tmp_path / "cpu"
    with process("import time; time.sleep(60)") as pid:
        assert look(pid, seen) == (0, "")
        a_second_passes(seen)
        assert look(pid, seen) == (0, "")


def test_a_process_anew_is_not_measured_by_the_one_before(tmp_path: Path) -> None:
    seen = tmp_path / "cpu"
    with process("import time; time.sleep(60)") as pid:
        look(pid, seen)
        a_second_passes(seen)
    with process("while True: pass") as pid:
        assert look(pid, seen) == (0, "")


def test_a_process_that_is_gone_is_not_alive(tmp_path: Path) -> None:
    assert look("999999999", tmp_path / "cpu")[0] != 0
