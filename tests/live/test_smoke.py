"""Smoke on the running lab, as a person would call it."""

from __future__ import annotations

import hashlib
import json

import pytest

from components.cluster import probe as cluster
from components.kit import naming
from components.kit.layers import standing
from tests import lab
from tests.smoked import Smoked
from validate.ground.site import REPOSITORY
from validate.suites.checks import control, running

pytestmark = pytest.mark.live


def test_everything_passes(smoke: Smoked) -> None:
    assert smoke.done.returncode == 0, smoke.done.stdout + smoke.done.stderr


def test_the_report_covers_each_store_and_the_cluster(smoke: Smoked) -> None:
    contract = json.loads((lab.STATE / "platform.json").read_text())
    covered = {result["component"] for result in smoke.report["results"]}
    assert covered >= {c["name"] for c in contract["components"]} | {"cluster", "delivery", "nodepool", "storage"}
    named = {result["name"] for result in smoke.report["results"] if result["component"] == "cluster"}
    assert named >= {
        "nodes ready",
        "etcd quorum",
        "DNS from each node",
        "pod network",
        "Service",
        "NetworkPolicy",
        *running.NAMES,
        control.ROOM,
        cluster.PLANES,
        cluster.USAGE,
    }


def test_a_forbidden_connection_is_refused_while_an_allowed_one_passes(smoke: Smoked) -> None:
    found = [result for result in smoke.report["results"] if result["name"] == "NetworkPolicy"]
    assert [result["verdict"] for result in found] == ["PASS"], lab.told(smoke.done)
    evidence = found[0]["evidence"]
    during = evidence["with_policy"]
    assert during["allowed"]["ok"] and not during["forbidden"]["ok"]
    assert abs(during["allowed"]["began"] - during["forbidden"]["began"]) <= 1.0
    for either in (evidence["before"], evidence["after"]):
        assert either["allowed"]["ok"] and either["forbidden"]["ok"]


def test_no_pod_and_no_policy_is_left(smoke: Smoked) -> None:
    from validate.core.errors import ClusterError
    from validate.ground.kubectl import wait_for
    from validate.ground.pods import RUN_LABEL

    assert smoke.report
    found = lab.found()
    kinds = "pods,services,networkpolicies,configmaps"

    def gone() -> bool | None:
        items = found.cluster.json("-n", found.platform.namespace, "get", kinds, "-l", RUN_LABEL)
        left = [f"{i['kind']} {i['metadata']['name']}" for i in items["items"]]
        if left:
            raise ClusterError("looking for what is left", ", ".join(left))
        return True

    assert wait_for("everything of the run to be gone", gone, timeout=180)


def test_the_contract_names_the_bundle_that_is_there_and_stands_in_the_cluster_too() -> None:
    found = lab.found()
    written = json.loads((lab.STATE / "platform.json").read_text())
    held = []
    for layer in standing(REPOSITORY / "stacks", lab.SITE):
        where = ("-n", found.platform.namespace, "get", "configmap", naming.contract(layer))
        part = json.loads(found.cluster.json(*where)["data"][f"{layer}.json"])
        held += part["components"]
    assert held == written["components"]  # Pulumi writes 15.0 as 15
    manifest = (found.bundle / "manifest.json").read_bytes()
    assert found.platform.bundle_digest == f"sha256:{hashlib.sha256(manifest).hexdigest()}"


def test_an_unknown_component_is_a_wrong_use() -> None:
    done = lab.validate("smoke", "--only", "kafak", timeout=120)
    assert done.returncode == 2
    assert "it has:" in done.stderr
