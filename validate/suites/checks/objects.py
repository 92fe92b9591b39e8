"""What the Kubernetes objects of a component say about its promise to survive a host.

Pure: judges what `ground.objects` and the contract tell, and asks nobody.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil

from components.kit import contract
from components.kit.manifests import OPEN_BECAUSE, labels_of, name_of
from components.kit.probing import Check, Object, Verdict, judged
from validate.core import causes

WORKLOADS = ("StatefulSet", "Deployment")
KINDS = (*WORKLOADS, "Pod", "PodDisruptionBudget", "NetworkPolicy", "Service")
NAME_LABEL, HOST_KEY = "app.kubernetes.io/name", "kubernetes.io/hostname"
VERSION_LABEL = "app.kubernetes.io/version"


@dataclass(frozen=True)
class ComponentObjects:
    """The objects of the namespace, by kind, and of which component they are judged."""

    component: contract.Component
    by_kind: Mapping[str, Sequence[Object]]

    def of(self, *kinds: str) -> list[Object]:
        """Those that carry the component's name, or the labels of one of its workloads."""
        found = [o for kind in kinds for o in self.by_kind.get(kind, ())]
        return [o for o in found if self._mine(labels_of(o))]

    def _mine(self, labels: Mapping[str, str]) -> bool:
        if labels.get(NAME_LABEL) == self.component.name:
            return True
        return any(w.labels.items() <= labels.items() for w in self.component.workloads)

    def workloads(self) -> list[Object]:
        """Without what is scaled to nothing on purpose."""
        return [o for o in self.of(*WORKLOADS) if _replicas(o) > 0]

    @property
    def survives(self) -> bool:
        """Whether the contract promises to live through the loss of something."""
        promised = self.component.promises
        return promised is not None and promised.survives.strip().lower() not in ("", "nothing")


def checks(seen: ComponentObjects) -> Iterator[Check]:
    """All checks of one component; nothing where a component has no objects (mode external)."""
    workloads = seen.workloads()
    if not workloads:
        if seen.component.mode == "managed":
            detail = f"no StatefulSet or Deployment is labelled {NAME_LABEL}={seen.component.name}"
            yield Check("replicas", Verdict.INVALID, detail)
        return
    if seen.survives:
        yield replicas(seen, workloads)
        yield spread(seen, workloads)
        yield budgets(seen, workloads)
    yield health(workloads)
    yield fences(seen, workloads)
    labelled = [o for o in workloads if VERSION_LABEL in labels_of(o)]
    if labelled:
        yield version(seen.component, labelled)


def replicas(seen: ComponentObjects, workloads: Sequence[Object]) -> Check:
    """Two at least, or one would not be survived; as many as the contract lists; all ready."""
    wrong = []
    for each in workloads:
        wanted, ready = _replicas(each), int(each.get("status", {}).get("readyReplicas") or 0)
        if wanted < 2:
            if serves(seen, each):
                wrong.append(f"{name_of(each)} has {wanted} replica")
        elif ready < wanted:
            wrong.append(f"{name_of(each)}: {ready} of {wanted} replicas are ready")
    listed, running = seen.component.servers, sum(_replicas(w) for w in workloads)
    if running < listed:
        wrong.append(f"the contract lists {listed} members, the objects ask for {running}")
    told = ", ".join(f"{name_of(w)} {_replicas(w)}" for w in workloads)
    return judged("replicas", wrong, told, causes.TOO_FEW_REPLICAS)


def serves(seen: ComponentObjects, workload: Object) -> bool:
    """Whether clients depend on its being there now: a Service leads to it.

    What no Service selects (a job that keeps accounts as they should be) may be made again
    elsewhere while nobody notices. Where no Service is known at all, each is taken to serve.
    """
    services = seen.by_kind.get("Service", ())
    labels = labels_of(_template(workload))
    selectors = [s.get("spec", {}).get("selector") or {} for s in services]
    return not services or any(_selects({"matchLabels": s}, labels) for s in selectors if s)


def spread(seen: ComponentObjects, workloads: Sequence[Object]) -> Check:
    """No host holds so many pods of a workload that the rest could not go on; a rule keeps it."""
    wrong = []
    for each in workloads:
        total = _replicas(each)
        if total < 2:
            continue
        if not _spread_rule(_template(each).get("spec", {})):
            wrong.append(f"{name_of(each)}: neither anti-affinity nor a topology spread over hosts")
        places = Counter(_host(pod) for pod in _pods(seen, each) if _host(pod))
        host, most = max(places.items(), key=lambda item: item[1], default=("", 0))
        if most > tolerated(total):
            wrong.append(f"{most} of {total} pods of {name_of(each)} are on host {host}")
    told = f"{len(workloads)} workloads spread over hosts by rule and in fact"
    return judged("spread over hosts", wrong, told, causes.SHARED_HOST)


