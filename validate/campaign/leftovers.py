"""Objects that a killed validator left in the cluster: found by their run's label, taken away.

A probe pod ends at its own deadline; the pod's record, and the policy that let it out, stay until
somebody looks. Hosts mend themselves (chaos/envelope.sh).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from validate.ground import Ground
from validate.ground.pods import RUN_LABEL

KINDS = ("Pod", "Service", "NetworkPolicy", "ConfigMap")
#: A run makes its policies before its pods: only what is older can be left over.
YOUNG_SECONDS = 120.0


def sweep(ground: Ground, say: Callable[[str], None]) -> list[str]:
    """Deletes what dead runs left; returns the runs. ClusterError: the cluster can't be asked."""
    found = [o for kind in KINDS for o in ground.objects(kind)]
    runs = dead(found, datetime.now(UTC))
    for run in runs:
        say(f"a run that was cut off left something in the cluster; removing it: {run}")
        namespace = ground.site.platform.namespace
        ground.site.cluster.delete(namespace, ",".join(KINDS), f"{RUN_LABEL}={run}")
    return runs


def dead(objects: Iterable[Mapping[str, Any]], now: datetime) -> list[str]:
    """Runs whose objects are all old and none of whose pods is alive."""
    alive: set[str] = set()
    seen: set[str] = set()
    for each in objects:
        run = each["metadata"].get("labels", {}).get(RUN_LABEL)
        if run is None:
            continue
        seen.add(run)
        made = datetime.fromisoformat(each["metadata"]["creationTimestamp"])
        phase = each.get("status", {}).get("phase") if each.get("kind") == "Pod" else None
        if phase in ("Pending", "Running") or (now - made).total_seconds() < YOUNG_SECONDS:
            alive.add(run)
    return sorted(seen - alive)
