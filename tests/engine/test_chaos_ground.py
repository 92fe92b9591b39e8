"""Which processes belong to a container, asked of real control groups."""

from __future__ import annotations

import os
import secrets
import subprocess
from pathlib import Path

import pytest

from tests.injecting import until
from validate.ground.cluster import PROCESSES
from validate.ground.machine import local

pytestmark = [pytest.mark.engine, pytest.mark.skipif(os.geteuid() != 0, reason="control groups need root")]
TREES = (Path("/sys/fs/cgroup/pids"), Path("/sys/fs/cgroup"))  # version 1, version 2


def test_processes_by_the_container_s_id_in_their_control_group() -> None:
    tree = next(t for t in TREES if (t / "cgroup.procs").exists())
    ids = [secrets.token_hex(32) for _ in range(2)]
    pods = [tree / f"apadana-test-{i[:8]}" for i in ids]
    started = []
    try:
        for pod, container in zip(pods, ids, strict=True):
            (pod / container).mkdir(parents=True)
            for _ in range(2):
                process = subprocess.Popen(["sleep", "60"])
                started.append(process)
                (pod / container / "cgroup.procs").write_text(str(process.pid))
        said = local().run(PROCESSES, *ids)
    finally:
        for process in started:
            process.kill()
            process.wait()
        for pod, container in zip(pods, ids, strict=True):
            until("the end of its processes", lambda p=pod / container: _gone(p))  # type: ignore[misc]
            pod.rmdir()
    found = {(int(line.split("/")[2]), line.rpartition(":")[2]) for line in said.splitlines()}
    wanted = {(p.pid, ids[n // 2]) for n, p in enumerate(started)}
    assert found == wanted
    assert local().run(PROCESSES) == ""


def _gone(folder: Path) -> bool:
    try:
        folder.rmdir()
    except OSError:
        return not folder.exists()
    return True