def tolerated(total: int) -> int:
    """How many of `total` may go while a majority stays; of two, one."""
    return max(1, (total - 1) // 2)


def budgets(seen: ComponentObjects, workloads: Sequence[Object]) -> Check:
    """A budget for each workload, which lets a drain go on and never takes the majority."""
    found = seen.by_kind.get("PodDisruptionBudget", ())
    wrong, told = [], []
    for each in workloads:
        total = _replicas(each)
        if total < 2:
            continue
        labels = labels_of(_template(each))
        mine = [b for b in found if _selects(b["spec"].get("selector", {}), labels)]
        if not mine:
            wrong.append(f"no PodDisruptionBudget selects the pods of {name_of(each)}")
            continue
        allowed = min(_evictable(b["spec"], total) for b in mine)
        if allowed > tolerated(total):
            wrong.append(f"{allowed} of {total} pods of {name_of(each)} may be evicted at once")
        elif allowed < 1:
            wrong.append(f"no pod of {name_of(each)} may ever be evicted: a drain would hang")
        told.append(f"{name_of(each)}: {allowed} of {total} at once")
    return judged("disruption budgets", wrong, ", ".join(told), causes.NO_DISRUPTION_BUDGET)


def health(workloads: Sequence[Object]) -> Check:
    """Every container says when it is ready and when it must be restarted."""
    wrong = [
        f"container {c.get('name')} of {name_of(each)} has no {probe}"
        for each in workloads
        for c in _template(each).get("spec", {}).get("containers", ())
        for probe in ("readinessProbe", "livenessProbe")
        if not c.get(probe)
    ]
    told = f"ready and live probes in {len(workloads)} workloads"
    return judged("health probes", wrong, told, causes.NO_HEALTH_PROBE)


def fences(seen: ComponentObjects, workloads: Sequence[Object]) -> Check:
    """Policies select the pods for incoming traffic, and none opens them to everyone unsaid."""
    found = seen.by_kind.get("NetworkPolicy", ())
    wrong, meant = [], []
    for each in workloads:
        labels = labels_of(_template(each))
        mine = [p for p in found if _selects(p["spec"].get("podSelector", {}), labels)]
        fencing = [p for p in mine if "Ingress" in p["spec"].get("policyTypes", ["Ingress"])]
        if not fencing:
            wrong.append(f"no NetworkPolicy fences the pods of {name_of(each)}: anyone may connect")
        for p in fencing:
            if all(rule.get("from") for rule in p["spec"].get("ingress", ())):
                continue
            why = p["metadata"].get("annotations", {}).get(OPEN_BECAUSE)
            if why:
                meant.append(f"{name_of(each)} is open to everyone: {why}")
            else:
                wrong.append(f"NetworkPolicy {name_of(p)} opens {name_of(each)} to everyone")
    told = "; ".join(["default deny and named openings", *meant])
    return judged("network policies", wrong, told, causes.OPEN_NETWORK)


def version(component: contract.Component, workloads: Iterable[Object]) -> Check:
    """The label of the workloads against the contract."""
    seen = {name_of(w): labels_of(w)[VERSION_LABEL] for w in workloads}
    wrong = [
        f"{name} is labelled {v}, the contract says {component.version}"
        for name, v in seen.items()
        if v != component.version
    ]
    return judged("version of the objects", wrong, component.version, causes.WRONG_VERSION)


def _evictable(spec: Object, total: int) -> int:
    if "maxUnavailable" in spec:
        return _count(spec["maxUnavailable"], total)
    return total - _count(spec.get("minAvailable", 0), total)


def _count(value: int | str, total: int) -> int:
    """A number, or a percentage, which Kubernetes rounds up."""
    text = str(value)
    return ceil(int(text[:-1]) * total / 100) if text.endswith("%") else int(text)


def _spread_rule(spec: Object) -> bool:
    rules = (spec.get("affinity") or {}).get("podAntiAffinity") or {}
    terms = [*rules.get("requiredDuringSchedulingIgnoredDuringExecution", ())]
    terms += [
        weighted["podAffinityTerm"] for weighted in rules.get("preferredDuringSchedulingIgnoredDuringExecution", ())
    ]
    terms += spec.get("topologySpreadConstraints") or ()
    return any(term.get("topologyKey") == HOST_KEY for term in terms)


def _selects(selector: Object, labels: Mapping[str, str]) -> bool:
    """A label selector; an empty one selects all."""
    exact: Mapping[str, str] = selector.get("matchLabels") or {}
    return all(labels.get(k) == v for k, v in exact.items()) and all(
        _expression(e, labels) for e in selector.get("matchExpressions") or ()
    )


def _expression(rule: Object, labels: Mapping[str, str]) -> bool:
    value, allowed = labels.get(rule["key"]), rule.get("values", ())
    return {
        "In": value in allowed,
        "NotIn": value not in allowed,
        "Exists": value is not None,
        "DoesNotExist": value is None,
    }[rule["operator"]]


def _pods(seen: ComponentObjects, workload: Object) -> list[Object]:
    selector = workload["spec"].get("selector", {})
    return [p for p in seen.by_kind.get("Pod", ()) if _selects(selector, labels_of(p))]


def _host(pod: Object) -> str:
    return str(pod.get("spec", {}).get("nodeName") or "")


def _template(workload: Object) -> Object:
    found: Object = workload["spec"].get("template") or {}
    return found


def _replicas(workload: Object) -> int:
    return int(workload["spec"].get("replicas", 1))
