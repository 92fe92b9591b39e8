"""What is said of a component's objects, with one thing changed at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from components.kit import contract
from components.kit.probing import Verdict
from tests.toy.plan import Plan, make
from validate.core import causes
from validate.ground import Member
from validate.suites.checks import alerts, objects
from validate.suites.checks.safety import members_apart

FAIL, PASS = Verdict.FAIL, Verdict.PASS


def judged(plan: Plan) -> dict[str, tuple[Verdict, str]]:
    platform = contract.Platform.model_validate(plan.contract)
    by_kind = {k: [o for o in plan.objects if o["kind"] == k] for k in objects.KINDS}
    found = objects.checks(objects.ComponentObjects(platform.component("kv"), by_kind))
    return {c.name: (c.verdict, str(c.evidence.get("cause", ""))) for c in found}


def workload(plan: Plan) -> dict[str, Any]:
    return plan.objects_of("StatefulSet", "kv")[0]


def budget(plan: Plan, **spec: object) -> None:
    item = plan.objects_of("PodDisruptionBudget", "kv")[0]
    item["spec"] = {"selector": item["spec"]["selector"], **spec}


def drop(plan: Plan, kind: str) -> None:
    plan.objects = [o for o in plan.objects if o["kind"] != kind]


def on_one_host(plan: Plan) -> None:
    for pod in plan.objects_of("Pod", "kv")[:2]:
        pod["spec"]["nodeName"] = "h1"


CHANGES: Mapping[str, tuple[Callable[[Plan], object], str, str]] = {
    "no budget": (lambda p: drop(p, "PodDisruptionBudget"), "disruption budgets", causes.NO_DISRUPTION_BUDGET),
    "all may go": (lambda p: budget(p, maxUnavailable="100%"), "disruption budgets", causes.NO_DISRUPTION_BUDGET),
    "two of three may go": (lambda p: budget(p, minAvailable=1), "disruption budgets", causes.NO_DISRUPTION_BUDGET),
    "none may go": (lambda p: budget(p, maxUnavailable=0), "disruption budgets", causes.NO_DISRUPTION_BUDGET),
    "one replica": (lambda p: workload(p)["spec"].update(replicas=1), "replicas", causes.TOO_FEW_REPLICAS),
    "one not ready": (lambda p: workload(p)["status"].update(readyReplicas=2), "replicas", causes.TOO_FEW_REPLICAS),
    "two on one host": (on_one_host, "spread over hosts", causes.SHARED_HOST),
    "no rule": (
        lambda p: workload(p)["spec"]["template"]["spec"].pop("affinity"),
        "spread over hosts",
        causes.SHARED_HOST,
    ),
    "no policy": (lambda p: drop(p, "NetworkPolicy"), "network policies", causes.OPEN_NETWORK),
    "a policy for everyone": (
        lambda p: p.objects_of("NetworkPolicy", "kv")[1]["spec"]["ingress"].append({}),
        "network policies",
        causes.OPEN_NETWORK,
    ),
    "never restarted": (
        lambda p: workload(p)["spec"]["template"]["spec"]["containers"][0].pop("livenessProbe"),
        "health probes",
        causes.NO_HEALTH_PROBE,
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_each_change_is_named_and_nothing_else(name: str) -> None:
    change, check, cause = CHANGES[name]
    plan = make("toy", ("kv",))
    change(plan)
    seen = judged(plan)
    assert seen.pop(check) == (FAIL, cause)
    assert {verdict for verdict, _ in seen.values()} == {PASS}


SAME: Mapping[str, Callable[[Plan], object]] = {
    "as made": lambda plan: None,
    "how many must stay": lambda p: budget(p, minAvailable=2),
    "how many may go in percent, rounded up": lambda p: budget(p, maxUnavailable="33%"),
    "how many must stay in percent, rounded up": lambda p: budget(p, minAvailable="66%"),
    "a selector by expression": lambda p: budget(
        p,
        maxUnavailable=1,
        selector={"matchExpressions": [{"key": "app.kubernetes.io/name", "operator": "In", "values": ["kv", "log"]}]},
    ),
}


@pytest.mark.parametrize("name", SAME)
def test_what_keeps_the_promise_passes(name: str) -> None:
    plan = make("toy", ("kv",))
    SAME[name](plan)
    assert {verdict for verdict, _ in judged(plan).values()} == {PASS}


def test_a_managed_component_without_objects_is_not_judged() -> None:
    plan = make("toy", ("kv",))
    plan.objects = []
    assert judged(plan) == {"replicas": (Verdict.INVALID, "")}


@pytest.mark.parametrize(("total", "may_go"), [(1, 1), (2, 1), (3, 1), (4, 1), (5, 2), (6, 2), (7, 3)])
def test_a_majority_stays(total: int, may_go: int) -> None:
    assert objects.tolerated(total) == may_go
    assert total < 3 or total - may_go > total / 2


def kv() -> contract.Component:
    return contract.Platform.model_validate(make("toy", ("kv",)).contract).component("kv")


@pytest.mark.parametrize(
    ("hosts", "pids", "cause"),
    [
        (("h1", "h2", "h3"), (11, 12, 13), ""),
        (("h1", "h1", "h3"), (11, 12, 13), causes.SHARED_HOST),
        (("h1", "h2", "h3"), (11, 0, 13), causes.TOO_FEW_REPLICAS),
    ],
)
def test_members_run_apart(hosts: tuple[str, ...], pids: tuple[int, ...], cause: str) -> None:
    members = [
        Member("kv", f"kv-{n}", host, (pid,) if pid else (), role=kv().members[n].role)
        for n, (host, pid) in enumerate(zip(hosts, pids, strict=True))
    ]
    check = members_apart(kv(), members)
    assert (check.verdict, check.evidence.get("cause", "")) == (FAIL if cause else PASS, cause)


def test_alerts_that_lack_are_named(tmp_path: Any) -> None:
    (tmp_path / "kv").mkdir()
    rule = {"alert": "X", "expr": "up == 0", "labels": {"cause": "not-whole-again"}}
    (tmp_path / "kv" / "alerts.yaml").write_text(str({"groups": [{"name": "x", "rules": [rule]}]}))
    (check,) = alerts.checks(kv(), tmp_path)
    assert check.verdict is FAIL
    assert check.evidence["missing"] == ["backup-useless", "certificate", "disk-full"]
    (tmp_path / "kv" / "alerts.yaml").write_text("rules: 3\n")
    (check,) = alerts.checks(kv(), tmp_path)
    assert check.verdict is Verdict.INVALID


@pytest.mark.parametrize(("why", "verdict"), [("people come in here", PASS), ("", FAIL)])
def test_a_door_that_is_open_on_purpose_says_why(why: str, verdict: Verdict) -> None:
    labels = {"app": "proxy"}
    pod = {"metadata": {"labels": labels}}
    workload = {"metadata": {"name": "proxy"}, "spec": {"template": pod, "replicas": 2}}
    door = {
        "metadata": {"name": "door", "annotations": {"apadana.io/open-because": why}},
        "spec": {
            "podSelector": {"matchLabels": labels},
            "policyTypes": ["Ingress"],
            "ingress": [{"ports": [{"port": 443}]}],
        },
    }
    check = objects.fences(objects.ComponentObjects(kv(), {"NetworkPolicy": [door]}), [workload])
    assert check.verdict is verdict
    assert why in check.detail
