"""One round on the lab: drifts are made, `check.yml` tells each, `site.yml` mends all."""

from __future__ import annotations

from collections.abc import Sequence

from tests import lab
from tests.drifts import Drift, reports
from validate.ground.kubectl import wait_for


def check_is_clean() -> None:
    done = lab.playbook("check")
    assert done.returncode == 0, f"check.yml is not clean:\n{lab.told(done)}"


def played(drifts: Sequence[Drift]) -> list[str]:
    """Makes, checks, mends, checks; returns the drifts that `check` did not report."""
    for drift in drifts:
        lab.on_host(drift.host, drift.script + "\n")
    check = lab.playbook("check")
    told = reports(check.stdout)
    unseen = [str(drift) for drift in drifts if drift.reported not in told.get(drift.host, set())]
    site = lab.playbook("site")
    assert site.returncode == 0, f"site.yml did not mend {list(map(str, drifts))}:\n{lab.told(site)}"
    assert check.returncode != 0, f"check.yml passed over {list(map(str, drifts))}"
    check_is_clean()
    return unseen


def wait_for_pods(timeout: float = 300) -> None:
    """A runtime was restarted, perhaps: the platform is whole again before the next round."""
    cluster, namespace = lab.cluster(), lab.found().platform.namespace

    def ready() -> bool | None:
        items = cluster.json("-n", namespace, "get", "statefulsets,deployments")["items"]
        missing = [
            item["metadata"]["name"]
            for item in items
            if item["status"].get("readyReplicas", 0) != item["spec"]["replicas"]
        ]
        return None if missing else True

    wait_for(f"all pods of {namespace} to be ready", ready, timeout=timeout, every=2)
