"""Prometheus' cluster-scoped half: the right to ask kubelets how full volumes are."""

from __future__ import annotations

from components.kit import half
from components.kit.manifests import Manifest, cluster_role_pair
from components.kit.settings import SiteFacts
from components.prometheus.settings import ROOM, Settings

#: Which hosts there are, and what their kubelets count. Not `nodes/proxy`: that runs commands in pods.
RULES = (
    {"apiGroups": [""], "resources": ["nodes"], "verbs": ["get", "list", "watch"]},
    {"apiGroups": [""], "resources": ["nodes/metrics"], "verbs": ["get"]},
)


class PrometheusHalf(half.ClusterHalf[Settings]):
    """A grant and nothing else."""

    @classmethod
    def objects(cls, settings: Settings, site: SiteFacts, keys: half.Keys) -> list[Manifest]:
        """None, where volumes are not watched."""
        del keys
        if not settings.watch_volumes:
            return []
        return cluster_role_pair(f"apadana-{ROOM}-volumes", (site.namespace, ROOM), RULES)
