"""A host emptied in order, as before its maintenance, and taken into use again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

from tests import lab
from validate.ground.kubectl import wait_for

DRAIN_S = 420
OPTIONS = ("--ignore-daemonsets", "--delete-emptydir-data", f"--timeout={DRAIN_S}s")


@contextmanager
def drained(host: str) -> Iterator[None]:
    """Every pod that may go has gone from the host; afterwards all is whole again."""
    cluster = lab.cluster()

    def emptied() -> bool:
        cluster.run("drain", host, *OPTIONS, timeout=DRAIN_S + 30)
        return True

    try:
        # kubectl gives up at the first answer that an API server owes it; what has gone by then stays away.
        wait_for(f"{host} to be empty", emptied, timeout=DRAIN_S, every=2)
        yield
    finally:
        cluster.run("uncordon", host)
        wait_whole()


def wait_whole() -> None:
    """An earlier test may have taken a host away; what it put back needs its time."""
    wait_for("every workload to be whole again", whole, timeout=600, every=5)


def whole() -> bool | None:
    """Every replica that is asked for is available."""
    namespace = lab.found().platform.namespace
    for kind in ("statefulsets", "deployments"):
        for item in lab.cluster().json("-n", namespace, "get", kind)["items"]:
            if item["status"].get("availableReplicas", 0) < item["spec"]["replicas"]:
                return None
    return True


def left_on(host: str) -> list[str]:
    """Pods of the platform's namespace that are still there, daemons and probes left out."""
    wish = ("get", "pods", "--field-selector", f"spec.nodeName={host}", "-o", "json")
    found = json.loads(lab.cluster().run("-n", lab.found().platform.namespace, *wish))
    return [
        pod["metadata"]["name"]
        for pod in found["items"]
        if not any(o["kind"] == "DaemonSet" for o in pod["metadata"].get("ownerReferences", []))
        and pod["status"]["phase"] == "Running"
        and pod["metadata"]["labels"].get("app.kubernetes.io/name") != "validate"
    ]
