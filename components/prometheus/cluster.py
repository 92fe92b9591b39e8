"""Prometheus' cluster-scoped half: the right to ask kubelets how full volumes are, API servers how they are, and where
CoreDNS runs."""

from __future__ import annotations

from components.kit import half
from components.kit.manifests import Manifest, cluster_role_pair, role_pair
from components.kit.settings import SiteFacts
from components.prometheus.settings import ROOM, Settings

#: Which hosts there are.
HOSTS = {"apiGroups": [""], "resources": ["nodes"], "verbs": ["get", "list", "watch"]}
#: What their kubelets count. Not `nodes/proxy`: that runs commands in pods.
KUBELETS = {"apiGroups": [""], "resources": ["nodes/metrics"], "verbs": ["get"]}
#: An API server's own checks, a page of some hundred lines. Not `/metrics`: that has tens of thousands.
HEALTH = {"nonResourceURLs": ["/metrics/slis"], "verbs": ["get"]}
#: What hosts use, as it is served to autoscaling: whether anybody serves it is seen by asking.
FIGURES = {"apiGroups": ["metrics.k8s.io"], "resources": ["nodes"], "verbs": ["list"]}
#: Where CoreDNS runs. No Secret, no log, and of this namespace alone.
SYSTEM = "kube-system"
NAMES = {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]}


class PrometheusHalf(half.ClusterHalf[Settings]):
    """A grant and nothing else."""

    @classmethod
    def objects(cls, settings: Settings, site: SiteFacts, keys: half.Keys) -> list[Manifest]:
        """None, where nothing of it is watched."""
        del keys
        account = (site.namespace, ROOM)
        asked = [
            *([KUBELETS] if settings.watch_volumes else ()),
            *([HEALTH, FIGURES] if settings.watch_control_planes else ()),
        ]
        return [
            *(cluster_role_pair(f"apadana-{ROOM}-volumes", account, [HOSTS, *asked]) if asked else ()),
            *(role_pair(f"apadana-{ROOM}-names", SYSTEM, account, [NAMES]) if settings.watch_names else ()),
        ]
