"""Objects that don't keep what the contract promises."""

from __future__ import annotations

from tests.toy.defect import Defect
from tests.toy.plan import HOSTS, Plan, rebuild
from validate.core import causes

LOOK = ("smoke/", "safety/kv/objects")


def _no_budget(plan: Plan) -> None:
    plan.objects = [o for o in plan.objects if o["kind"] != "PodDisruptionBudget"]


def _budget_of_another(plan: Plan) -> None:
    for budget in plan.objects_of("PodDisruptionBudget", "kv"):
        budget["spec"]["selector"] = {"matchLabels": {"app.kubernetes.io/name": "kv-old"}}


def _budget_for_all(plan: Plan) -> None:
    for budget in plan.objects_of("PodDisruptionBudget", "kv"):
        budget["spec"] = {**budget["spec"], "maxUnavailable": "100%"}


def _one_replica(plan: Plan) -> None:
    plan.members = plan.of("kv")[:1]
    rebuild(plan, "kv")


def _one_host(plan: Plan) -> None:
    for member, host in zip(plan.of("kv"), (HOSTS[0], HOSTS[0], HOSTS[1]), strict=True):
        member.host = host
    for port, member in enumerate(plan.of("kv"), start=7102):  # two on one address
        member.port, member.metrics_port = port, port + 2000
    rebuild(plan, "kv")


def _no_rule(plan: Plan) -> None:
    for workload in plan.objects_of("StatefulSet", "kv"):
        workload["spec"]["template"]["spec"].pop("affinity")


def _no_probe(plan: Plan) -> None:
    for workload in plan.objects_of("StatefulSet", "kv"):
        workload["spec"]["template"]["spec"]["containers"][0].pop("readinessProbe")


def _no_policy(plan: Plan) -> None:
    plan.objects = [o for o in plan.objects if o["kind"] != "NetworkPolicy"]


DEFECTS = (
    Defect("no-budget", "no PodDisruptionBudget at all", _no_budget, (causes.NO_DISRUPTION_BUDGET,), look=LOOK),
    Defect(
        "budget-of-another",
        "a budget whose selector matches no pod",
        _budget_of_another,
        (causes.NO_DISRUPTION_BUDGET,),
        look=LOOK,
    ),
    Defect(
        "budget-for-all",
        "a budget that lets all pods go at once",
        _budget_for_all,
        (causes.NO_DISRUPTION_BUDGET,),
        look=LOOK,
    ),
    Defect(
        "one-replica",
        "one server where the loss of a host is to be survived",
        _one_replica,
        (causes.TOO_FEW_REPLICAS,),
        look=LOOK,
    ),
    Defect(
        "replicas-on-one-host", "two of three servers on the same host", _one_host, (causes.SHARED_HOST,), look=LOOK
    ),
    Defect(
        "spread-by-luck",
        "servers on hosts apart, and no rule that keeps it so",
        _no_rule,
        (causes.SHARED_HOST,),
        look=LOOK,
    ),
    Defect(
        "no-readiness-probe",
        "traffic goes to a server that is not ready",
        _no_probe,
        (causes.NO_HEALTH_PROBE,),
        look=LOOK,
    ),
    Defect("no-network-policy", "no policy fences the pods", _no_policy, (causes.OPEN_NETWORK,), look=LOOK),
)
