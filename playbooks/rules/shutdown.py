"""How long a host that is shut down in order waits for its pods, by the kubelet's rules and the stores'."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from playbooks.rules.telling import wrong

Hosts = Mapping[str, Mapping[str, Any]]
GRACE, CRITICAL = "kubernetes_shutdown_grace_seconds", "kubernetes_shutdown_critical_seconds"
#: A store's pod has so long to hand over and to sync (terminationGracePeriodSeconds of the charts).
STORES_SECONDS = 60


def shutdown_faults(hosts: Hosts, site: Mapping[str, Any], *, lab: bool) -> list[str]:
    """Stores are killed in the midst of a write where nobody waits; a lab may have no logind that would."""
    told: dict[str, list[str]] = {}
    for name, host in hosts.items():
        said = {key: site[key] if host.get(key) is None else host[key] for key in (GRACE, CRITICAL)}
        for fault in _of_one(said, lab):
            told.setdefault(fault, []).append(name)
    return [f"{fault} (on {', '.join(names)})" for fault, names in told.items()]


def _of_one(said: Mapping[str, Any], lab: bool) -> list[str]:
    seconds = {key: _seconds(value) for key, value in said.items()}
    found = [wrong(key, said[key], "whole seconds, 0 or more", "correct it") for key in said if seconds[key] is None]
    grace, critical = seconds[GRACE], seconds[CRITICAL]
    if grace is None or critical is None:
        return found
    if critical > grace:
        action = "correct one of them: the kubelet does not start"
        return [wrong(CRITICAL, critical, f"at most {GRACE}, which is {grace}", action)]
    if not lab and grace - critical < STORES_SECONDS:
        allowed = f"at least {STORES_SECONDS + critical}: the {STORES_SECONDS} s of a store, and {CRITICAL} after them"
        return [wrong(GRACE, grace, allowed, "raise it, or a host that is shut down kills its stores")]
    return []


def _seconds(value: Any) -> int | None:
    """Ansible takes a number either way; a truth is none."""
    return None if isinstance(value, bool) or not str(value).isdecimal() else int(value)
