"""Names, pod network, Service and NetworkPolicy, seen from a pod on each node."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from components.kit.probing import Check, Stopwatch, Verdict
from validate.core.errors import ClusterError
from validate.ground.kubectl import wait_for
from validate.ground.nodes import DOMAIN, PORT, Context, look, look_everywhere
from validate.ground.pods import POLICY_LABEL, ROLE_LABEL, RUN_LABEL, Pod, policy

SAME_SECOND = 1.0
POLICY = "NetworkPolicy"
PATHS = {"DNS from each node": "dns", "pod network": "pods", "Service": "service"}


def names_and_paths(context: Context, pods: Sequence[Pod]) -> Iterator[Check]:
    """DNS, each pod from each node, and a Service: one look from each node covers the three."""
    watch = Stopwatch()
    last: dict[str, list[Any]] = {}
    service = make_service(context)
    addresses = pod_addresses(context)
    dns = ["kubernetes.default.svc." + DOMAIN + ".", f"{service}.{context.namespace}.svc.{DOMAIN}."]

    def wishes(_: Pod) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = [{"kind": "dns", "name": name} for name in dns]
        found += [{"kind": "http", "host": a, "port": PORT, "what": "pods"} for a in addresses]
        host = dns[1].rstrip(".")
        return [*found, {"kind": "http", "host": host, "port": PORT, "what": "service"}]

    def all_well() -> dict[str, list[Any]] | None:
        last.update(look_everywhere(pods, wishes))
        return last if all(a["ok"] for answers in last.values() for a in answers) else None

    with suppress(ClusterError):
        # A new Service and new pods take a moment to reach every node's rules.
        wait_for("names and paths from every node", all_well, timeout=20, every=1.5)
    for title, kind in PATHS.items():
        yield _summary(title, kind, last, watch)


def _summary(title: str, kind: str, seen: Mapping[str, list[Any]], watch: Stopwatch) -> Check:
    picked = {pod: [a for a in answers if a.get("what", a["kind"]) == kind] for pod, answers in seen.items()}
    total = [a for answers in picked.values() for a in answers]
    bad = [
        f"{pod}: {a.get('name') or a.get('host')}: {a['seen']}"
        for pod, answers in picked.items()
        for a in answers
        if not a["ok"]
    ]
    if not total:
        return Check(title, Verdict.INVALID, "nothing was looked at")
    slowest = max(a.get("seconds", 0.0) for a in total)
    good = len(total) - len(bad)
    detail = f"{good} of {len(total)} from {len(picked)} nodes, slowest {slowest:.2f} s"
    if bad:
        detail += "; " + "; ".join(bad[:3])
    return watch.check(title, not bad, detail, answers=picked)


def make_service(context: Context) -> str:
    name = f"validate-{context.run}"
    meta = {"name": name, "namespace": context.namespace, "labels": {RUN_LABEL: context.run}}
    spec = {"selector": {RUN_LABEL: context.run, ROLE_LABEL: "server"}, "ports": [{"port": PORT, "targetPort": PORT}]}
    context.cluster.apply({"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": spec})
    return name


def pod_addresses(context: Context, role: str | None = None) -> list[str]:
    selector = f"{RUN_LABEL}={context.run}" + (f",{ROLE_LABEL}={role}" if role else "")
    items = context.cluster.json("-n", context.namespace, "get", "pods", "-l", selector)["items"]
    return [p["status"]["podIP"] for p in items]


def enter(run: str, namespace: str) -> dict[str, Any]:
    """Pods of this run may reach each other: the state in which the forbidden one is allowed."""
    peers = [{"podSelector": {"matchLabels": {RUN_LABEL: run}}}]
    return policy("enter", run, namespace, _ingress({RUN_LABEL: run}, peers))


def strict(run: str, namespace: str) -> dict[str, Any]:
    """Only the pod in the role `allowed` may reach the server."""
    server = {RUN_LABEL: run, ROLE_LABEL: "server"}
    peers = [{"podSelector": {"matchLabels": {RUN_LABEL: run, ROLE_LABEL: "allowed"}}}]
    return policy("strict", run, namespace, _ingress(server, peers))


def _ingress(selected: Mapping[str, str], peers: list[Any]) -> dict[str, Any]:
    return {
        "podSelector": {"matchLabels": dict(selected)},
        "policyTypes": ["Ingress"],
        "ingress": [{"from": peers, "ports": [{"protocol": "TCP", "port": PORT}]}],
    }


def network_policy(context: Context, allowed: Pod, forbidden: Pod) -> Iterator[Check]:
    """Control while both are allowed, then both sides in the same second, then control again.

    A refusal counts only when the same connection works while it is allowed. Policies add up, so
    the opening for all (`enter`) is taken away for the strict one to bite.
    """
    watch, title = Stopwatch(), POLICY
    run, namespace = context.run, context.namespace
    server = pod_addresses(context, "server")[0]
    before = _until(allowed, forbidden, server, (True, True))
    if not before["reached"]:
        detail = "the connections fail while they are allowed: a refusal would prove nothing"
        yield Check(title, Verdict.INVALID, detail, before, watch.seconds)
        return
    context.cluster.apply(strict(run, namespace))
    opening = f"{RUN_LABEL}={run},{POLICY_LABEL}=enter"
    context.cluster.delete(namespace, "networkpolicies", opening)
    with_policy = _until(allowed, forbidden, server, (True, False))
    context.cluster.apply(enter(run, namespace))
    after = _until(allowed, forbidden, server, (True, True))
    evidence = {"before": before, "with_policy": with_policy, "after": after}
    yield Check(title, *policy_verdict(with_policy, after), evidence, watch.seconds)


def policy_verdict(with_policy: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[Verdict, str]:
    if not with_policy["allowed"]["ok"]:
        return Verdict.FAIL, f"the allowed pod is refused: {with_policy['allowed']['seen']}"
    if with_policy["forbidden"]["ok"]:
        return Verdict.FAIL, "the forbidden pod gets through although the policy forbids it"
    apart = abs(with_policy["allowed"]["began"] - with_policy["forbidden"]["began"])
    if apart > SAME_SECOND:
        return Verdict.INVALID, f"the two connections began {apart:.1f} s apart, not at once"
    if not after["reached"]:
        return Verdict.INVALID, "the forbidden connection fails also when it is allowed again"
    return Verdict.PASS, (
        "allowed pod gets in, forbidden pod is kept out in the same second, and gets in before and after the policy"
    )


def _until(allowed: Pod, forbidden: Pod, server: str, wanted: tuple[bool, bool]) -> dict[str, Any]:
    """Both connect for two seconds, again and again until it is as wanted at the same time."""
    wish = [{"kind": "tcp", "host": server, "port": PORT, "timeout": 1.5, "again": 7}]
    last: dict[str, Any] = {}

    def both() -> bool | None:
        with ThreadPoolExecutor(max_workers=2) as pool:
            answers = pool.map(lambda pod: look(pod, wish, timeout=60)[0], (allowed, forbidden))
            first, second = (a.get("series") or [a] for a in answers)
        pair, as_wanted = same_moment(first, second, wanted)
        last.update(allowed=pair[0], forbidden=pair[1])
        return True if as_wanted else None

    try:
        wait_for("the connections to be as wanted", both, timeout=90, every=1.0)
    except ClusterError:
        if not last:
            raise
        return {**last, "reached": False}
    return {**last, "reached": True}


def same_moment(first: Sequence[Any], second: Sequence[Any], wanted: tuple[bool, bool]) -> tuple[tuple[Any, Any], bool]:
    """The last two connections that began within a second and went as wanted, else the last two."""
    for a in reversed(first):
        for b in reversed(second):
            near = abs(a.get("began", 0) - b.get("began", 1e9)) <= SAME_SECOND
            if near and (a["ok"], b["ok"]) == wanted:
                return (a, b), True
    return (first[-1], second[-1]), False
