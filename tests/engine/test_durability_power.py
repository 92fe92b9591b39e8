"""Real servers lose their power: what was promised holds, and what was switched off is found."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from components.kit.probing import Check, Verdict
from components.kit.servers import NotHereError, Server
from components.minio import powercut as minio
from components.postgres import powercut as postgres
from components.redis import powercut as redis
from validate.core import causes
from validate.core.errors import NotValidError
from validate.ground.kubectl import wait_for
from validate.ground.site import REPOSITORY
from validate.suites.durability import mount, powercut, process
from validate.suites.durability.mount import UnsyncedLoss
from validate.suites.durability.powercut import PowerCutOptions

pytestmark = pytest.mark.engine

QUICK = PowerCutOptions(seconds=1.0)
MIXED = PowerCutOptions(seconds=1.0, loss=UnsyncedLoss(early=0.5, seed=3))


def cut(server: Server, folder: Path, wish: PowerCutOptions) -> Check:
    found = powercut.cut_power(server, "run", folder / "record.jsonl", wish)
    check, _ = powercut.judge(found, wish)
    return check


@pytest.mark.parametrize("wish", [QUICK, MIXED], ids=["nothing unasked", "half of it early"])
def test_postgres_as_the_room_sets_it_loses_nothing(wish: PowerCutOptions, tmp_path: Path) -> None:
    check = cut(postgres.server(), tmp_path, wish)
    assert check.verdict is Verdict.PASS, check.detail
    assert check.evidence["fault_proved"] is True and check.evidence["lost_count"] == 0
    assert check.evidence["promise"]["covers"] == "all hosts"
    assert check.evidence["reads"] > 0 and check.evidence["corrupt_count"] == 0


@pytest.mark.parametrize("wrong", [{"fsync": "off"}, {"synchronous_commit": "off"}])
def test_postgres_without_its_syncs_is_found(wrong: dict[str, str], tmp_path: Path) -> None:
    check = cut(postgres.server(wrong), tmp_path, QUICK)
    assert check.verdict is Verdict.FAIL
    assert check.evidence["cause"] == causes.LOST_ON_POWER_CUT, check.detail
    assert check.evidence["lost_count"] > 0
    assert causes.WEAK_ACKNOWLEDGEMENT in check.evidence["causes"]


@pytest.mark.parametrize("wish", [QUICK, MIXED], ids=["nothing unasked", "half of it early"])
def test_redis_that_always_syncs_loses_nothing(wish: PowerCutOptions, tmp_path: Path) -> None:
    server = redis.server(loss="power lost on all hosts at once: none")
    assert server.settings == {"appendfsync": "always"} and server.promise.window_s == 0
    check = cut(server, tmp_path, wish)
    assert check.verdict is Verdict.PASS, check.detail


def test_redis_as_the_room_sets_it_loses_its_window_and_says_so(tmp_path: Path) -> None:
    check = cut(redis.server({"appendfsync": "everysec"}), tmp_path, PowerCutOptions(seconds=2.5))
    assert check.verdict is Verdict.PASS, check.detail
    assert 0 <= check.evidence["lost_window_s"] <= 2.0


def test_redis_that_never_syncs_breaks_the_rooms_promise(tmp_path: Path) -> None:
    check = cut(redis.server({"appendfsync": "no"}), tmp_path, PowerCutOptions(seconds=5.0))
    assert check.verdict is Verdict.FAIL, check.detail
    assert check.evidence["cause"] == causes.LOST_ON_POWER_CUT
    assert check.evidence["lost_window_s"] > 2.0


STEPPED = PowerCutOptions(seconds=6.0, steps=(86_400, -3_600))


def test_minio_loses_what_the_file_system_had_not_named(tmp_path: Path) -> None:
    """A finding: an object's bytes are synced, its name is not, so the last seconds go."""
    try:
        server = minio.server()
    except NotHereError as error:
        pytest.skip(str(error))
    loss = UnsyncedLoss(early=0.5, seed=3, names_every_s=server.promise.names_every_s)
    wish = PowerCutOptions(seconds=7.0, loss=loss)
    found = powercut.cut_power(server, "run", tmp_path / "record.jsonl", wish)
    check, _ = powercut.judge(found, wish)
    assert check.verdict is Verdict.PASS and check.evidence["corrupt_count"] == 0, check.detail
    assert 0 < check.evidence["lost_window_s"] < check.evidence["allowed_window_s"]
    server.promise = replace(server.promise, window_s=0.0)
    check, _ = powercut.judge(found, wish)
    assert check.verdict is Verdict.FAIL and check.evidence["cause"] == causes.LOST_ON_POWER_CUT


