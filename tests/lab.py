"""The running lab, for tests: its hosts, its playbooks, its cluster, its stacks."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from road.pulumi import exports
from validate.ground import site
from validate.ground.kubectl import Cluster
from validate.ground.power.lab import LabHosts
from validate.ground.site import REPOSITORY, Site

SITE = os.environ.get("APADANA_SITE", "lab")
STATE_ROOT = Path(os.environ.get("APADANA_STATE") or "/var/lib/apadana")
STATE = STATE_ROOT / SITE
LOGS = STATE_ROOT / "logs" / SITE
REPORTS = STATE_ROOT / "reports" / SITE
BIN = Path(sys.executable).parent
# On a control plane, for a script of `on_host`.
ETCDCTL = (
    "etcdctl --endpoints=https://127.0.0.1:2379 --cacert=/etc/kubernetes/pki/etcd/ca.crt "
    "--cert=/etc/kubernetes/pki/etcd/healthcheck-client.crt "
    "--key=/etc/kubernetes/pki/etcd/healthcheck-client.key --command-timeout=10s "
)
Done = subprocess.CompletedProcess[str]


def found() -> Site:
    return site.load(SITE)


def work() -> str:
    """The namespace of what runs users' code."""
    return found().platform.work


def cluster() -> Cluster:
    return found().cluster


@cache
def hosts() -> tuple[str, ...]:
    known = tuple(LabHosts(SITE).known())
    assert known, f"no host of the lab '{SITE}' is there: make up"
    return known


def control_planes() -> list[str]:
    return [host for host in hosts() if host.startswith("cp")]


def container(host: str) -> str:
    return LabHosts(SITE).container(host)


def on_host(host: str, script: str, *, timeout: float = 60, check: bool = True) -> str:
    """What a shell script on a host prints."""
    done = run("podman", "exec", "-i", container(host), "sh", "-eu", "-s", stdin=script, timeout=timeout)
    if check and done.returncode:
        raise AssertionError(f"{host}: `{script.strip()}` ended with {done.returncode}: {told(done)}")
    return done.stdout


def run(*command: str, timeout: float, stdin: str | None = None, environment: Mapping[str, str] | None = None) -> Done:
    return subprocess.run(
        command,
        input=stdin if stdin is not None else "",
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout,
        cwd=REPOSITORY,
        env={**os.environ, **(environment or {})},
    )


def told(done: Done) -> str:
    """Both outputs, short enough for an assertion."""
    return f"{done.stdout[-6000:]}\n{done.stderr[-2000:]}".strip()


def playbook(name: str, *more: str, timeout: float = 600, inventory: Path | None = None) -> Done:
    """`inventory`: a folder in place of the site's own."""
    return run(
        str(BIN / "ansible-playbook"),
        "-i",
        str((inventory or Path("inventories", SITE)) / "hosts.yml"),
        f"playbooks/{name}.yml",
        *more,
        timeout=timeout,
        environment={"ANSIBLE_NOCOLOR": "1", "ANSIBLE_CONFIG": str(REPOSITORY / "ansible.cfg")},
    )


def make_up(timeout: float = 3600) -> Done:
    return run("make", "up", f"SITE={SITE}", timeout=timeout)


def assert_whole() -> None:
    """As `make status` judges it."""
    done = run("make", "status", f"SITE={SITE}", timeout=180)
    assert done.returncode == 0, told(done)


def validate(*args: str, timeout: float) -> Done:
    return run(sys.executable, "-m", "validate", *args, "--stack", SITE, timeout=timeout)


class Stack:
    """Plain `pulumi` on one stack of the site, as the README says."""

    def __init__(self, layer: str) -> None:
        self.name = f"{SITE}-{layer}"
        home = (sys.executable, "-m", "stacks.home", SITE)
        self.environment = {**exports(run(*home, timeout=180).stdout), "NO_COLOR": "1"}
        told_settings = run(*home, "--stack", self.name, timeout=180)
        assert told_settings.returncode == 0, told(told_settings)
        self.settings = told_settings.stdout.strip().splitlines()[-1]

    def __call__(self, *words: str, timeout: float = 300, stdin: str | None = None) -> Done:
        program = Path(self.environment["PULUMI_HOME"]) / "bin" / "pulumi"
        return run(
            str(program),
            *words,
            "--non-interactive",
            "--stack",
            self.name,
            timeout=timeout,
            environment=self.environment,
            stdin=stdin,
        )

    @property
    def on_settings(self) -> tuple[str, str]:
        return ("--config-file", self.settings)
