"""All members of all stores restarted one after the other, under audited writes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from components.kit.probing import Check, Verdict
from tests import lab
from validate.audit import session
from validate.audit.analysis import Limits
from validate.ground.pods import client_spec, new_run_id, pods

CLIENTS, RATE = 4, 20.0
LIFETIME_S = 3000
ROLL_S = 600.0
NO_LIMITS = Limits(max_gap_s=LIFETIME_S, min_acknowledged=100, resolution=1)


@contextmanager
def audited(folder: Path, away_from: str = "") -> Iterator[dict[str, Check]]:
    """Writes to all stores while the block runs; what became of them is known after it. Who writes
    is not on the host `away_from`."""
    site, run_id = lab.found(), new_run_id()
    stores = site.writing(site.components(None))
    found: dict[str, Check] = {}
    node = next(host for host in reversed(lab.hosts()) if host != away_from)
    spec = client_spec(site, stores, run_id, role="audit", node=node, lifetime_s=LIFETIME_S)
    with pods(site.cluster, [spec]) as (pod,):
        pod.send_code(stores)
        names = [store.name for store in stores]
        audit = session.AuditSession(pod, names, run_id, CLIENTS, RATE, LIFETIME_S)
        audit.launch()
        audit.wait_flowing(60, "to begin")
        yield found
        audit.wait_flowing(120, "to go on after it")
        audit.stop()
        for collected in audit.collect(folder):
            found[collected.store] = session.judge_store(collected, NO_LIMITS)[0]


def damage(found: dict[str, Check]) -> dict[str, str]:
    """What is not as it should be, by store: lost, stale, reordered, doubled."""
    assert found, "no store was written to"
    return {s: check.detail for s, check in found.items() if check.verdict is not Verdict.PASS}


def roll() -> None:
    """The members of a store in turn, the stores side by side."""
    cluster, namespace = lab.cluster(), lab.found().platform.namespace
    sets = cluster.run("-n", namespace, "get", "statefulsets", "-o", "name").split()
    cluster.run("-n", namespace, "rollout", "restart", *sets)
    for name in sets:
        cluster.run("-n", namespace, "rollout", "status", name, timeout=ROLL_S)
