"""What it means to take a worker out of the cluster for good, and why it is not done: pure.

`seen` is what library/cluster_departure.py reports.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from playbooks.rules.telling import TRUTHS, wrong

Seen = Mapping[str, Any]


@dataclass(frozen=True)
class Asked:
    """`-e host=w4 -e confirm=w4 -e gone=true`, as it is meant."""

    host: str
    gone: bool


@dataclass(frozen=True)
class Plan:
    lines: tuple[str, ...] = ()
    left: tuple[str, ...] = ()  # what the inventory's owner does afterwards
    refusals: tuple[str, ...] = ()


def asked(
    host: str, confirm: str, gone: Any, planes: Collection[str], workers: Collection[str], *, changes: bool
) -> tuple[Asked, list[str]]:
    """What was said on the command line, and what is wrong with it."""
    faults = []
    if host in planes:
        faults.append(
            f"{host} is a control plane; allowed: a worker ({_listed(workers)}). etcd needs three of them. One that is"
            f" broken is made anew: playbooks/site.yml -e rejoin={host}"
        )
    elif host not in workers:
        action = f"say -e host=HOST; a node that no inventory has goes by `kubectl delete node {host}`"
        faults.append(wrong("host", host, f"a worker of the inventory ({_listed(workers)})", action))
    elif changes and confirm != host:
        action = f"a removal destroys the data of the host's volumes; if that is meant, say -e confirm={host}"
        faults.append(wrong("confirm", confirm, f"the name of the host, {host}", action))
    truth = TRUTHS.get(str(gone).lower())
    if truth is None:
        faults.append(wrong("gone", gone, "true or false", "true is for a machine that will never answer again"))
    return Asked(host, bool(truth)), faults


def plan(what: Asked, seen: Seen, *, answers: bool) -> Plan:
    """All that stands in the way, or what is done in its order."""
    refusals = [*_strangers(what, seen, answers=answers), *_data(what, seen), *_bare(seen)]
    if refusals:
        return Plan(refusals=tuple(refusals))
    return Plan(tuple(_steps(what, seen)), left(what.host))


def _strangers(what: Asked, seen: Seen, *, answers: bool) -> list[str]:
    """What was said of the machine is not so."""
    host = what.host
    if what.gone and answers:
        return [f"{host} answers, so it is not gone: leave out -e gone=true, and it gives back what the roles own"]
    if what.gone and seen["ready"]:
        return [
            f"{host} does not answer here, and its kubelet says that it is Ready: it is not gone; mend the way in"
            " (its address, sshd, the firewall), or switch it off"
        ]
    if not what.gone and not answers:
        return [
            f"{host} does not answer, so nothing could be taken off it; mend the way in, or, if the machine will never"
            " answer again, say -e gone=true"
        ]
    return []


def _data(what: Asked, seen: Seen) -> list[str]:
    return [
        f"the claim {each['claim']} has its data on {what.host} ({each['name']}, {each['size']}): a member of a store"
        " is moved first, as the store's RUNBOOK says under a lost disk, once a volume of its class is free on another"
        f" host and after `kubectl cordon {what.host}`"
        for each in seen["volumes"]
        if each["phase"] == "Bound"
    ]


def _bare(seen: Seen) -> list[str]:
    return [
        f"the pod {each['name']} has no owner, so nobody makes it anew elsewhere; delete it, or wait until it ends"
        for each in seen["pods"]
        if each["owner"] == "" and not each["ended"]
    ]


def _steps(what: Asked, seen: Seen) -> list[str]:
    host = what.host
    if not seen["node"]:
        steps = [f"{host}: the cluster has no such node"]
    else:
        moving = [each["name"] for each in seen["pods"] if each["owner"] not in ("DaemonSet", "Node", "")]
        verb = "are made anew elsewhere" if what.gone else "move, as far as their budgets allow at once"
        steps = [f"{host}: its pods {verb}: {_listed(moving)}" if moving else f"{host}: no pod has to move"]
    if not what.gone:
        steps += [
            f"{host}: what the volume {each['name']} keeps of a former claim is destroyed"
            for each in seen["volumes"]
            if each["phase"] == "Released"
        ]
        steps.append(f"{host}: services, settings and volumes of the roles go; packages stay")
    return [*steps, *([f"{host}: its node goes"] if seen["node"] else [])]


def left(host: str) -> tuple[str, ...]:
    return (
        f"take {host} out of hosts.yml, and out of `apadana:nodepool: pools:` where it stands there",
        "then playbooks/site.yml: the other hosts forget its address; then `make up`: its volumes and its pool go",
    )


def _listed(names: Collection[str]) -> str:
    return ", ".join(sorted(names)) or "none"
