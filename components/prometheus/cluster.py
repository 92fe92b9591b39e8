"""Prometheus' cluster-scoped half: the right to ask kubelets how full volumes are, and API servers how they are."""

from __future__ import annotations

from components.kit import half
from components.kit.manifests import Manifest, cluster_role_pair
from components.kit.settings import SiteFacts
from components.prometheus.settings import ROOM, Settings

#: Which hosts there are.
HOSTS = {"apiGroups": [""], "resources": ["nodes"], "verbs": ["get", "list", "watch"]}
#: What their kubelets count. Not `nodes/proxy`: that runs commands in pods.
KUBELETS = {"apiGroups": [""], "resources": ["nodes/metrics"], "verbs": ["get"]}
#: An API server's own checks, a page of some hundred lines. Not `/metrics`: that has tens of thousands.
HEALTH = {"nonResourceURLs": ["/metrics/slis"], "verbs": ["get"]}


class PrometheusHalf(half.ClusterHalf[Settings]):
    """A grant and nothing else."""

    @classmethod
    def objects(cls, settings: Settings, site: SiteFacts, keys: half.Keys) -> list[Manifest]:
        """None, where neither is watched."""
        del keys
        asked = [
            HOSTS,
            *([KUBELETS] if settings.watch_volumes else ()),
            *([HEALTH] if settings.watch_control_planes else ()),
        ]
        if len(asked) == 1:
            return []
        return cluster_role_pair(f"apadana-{ROOM}-volumes", (site.namespace, ROOM), asked)
