"""From the contract to what a probe is given. Secrets are not in here: the pod mounts them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from components.kit import contract

MOUNTS = "/etc/apadana"


def describe(component: contract.Component) -> dict[str, Any]:
    """The JSON that validate/pod/targets.py turns into a probing.Target."""
    return {
        "name": component.name,
        "version": component.version,
        "endpoints": [e.model_dump() for e in component.endpoints_in],
        "client": component.client.model_dump(),
        "members": [m.model_dump() for m in component.members],
        "mounted": f"{MOUNTS}/{component.name}",
    }


def volumes(components: Iterable[contract.Component]) -> tuple[list[Any], list[Any]]:
    """(volumes, mounts): per component its client secret and the CA, side by side."""
    made: list[Any] = []
    mounts: list[Any] = []
    for component in components:
        sources: list[Any] = []
        if component.ca_ref:
            item = {"key": "ca.crt", "path": "ca.crt"}
            sources.append({"configMap": {"name": component.ca_ref, "items": [item]}})
        if component.secret_ref:
            sources.append({"secret": {"name": component.secret_ref}})
        if not sources:
            continue
        name = f"client-{component.name}"
        made.append({"name": name, "projected": {"defaultMode": 0o440, "sources": sources}})
        mounts.append({"name": name, "mountPath": f"{MOUNTS}/{component.name}", "readOnly": True})
    return made, mounts
