"""Labels of the pools' machines, and the proof that each offers what its pool promises."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pulumi
from pulumi_kubernetes.core.v1 import NodePatch

from components.kit.component import PlatformComponent
from components.kit.mistakes import SiteError
from components.nodepool.settings import Pool, Settings, node_annotations, node_labels, shortfalls


class NodePool(PlatformComponent[Settings]):
    """All pools of the site."""

    def managed(self) -> Mapping[str, Any]:
        """Label every machine, write on it what its pool promises, then look at what it has.

        Only labels and annotations are patched: `taints` is one atomic list which Kubernetes itself writes to
        when a host fails, so who owns it would undo that. Taints are verified instead.
        """
        for name, pool in sorted(self.settings.pools.items()):
            for node in pool.nodes:
                patch = NodePatch(
                    node,
                    metadata={
                        "name": node,
                        "labels": node_labels(name, pool),
                        "annotations": {"pulumi.com/patchForce": "true"} | node_annotations(pool),
                    },
                    opts=pulumi.ResourceOptions(parent=self),
                )
                pulumi.Output.all(patch.status, patch.spec).apply(_verifier(node, pool))
        return {}


def _verifier(node: str, pool: Pool) -> Callable[[Sequence[Any]], None]:
    return lambda seen: _verify(node, pool, seen[0], seen[1])


def _verify(node: str, pool: Pool, status: Any, spec: Any) -> None:
    """Refuse a machine that is less than promised; the answer is that of the last up or refresh."""
    capacity = _get(status, "capacity") or {}
    if not capacity:
        return  # a preview of a machine that was not patched yet
    taints = [{key: _get(taint, key) for key in ("key", "value", "effect")} for taint in _get(spec, "taints") or []]
    lacks = shortfalls(node, pool, capacity, taints)
    if lacks:
        raise SiteError(
            "node pools offer less than the settings promise:\n  "
            + "\n  ".join(lacks)
            + "\nset in apadana:nodepool.pools; correct it there, or mend the machine"
        )


def _get(value: Any, key: str) -> Any:
    return value.get(key) if isinstance(value, Mapping) else getattr(value, key, None)
