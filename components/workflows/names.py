"""What things of this room are called, in its namespace half and in the cluster's."""

from __future__ import annotations

from components.kit.manifests import PART_OF

ROOM = "workflows"
DATABASE, STORE = "postgres", "minio"  # whom it asks
STUDIES = "problems"  # the database of searches in steps, and its user
CONTROLLER_IMAGE, EXECUTOR_IMAGE = "workflow-controller", "argoexec"
METRICS_PORT, HEALTH_PORT = 9090, 6060

#: Accounts: of the controllers, of steps, of the helper beside a step, of the validator's probe.
CONTROLLER, STEP, EXECUTOR, PROBE = ROOM, "workflows-step", "workflows-executor", "workflows-probe"
#: Whose page shows runs, ends them and begins them again.
PORTAL = "portal"
LEASE = "workflow-controller"  # Argo's own name for it
LABELS = {"app.kubernetes.io/name": ROOM, "app.kubernetes.io/component": "controller"}

#: On every pod that Argo makes for a workflow, whatever its template says.
OF_WORKFLOW = "workflows.argoproj.io/workflow"
STEP_LABELS = {
    "app.kubernetes.io/name": STEP,
    "app.kubernetes.io/component": "step",
    **PART_OF,
    f"apadana.io/uses-{STORE}": "true",
}
STEP_UID = 10001

#: Connections that the leader opens at most; none is kept. A new leader looks through its tables with two held open
#: and changes them by a third: with two it waits for itself for ever.
OPEN = 3
#: Of all workers of two searches at once, at most, through one pooler; who comes later waits.
OF_STUDIES = 8


def token_secret(account: str) -> str:
    """Where Argo looks for the token of the helper's account."""
    return f"{account}.service-account-token"
