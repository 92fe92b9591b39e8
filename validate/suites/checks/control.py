"""Nodes Ready, etcd with its full quorum."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from components.kit.probing import Check, Stopwatch, Verdict
from validate.core.errors import ClusterError
from validate.ground.nodes import Context

ETCD_PKI = "/etc/kubernetes/pki/etcd"
ETCDCTL = (
    "etcdctl",
    "--endpoints=https://127.0.0.1:2379",
    f"--cacert={ETCD_PKI}/ca.crt",
    f"--cert={ETCD_PKI}/server.crt",
    f"--key={ETCD_PKI}/server.key",
    "--command-timeout=5s",
)


def nodes_ready(context: Context) -> Iterator[Check]:
    watch = Stopwatch()
    if not context.nodes:
        yield Check("nodes ready", Verdict.INVALID, "the cluster lists no node")
        return
    bad = {n.name: n.why for n in context.nodes if not n.ready}
    detail = f"{len(context.nodes) - len(bad)} of {len(context.nodes)} nodes are Ready"
    if bad:
        detail += "; " + "; ".join(f"{name}: {why}" for name, why in bad.items())
    yield watch.check("nodes ready", not bad, detail, nodes=[n.name for n in context.nodes])


def etcd_quorum(context: Context) -> Iterator[Check]:
    """Asks etcd itself, inside one of its pods: every member healthy, an odd number, one leader."""
    watch = Stopwatch()
    expected = {node.name for node in context.control_planes()}
    members, statuses = etcd_status(context)
    leaders = {s["Status"]["leader"] for s in statuses}
    voting = [m for m in members if not m.get("isLearner")]
    odd = len(voting) % 2 == 1 and len(voting) >= 3
    names = {m["name"] for m in voting}
    passed = odd and names == expected and len(statuses) == len(members) and len(leaders) == 1
    detail = (
        f"{len(statuses)} of {len(members)} members answer, {len(voting)} vote, "
        f"{len(leaders)} leader(s); control planes: {', '.join(sorted(expected))}"
    )
    yield watch.check("etcd quorum", passed, detail, members=sorted(names), leader=leader_name(members, leaders))


def etcd_status(context: Context) -> tuple[list[Any], list[Any]]:
    """(members, statuses of those that answer), from the first etcd pod that can be asked."""
    errors: list[str] = []
    for node in context.control_planes():
        try:
            listed = json.loads(_etcdctl(context, node.name, "member", "list", "-w", "json"))
            status = _etcdctl(context, node.name, "endpoint", "status", "--cluster", "-w", "json")
            return listed["members"], json.loads(status)
        except ClusterError as error:
            errors.append(str(error))
    raise ClusterError("asking etcd for its members", "; ".join(errors) or "no control plane")


def _etcdctl(context: Context, node: str, *args: str) -> str:
    return context.cluster.exec("kube-system", f"etcd-{node}", [*ETCDCTL, *args], timeout=20)


def leader_name(members: list[Any], leaders: set[int]) -> str:
    return ",".join(str(m["name"]) for m in members if m["ID"] in leaders) or "none"
