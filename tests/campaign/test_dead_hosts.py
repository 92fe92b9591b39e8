"""Hosts that died while nobody looked: the next `make up` starts them and waits for the cluster."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests import lab
from validate.ground.kubectl import wait_for

pytestmark = pytest.mark.campaign


def test_a_host_that_died_with_its_watcher_is_started_again() -> None:
    """As after the end of everything on this machine: Podman goes on to call the host running."""
    worker = next(host for host in lab.hosts() if not host.startswith("cp"))
    asked = ("podman", "inspect", lab.container(worker), "--format")
    told = lab.run(*asked, "{{.State.ConmonPid}} {{.State.Pid}}", timeout=20).stdout.split()
    for pid in told:
        os.kill(int(pid), signal.SIGKILL)
    wait_for("the host to be gone", lambda: not Path(f"/proc/{told[1]}").exists() or None, timeout=60, every=0.2)
    done = lab.make_up()
    assert done.returncode == 0, lab.told(done)
    assert lab.run(*asked, "{{.State.Pid}}", timeout=20).stdout.strip() != told[1]


def test_after_a_power_cut_of_all_hosts_make_up_waits_for_the_cluster() -> None:
    """Nothing differs on the hosts then, and the API does not answer yet."""
    for host in lab.hosts():
        done = lab.run("podman", "kill", lab.container(host), timeout=60)
        assert done.returncode == 0, lab.told(done)
    up = lab.make_up()
    assert up.returncode == 0, lab.told(up)
    lab.assert_whole()
