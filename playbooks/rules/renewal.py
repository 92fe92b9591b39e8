"""What a renewal of kubeadm's certificates does on which host, and why it does not: pure.

`seen` is what library/kubeadm_certificates.py reports, by host.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from playbooks.rules.membership import MEMBER
from playbooks.rules.telling import TRUTHS, wrong

MOST_DAYS = 300
Seen = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Asked:
    """`-e days=90 -e all=true`, as it is meant."""

    days: int
    everything: bool


@dataclass(frozen=True)
class Plan:
    lines: tuple[str, ...] = ()
    due: tuple[str, ...] = ()  # hosts on which something is renewed or started anew
    ended: tuple[str, ...] = ()  # hosts with what has ended, or is no pair: etcd can't be asked before that is mended
    refusals: tuple[str, ...] = ()


def asked(days: Any, everything: Any) -> tuple[Asked, list[str]]:
    """What was said on the command line, and what is wrong with it."""
    faults = []
    number = int(str(days)) if str(days).isdecimal() and not isinstance(days, bool) else 0
    if not 1 <= number <= MOST_DAYS:
        action = "a certificate lives for 365 days, and what is renewed must not be due at once; for all: -e all=true"
        faults.append(wrong("days", days, f"a whole number from 1 to {MOST_DAYS}", action))
    truth = TRUTHS.get(str(everything).lower())
    if truth is None:
        faults.append(wrong("all", everything, "true or false", "correct it"))
    return Asked(number, bool(truth)), faults


def strangers(become: Mapping[str, str], planes: Iterable[str]) -> list[str]:
    """Control planes of the inventory that are none yet, or not whole."""
    odd = [name for name in planes if become.get(name) != MEMBER]
    return [f"{name} is no whole member of the cluster: playbooks/site.yml makes it one, first" for name in odd]


def plan(seen: Seen) -> Plan:
    """For all control planes together, in the order in which it is done."""
    refusals = [
        f"{host}: {each['name']} {each['fault']}: kubeadm can't renew it; bring back what is missing, or make the host"
        f" anew: playbooks/site.yml -e rejoin={host}"
        for host, told in seen.items()
        for each in told["certificates"]
        if each["fault"]
    ]
    if refusals:
        return Plan(refusals=tuple(refusals))
    due = tuple(host for host, told in seen.items() if _names(told) or told["stale"] or told["cut_off"])
    ended = tuple(h for h, told in seen.items() if told["cut_off"] or any(e["ended"] for e in told["certificates"]))
    return Plan((_first(due, seen), *(line for host, told in seen.items() for line in _of(host, told))), due, ended)


def _first(due: tuple[str, ...], seen: Seen) -> str:
    if not due:
        return "nothing is to be done"
    alone = "; it is the only one: no API server answers for half a minute, what runs goes on" if len(seen) == 1 else ""
    return f"{len(due)} of {len(seen)} control planes, one after the other, about a minute each{alone}"


def _of(host: str, told: Mapping[str, Any]) -> list[str]:
    if told["cut_off"]:
        return [f"{host}: an earlier renewal was cut off here: what is no pair is put back, and renewed"]
    stale = told["stale"]
    if not _names(told) and not stale:
        first = min(told["certificates"], key=lambda each: float(each["ends"]))
        return [f"{host}: nothing; the first to end is {first['name']}, on {_day(first['ends'])}"]
    alike: dict[tuple[str, str], list[str]] = {}
    for each in told["certificates"]:
        if each["why"]:
            alike.setdefault((_day(each["ends"]), each["why"]), []).append(each["name"])
    lines = [f"{host}: renewed: {', '.join(names)} (until {day}: {why})" for (day, why), names in alike.items()]
    lines += [f"{host}: {pod} {why}" for pod, why in stale.items()]
    return [*lines, f"{host}: started anew: {', '.join(told['starts']) or 'nothing, for no part holds these'}"]


def _names(told: Mapping[str, Any]) -> list[str]:
    return [each["name"] for each in told["certificates"] if each["why"]]


def _day(ends: float) -> str:
    return datetime.fromtimestamp(float(ends), tz=UTC).strftime("%Y-%m-%d")