def test_redis_that_counts_by_the_time_of_day_stops_to_sync(tmp_path: Path) -> None:
    """A finding: everysec syncs nothing while the clock is behind; the promise has to say so."""
    server = redis.server({"appendfsync": "everysec"})
    found = powercut.cut_power(server, "run", tmp_path / "record.jsonl", STEPPED)
    check, _ = powercut.judge(found, STEPPED)
    assert check.verdict is Verdict.PASS and "set back" in check.detail, check.detail
    assert 2.0 < check.evidence["lost_window_s"] < check.evidence["allowed_window_s"]
    server.promise = replace(server.promise, since_set_back=False)
    check, _ = powercut.judge(found, STEPPED)
    assert check.verdict is Verdict.FAIL and check.evidence["cause"] == causes.LOST_ON_POWER_CUT


def test_postgres_does_not_mind_what_time_it_is(tmp_path: Path) -> None:
    check = cut(postgres.server(), tmp_path, STEPPED)
    assert check.verdict is Verdict.PASS and check.evidence["lost_count"] == 0, check.detail


def test_a_clock_that_was_not_moved_proves_nothing(tmp_path: Path) -> None:
    server = postgres.server()
    server.now = lambda run: time.time()  # type: ignore[method-assign]
    check = cut(server, tmp_path, replace(STEPPED, seconds=1.0))
    assert check.verdict is Verdict.INVALID and "wrong clock was not proved" in check.detail


def test_a_disk_that_loses_nothing_proves_nothing(tmp_path: Path) -> None:
    wish = PowerCutOptions(seconds=0.5, loss=UnsyncedLoss(early=1.0))
    check = cut(redis.server({"appendfsync": "no"}), tmp_path, wish)
    assert check.verdict is Verdict.INVALID and "not proved" in check.detail


def test_a_killed_validator_leaves_no_server_and_no_mount(tmp_path: Path) -> None:
    code = (
        "from pathlib import Path; from components.redis import powercut as r;"
        "from validate.suites.durability.powercut import *;"
        f"record = Path({str(tmp_path / 'record')!r});"
        "cut_power(r.server(), 'run', record, PowerCutOptions(seconds=60))"
    )
    victim = subprocess.Popen([sys.executable, "-c", code], cwd=REPOSITORY)
    try:
        wait_for("it to write", lambda: _grown(tmp_path / "record"), timeout=60, every=0.1)
        below = _descendants(victim.pid)
        assert len(below) >= 3  # the layer, the namespace, the server
        victim.send_signal(signal.SIGKILL)
        victim.wait()
        wait_for("all of it to be gone", lambda: _gone(below), timeout=30, every=0.1)
    finally:
        victim.kill()
    folders = list(process.base_of_workplaces().glob(f"{victim.pid}-*"))
    assert folders  # what a dead process leaves is found, and goes with the next run
    with process.workplace():
        assert not any(folder.exists() for folder in folders)
        assert str(folders[0]) not in Path("/proc/self/mounts").read_text()


def _grown(path: Path) -> bool | None:
    return True if path.exists() and path.stat().st_size > 10_000 else None


def _descendants(pid: int) -> set[int]:
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                stat = (entry / "stat").read_text()
            except OSError:
                continue
            parents[int(entry.name)] = int(stat.rpartition(")")[2].split()[1])
    found = {pid}
    while more := {p for p, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {pid}


def _gone(pids: set[int]) -> bool | None:
    return True if not any(_runs(pid) for pid in pids) else None


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_without_root_or_fuse_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    assert mount.unable() == ""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(NotValidError, match="run it as root"), mount.mounted(Path("x"), Path("y")):
        pass


def test_a_place_that_the_servers_user_can_not_reach_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    monkeypatch.setenv("APADANA_CACHE", str(closed / "cache"))
    with pytest.raises(NotValidError, match=r"nobody, who can't pass through .*/closed.*set APADANA_CACHE"):
        process.workplace().__enter__()
