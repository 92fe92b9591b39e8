"""Who leads where, and how to gather all leaders on one host before it is killed."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from validate.core.errors import ClusterError, NotValidError
from validate.ground.kubectl import wait_for
from validate.ground.nodes import Context
from validate.ground.pods import Pod
from validate.suites.checks import control

ETCD, MANAGER = "etcd", "controller-manager"
LEASE = "kube-controller-manager"


@dataclass(frozen=True)
class Leader:
    """The member that leads a service, and the host it is on."""

    service: str
    member: str
    node: str


def leaders(context: Context, pod: Pod, stores: Sequence[str]) -> dict[str, Leader]:
    found = store_leaders(context, pod, stores)
    for service, ask in ((ETCD, etcd_leader), (MANAGER, lease_holder)):
        node = ask(context)
        found[service] = Leader(service, node, node)
    return found


def store_leaders(context: Context, pod: Pod, stores: Sequence[str]) -> dict[str, Leader]:
    """As each room's probe says; a store without a leader (MinIO) is left out."""
    wish = [arg for store in stores for arg in ("--component", store)]
    where = pod_nodes(context)
    found = {}
    for record in pod.checks("primary", *wish, "--deadline", "10", timeout=20):
        member = (record.get("evidence") or {}).get("member")
        if member:
            found[record["component"]] = Leader(record["component"], member, where.get(member, "unknown"))
    return found


def pod_nodes(context: Context) -> dict[str, str]:
    items = context.cluster.json("-n", context.namespace, "get", "pods")["items"]
    return {p["metadata"]["name"]: p["spec"].get("nodeName", "") for p in items}


def etcd_leader(context: Context) -> str:
    members, statuses = control.etcd_status(context)
    return control.leader_name(members, {s["Status"]["leader"] for s in statuses})


def lease_holder(context: Context) -> str:
    lease = context.cluster.json("-n", "kube-system", "get", "lease", LEASE)
    return str(lease["spec"].get("holderIdentity") or "").split("_")[0]


def gather(context: Context, pod: Pod, stores: Sequence[str], host: str | None, say: Callable[[str], None]) -> str:
    """Moves every leader to one host and returns it.

    Without a wish it is the host of the leader that is hardest to steer: Sentinel chooses the
    next primary itself.
    """
    now = leaders(context, pod, stores)
    anchor = next((now[s].node for s in ("redis", "kafka", "postgres") if s in now), None)
    victim = host or anchor or now[ETCD].node
    say(f"gathering all leaders on {victim}; now: {story(now)}")
    for store in [s for s in stores if s in now]:
        _move_store(context, pod, store, victim)
    _move_etcd(context, victim)
    _move_lease(context, victim)
    now = leaders(context, pod, stores)
    astray = [leader for leader in now.values() if leader.node != victim]
    if astray:
        raise NotValidError(f"the leaders could not be gathered on {victim}: {story(now)}")
    say(f"placement before the kill: {story(now)}")
    return victim


def story(found: Mapping[str, Leader]) -> str:
    parts = []
    for leader in found.values():
        member = "" if leader.member == leader.node else f"{leader.member} on "
        parts.append(f"{leader.service}: {member}{leader.node}")
    return ", ".join(parts) or "no leader known"


def _move_store(context: Context, pod: Pod, store: str, victim: str) -> None:
    """Asks the engine where it can be asked; else restarts the leader until the right one leads."""
    for _ in range(8):
        leader = store_leaders(context, pod, [store]).get(store)
        if leader is not None and leader.node == victim:
            return
        if leader is None:
            raise NotValidError(f"{store} names no leader")
        there = [name for name, node in pod_nodes(context).items() if node == victim]
        candidate = next((name for name in there if _sibling(name, leader.member)), None)
        if candidate is None:
            raise NotValidError(f"{store} has no member on {victim} that could lead")
        HANDOVERS.get(store, _restart)(context, leader.member, candidate)
        _wait_other_leader(context, pod, leader)
        _wait_whole(pod, store)
    raise NotValidError(f"{store} did not move its leader to {victim} in 8 tries")


def _sibling(pod: str, member: str) -> bool:
    """Members of one StatefulSet differ in their ordinal only."""
    return pod.rpartition("-")[0] == member.rpartition("-")[0] and pod.rpartition("-")[2].isdigit()


def _wait_other_leader(context: Context, pod: Pod, old: Leader) -> None:
    def moved() -> bool | None:
        now = store_leaders(context, pod, [old.service]).get(old.service)
        return True if now is not None and now.member != old.member else None

    wait_for(f"{old.service} to be led by another than {old.member}", moved, timeout=60, every=1)


def _wait_whole(pod: Pod, store: str) -> None:
    args = ["whole", "--component", store, "--deadline", "120"]
    records = list(pod.checks(*args, timeout=150))
    if not records or records[-1]["verdict"] != "PASS":
        detail = records[-1]["detail"] if records else "its probe said nothing"
        raise NotValidError(f"{store} did not become whole again: {detail}")


def _restart(context: Context, leader: str, _candidate: str) -> None:
    context.cluster.run("-n", context.namespace, "delete", "pod", leader, "--wait=false")


def _switchover(context: Context, leader: str, candidate: str) -> None:
    """Patroni is asked by its own tool, in the pod that leads."""
    command = ["patronictl", "-c", "/run/postgresql/patroni.yml", "switchover", "--leader", leader]
    command += ["--candidate", candidate, "--force"]
    context.cluster.exec(context.namespace, leader, command, timeout=60)


HANDOVERS: Mapping[str, Callable[[Context, str, str], None]] = {"postgres": _switchover}


def _move_etcd(context: Context, victim: str) -> None:
    leader = etcd_leader(context)
    if leader == victim:
        return
    members, _ = control.etcd_status(context)
    wanted = next((m["ID"] for m in members if m["name"] == victim), None)
    if wanted is None:
        raise NotValidError(f"{victim} has no etcd member: give a control plane as --host")
    # Only the leader itself can hand over.
    command = [*control.ETCDCTL, "move-leader", f"{wanted:x}"]
    context.cluster.exec("kube-system", f"etcd-{leader}", command, timeout=10)
    wait_for(f"etcd to be led by {victim}", lambda: True if etcd_leader(context) == victim else None, timeout=20)


def _move_lease(context: Context, victim: str) -> None:
    """Takes the lease from whoever holds it; the candidates race for it, so more than once."""

    def held() -> bool | None:
        holder = lease_holder(context)
        if holder == victim:
            return True
        if holder:
            release = json.dumps({"spec": {"holderIdentity": ""}})
            context.cluster.run("-n", "kube-system", "patch", "lease", LEASE, "--type=merge", "-p", release)
            raise ClusterError("the lease", f"held by {holder}, released")
        return None

    wait_for(f"{LEASE} to be held by {victim}", held, timeout=180, every=1.5)
