"""Smoke on the running lab, as a person would call it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import lab
from validate.site import REPOSITORY

pytestmark = pytest.mark.live
STATE = Path(os.environ.get("APADANA_STATE", "/var/lib/apadana"))
SITE = os.environ.get("APADANA_SITE", "lab")


def validate(*args: str, timeout: float) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "validate", *args, "--stack", SITE]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=timeout, cwd=REPOSITORY
    )


@pytest.fixture(scope="module")
def smoke() -> subprocess.CompletedProcess[str]:
    return validate("smoke", timeout=300)


def test_everything_passes(smoke: subprocess.CompletedProcess[str]) -> None:
    assert smoke.returncode == 0, smoke.stdout + smoke.stderr


def test_the_report_covers_each_store_and_the_cluster(
    smoke: subprocess.CompletedProcess[str],
) -> None:
    assert "report: " in smoke.stdout, smoke.stderr
    data = json.loads((lab.REPORTS / "latest" / "results.json").read_text())
    contract = json.loads((STATE / SITE / "platform.json").read_text())
    covered = {result["component"] for result in data["results"]}
    assert covered >= {c["name"] for c in contract["components"]} | {"cluster"}
    named = {result["name"] for result in data["results"] if result["component"] == "cluster"}
    assert named >= {
        "nodes ready", "etcd quorum", "DNS from each node", "pod network", "Service",
        "NetworkPolicy",
    }  # fmt: skip


def test_no_pod_and_no_policy_is_left(smoke: subprocess.CompletedProcess[str]) -> None:
    from validate import site
    from validate.cluster import wait_for
    from validate.runner import RUN_LABEL

    assert smoke.stdout
    found = site.load(SITE)
    kinds = "pods,services,networkpolicies,configmaps"

    def gone() -> bool | None:
        left = found.cluster.json("-n", found.platform.namespace, "get", kinds, "-l", RUN_LABEL)[
            "items"
        ]
        return True if not left else None

    assert wait_for("everything of the run to be gone", gone, timeout=60)


def test_an_unknown_component_is_a_wrong_use() -> None:
    done = validate("smoke", "--only", "kafak", timeout=30)
    assert done.returncode == 2
    assert "it has:" in done.stderr
