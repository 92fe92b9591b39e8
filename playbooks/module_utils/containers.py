"""Containers of Kubernetes' own namespace on this host, as containerd knows them. Standard library only.

What ends is started anew by the kubelet: whoever only ends one, and is killed then, leaves nothing half done.
"""

from __future__ import annotations

import json
from datetime import datetime

from ansible.module_utils.host import run

CTR = ("ctr", "--namespace", "k8s.io")
SYSTEM = 'labels."io.kubernetes.pod.namespace"==kube-system'


def running(name: str) -> list[str]:
    """Identities of the running containers of this name; one of another namespace may be called so, too."""
    chosen = f'{SYSTEM},labels."io.kubernetes.container.name"=={name}'
    known = run(*CTR, "containers", "ls", "--quiet", chosen, deadline=30).split()
    rows = (line.split() for line in run(*CTR, "tasks", "ls", deadline=30).splitlines())
    return [row[0] for row in rows if len(row) > 2 and row[0] in known and row[2] == "RUNNING"]


def made(identity: str) -> float:
    """When it was made, by this host's clock as it was then: seconds since 1970."""
    told = json.loads(run(*CTR, "containers", "info", identity, deadline=30))
    return datetime.fromisoformat(told["CreatedAt"]).timestamp()


def end(identity: str) -> None:
    """Asks it to end in order."""
    run(*CTR, "tasks", "kill", "--signal", "SIGTERM", identity, deadline=30)
