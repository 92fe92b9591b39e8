"""A bare Debian with git, make and Python gets all that it lacks from road/prerequisites.sh.

On the machine of a developer a forgotten package hides: it is there for other reasons.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import lab
from validate.ground.site import REPOSITORY

pytestmark = pytest.mark.campaign
ENTER = Path(__file__).parent / "fresh_machine.sh"
# How this machine reaches its registries is no part of what is tried.
SAME_HERE = (
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/pip.conf",
    "/etc/apt/apt.conf.d",
    "/etc/ssl/certs/ca-certificates.crt",
)
# What the road, the validator and their tests call by name.
PROGRAMS = (
    "buildah chromium dpkg-scanpackages git gpgv ip ipmi_sim ipmitool iptables mmdebstrap "
    "mount mvn nft nsenter podman ps redis-server runc skopeo ssh ssh-keygen tar tc unshare"
)


@pytest.fixture(scope="module")
def machine() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="apadana-fresh-", dir="/var/tmp"))
    try:
        make_machine(folder)
        yield folder
    finally:
        shutil.rmtree(folder)


def make_machine(folder: Path) -> None:
    sources = [str(p) for p in Path("/etc/apt").glob("sources.list.d/*.sources")]
    include = "--include=ca-certificates,git,make,python3"
    done = lab.run("mmdebstrap", "--variant=minbase", include, "", str(folder), *sources, timeout=600)
    assert done.returncode == 0, lab.told(done)
    for path in map(Path, SAME_HERE):
        there = folder / path.relative_to("/")
        if path.is_dir():
            shutil.copytree(path, there, dirs_exist_ok=True)
        elif path.is_file():
            shutil.copyfile(path, there)
    cloned = lab.run("git", "clone", "-q", str(REPOSITORY), str(folder / "root/apadana"), timeout=60)
    assert cloned.returncode == 0, lab.told(cloned)


def inside(machine: Path, command: str, timeout: float) -> subprocess.CompletedProcess[str]:
    return lab.run(str(ENTER), str(machine), f"cd /root/apadana; {command}", timeout=timeout)


def test_prerequisites_bring_every_program(machine: Path) -> None:
    done = inside(machine, "make venv; for part in all unit engine go; do road/prerequisites.sh $part; done", 1200)
    assert done.returncode == 0, lab.told(done)
    look = f"for p in {PROGRAMS}; do command -v $p >/dev/null || echo missing: $p; done"
    found = inside(machine, look, 30)
    assert found.stdout == "", found.stdout
    backend = inside(machine, "podman info --format '{{.Host.NetworkBackend}}'", 60)
    assert backend.stdout.strip() == "netavark", lab.told(backend)


def test_unit_tests_pass_there(machine: Path) -> None:
    done = inside(machine, "make unit", 900)
    assert done.returncode == 0, lab.told(done)
