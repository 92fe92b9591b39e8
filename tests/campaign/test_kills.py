"""kill -9 of what `make up` runs, at seeded random moments: each next `make up` succeeds.

    APADANA_SEED=1 pytest -s -m campaign tests/campaign/test_kills.py

Of APADANA_KILLS (20) runs APADANA_KILLS_FRESH (8) begin with `make down`, so from nothing but the
cache; the others begin on a lab that stands, with one drift on a host so that there is something to
do. A moment is drawn from those at which an unbroken run showed a process of the kind. The rows are
printed and kept in <state>/figures/kills.json.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from tests import lab
from tests.bench.figures import save, table
from tests.killing import KINDS, Hit, family, kill_at, of_kind, processes, sightings
from validate.ground.kubectl import wait_for
from validate.ground.site import REPOSITORY

pytestmark = pytest.mark.campaign
SEED = int(os.environ.get("APADANA_SEED", "1"))
KILLS = int(os.environ.get("APADANA_KILLS", "20"))
FRESH = int(os.environ.get("APADANA_KILLS_FRESH", "8"))
TRIES = 4  # moments drawn for one kill, when the run was faster than the one that was watched
RUN_SECONDS, END_SECONDS = 3600, 300
COLUMNS = ("number", "begun", "killed", "what", "after_s", "first_run", "next_make_up", "next_s")
DRIFT = "printf '\\n# drift\\n' >> /etc/haproxy/haproxy.cfg; systemctl stop haproxy.service\n"


@dataclass(frozen=True)
class Trial:
    number: int
    kind: str
    fresh: bool


def trials() -> list[Trial]:
    """Each kind in turn; which of them begin from nothing is drawn."""
    source = random.Random(SEED)
    fresh = set(source.sample(range(KILLS), min(FRESH, KILLS)))
    return [Trial(n, KINDS[n % len(KINDS)], n in fresh) for n in range(KILLS)]


def begin(trial_fresh: bool) -> None:
    """The state that a run starts from."""
    if trial_fresh:
        done = lab.run("make", "down", f"SITE={lab.SITE}", timeout=600)
        assert done.returncode == 0, lab.told(done)
    else:
        lab.on_host("cp2", DRIFT)


def start(log: Path) -> subprocess.Popen[bytes]:
    with log.open("ab") as sink:
        return subprocess.Popen(
            ["make", "up", f"SITE={lab.SITE}"],
            cwd=REPOSITORY,
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


@cache
def moments(fresh: bool) -> dict[str, list[float]]:
    """When an unbroken run showed which kind."""
    begin(fresh)
    command = start(lab.LOGS / "unbroken.log")
    seen = sightings(command, RUN_SECONDS)
    assert command.wait(timeout=RUN_SECONDS) == 0
    return seen


def broken(trial: Trial, source: random.Random, log: Path) -> tuple[Hit, int]:
    """Runs until something of the kind was killed; the hit, and how the run ended."""
    known = moments(trial.fresh)[trial.kind]
    assert known, f"no {trial.kind} was seen in an unbroken run"
    latest = max(known)
    for left in reversed(range(TRIES)):
        begin(trial.fresh)
        # In the end the first one that is seen: the run that was watched may have been a slow one.
        moment = source.choice([at for at in known if at <= latest]) if left else 0.0
        command = start(log)
        hit = kill_at(command, trial.kind, moment, source, RUN_SECONDS)
        try:
            code = command.wait(timeout=END_SECONDS if hit else RUN_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(command.pid, signal.SIGKILL)
            raise AssertionError(f"make up goes on after {hit}, for {END_SECONDS} s") from None
        if hit:
            return hit, code
        # This run was through with that kind earlier than the one that was watched.
        latest = min(known) + (latest - min(known)) / 2
    raise AssertionError(f"{TRIES} runs ended before a {trial.kind} could be killed")


@pytest.mark.parametrize("trial", trials(), ids=lambda t: f"{t.number}-{t.kind}")
def test_the_next_make_up_succeeds(trial: Trial, tmp_path: Path) -> None:
    source = random.Random(SEED * 1000 + trial.number)
    hit, code = broken(trial, source, tmp_path / "broken.log")
    begun = time.monotonic()
    done = lab.make_up()
    row = {
        "number": str(trial.number),
        "begun": "from nothing" if trial.fresh else "on a lab with a drift",
        "killed": trial.kind,
        "what": str(hit.process),
        "after_s": f"{hit.seconds:.1f}",
        "first_run": f"exit code {code}",
        "next_make_up": "whole" if done.returncode == 0 else f"FAILED {done.returncode}",
        "next_s": f"{time.monotonic() - begun:.0f}",
    }
    print(f"\n{table(COLUMNS, [[row[column] for column in COLUMNS]])}")
    save("kills", [dict(row)], "number")
    assert done.returncode == 0, f"{row}\n{lab.told(done)}"
    lab.assert_whole()


# ---- what a kill may leave behind, planted


def test_a_stale_lock_of_pulumi_is_cleared() -> None:
    with subprocess.Popen(["true"]) as gone:
        gone.wait()
    name = f"{lab.SITE}-data"
    folder = lab.STATE / "pulumi" / ".pulumi" / "locks" / "organization" / "apadana" / name
    folder.mkdir(parents=True, exist_ok=True)
    lock = folder / "00000000-0000-4000-8000-000000000000.json"
    lock.write_text(
        f'{{"pid": {gone.pid}, "username": "root", "hostname": "gone", "timestamp": "2026-01-01T00:00:00Z"}}'
    )
    done = lab.make_up()
    assert done.returncode == 0, lab.told(done)
    assert f"cleared a stale lock of {name}" in done.stdout
    assert not lock.exists()


def test_an_open_operation_is_compared_with_the_cluster() -> None:
    stack = lab.Stack("data")
    state = json.loads(stack("stack", "export").stdout)
    resources = state["deployment"]["resources"]
    chosen = next(r for r in resources if r["type"] == "kubernetes:core/v1:ConfigMap")
    # As a run leaves it that was killed while it changed this object.
    state["deployment"]["pending_operations"] = [{"resource": chosen, "type": "updating"}]
    planted = stack("stack", "import", "--force", stdin=json.dumps(state))
    assert planted.returncode == 0, lab.told(planted)
    done = lab.make_up()
    assert done.returncode == 0, lab.told(done)
    assert f"1 open operations of {stack.name} compared with the cluster" in done.stdout
    after = json.loads(stack("stack", "export").stdout)["deployment"]
    assert not after.get("pending_operations")


# What a member has of etcd goes with it: kubeadm reads its folder from the manifest.
LEAVES = "kubeadm reset --force >/dev/null 2>&1; rm -rf /etc/kubernetes/.apadana-member\n"


def etcd_names(host: str) -> list[str]:
    """Names of the members; one that was added and has not started has none."""
    lines = lab.on_host(host, f"{lab.ETCDCTL} member list\n").splitlines()
    return [line.split(",")[2].strip() for line in lines]


def test_a_join_whose_playbook_was_killed_is_waited_for() -> None:
    """kubeadm goes on alone; the next run must not take its member of etcd for a rest."""
    joining, seed = "cp3", "cp1"
    lab.on_host(joining, LEAVES, timeout=240)
    command = start(lab.LOGS / "killed-join.log")
    find = "pgrep -x kubeadm || true\n"
    try:
        wait_for(
            "kubeadm to run on the joining host",
            lambda: bool(lab.on_host(joining, find).strip()) or None,
            timeout=900,
            every=0.1,
        )
        for process in of_kind("ansible", family(command.pid, processes())):
            os.kill(process.pid, signal.SIGKILL)
    finally:
        first = command.wait(timeout=900)
    assert first != 0
    done = lab.make_up()
    assert done.returncode == 0, lab.told(done)
    assert sorted(etcd_names(seed)) == ["cp1", "cp2", "cp3"]
    lab.assert_whole()


def test_a_half_joined_member_of_etcd_is_cleared() -> None:
    """kubeadm on the joining host is killed between `member add` and the start of its etcd."""
    joining, seed = "cp3", "cp1"
    lab.on_host(joining, LEAVES, timeout=240)
    command = start(lab.LOGS / "half-joined.log")

    def added() -> bool | None:
        if command.poll() is not None:
            raise RuntimeError("make up ended before the member was seen unstarted")
        try:
            return True if "" in etcd_names(seed) else None
        except AssertionError:  # etcd does not answer while its members change
            return None

    try:
        wait_for("kubeadm to add its etcd member", added, timeout=900, every=0.05)
        # kubeadm's own process in that host, and nothing else: exact name, its own PID namespace.
        lab.on_host(joining, "pkill -KILL -x kubeadm\n")
    finally:
        first = command.wait(timeout=900)
    assert first != 0
    assert len(etcd_names(seed)) == 3
    done = lab.make_up()
    assert done.returncode == 0, lab.told(done)
    assert sorted(etcd_names(seed)) == ["cp1", "cp2", "cp3"]
    lab.assert_whole()
