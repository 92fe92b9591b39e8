"""Nodes Ready, etcd with its full quorum and room to write."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from components.kit.probing import Check, Stopwatch, Verdict, judged
from validate.core import causes
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
ROOM = "etcd has room to write"
FULL = 0.8  # of its quota; a compaction and a defragmentation are due before
MIB = 2**20


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


def etcd(context: Context) -> Iterator[Check]:
    """All that etcd is asked for, in one look."""
    watch = Stopwatch()
    members, statuses = etcd_status(context)
    yield _quorum(context, members, statuses, watch)
    yield room([status["Status"] for status in statuses])


def etcd_quorum(context: Context) -> Iterator[Check]:
    """Asks etcd itself, inside one of its pods: every member healthy, an odd number, one leader."""
    watch = Stopwatch()
    yield _quorum(context, *etcd_status(context), watch)


def _quorum(context: Context, members: list[Any], statuses: list[Any], watch: Stopwatch) -> Check:
    expected = {node.name for node in context.control_planes()}
    leaders = {s["Status"]["leader"] for s in statuses}
    voting = [m for m in members if not m.get("isLearner")]
    odd = len(voting) % 2 == 1 and len(voting) >= 3
    names = {m["name"] for m in voting}
    passed = odd and names == expected and len(statuses) == len(members) and len(leaders) == 1
    detail = (
        f"{len(statuses)} of {len(members)} members answer, {len(voting)} vote, "
        f"{len(leaders)} leader(s); control planes: {', '.join(sorted(expected))}"
    )
    return watch.check("etcd quorum", passed, detail, members=sorted(names), leader=leader_name(members, leaders))


def room(statuses: list[Any]) -> Check:
    """How far the database is from its quota: there etcd takes nothing any more but deletions."""
    wrong = [f"etcd says {text}" for status in statuses for text in status.get("errors") or ()]
    sizes = [(status["dbSize"], status["dbSizeQuota"]) for status in statuses if status.get("dbSizeQuota")]
    if not sizes:
        return Check(ROOM, Verdict.INVALID, "no member says what its quota is")
    size, quota = max(sizes, key=lambda pair: pair[0] / pair[1])
    told = f"{size / MIB:.0f} of {quota / MIB:.0f} MiB, which is {size / quota:.0%}"
    wrong += [f"{told}: more than {FULL:.0%}"] if size > quota * FULL else []
    return judged(ROOM, wrong, told, causes.DISK_FULL)


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
