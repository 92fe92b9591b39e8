"""What must be the same before and after a run that changes nothing.

Objects of the cluster: uid, generation and resourceVersion, so that even a write of the same
content shows. What moves by itself is named below with its reason; where only a part moves, the
rest of the object is compared. Hosts: each file under /etc, /root and /usr/local with its time,
dpkg's list, and the number that systemd gives to each start of a unit.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tests import lab
from validate.ground.kubectl import Cluster
from validate.ground.pods import RUN_LABEL

PASSING = {
    "events": "tell of the past and expire",
    "events.events.k8s.io": "tell of the past and expire",
    "leases.coordination.k8s.io": "renewed every few seconds by whoever holds them",
    "endpoints": "follow the readiness of pods, probe by probe",
    "endpointslices.discovery.k8s.io": "follow the readiness of pods, probe by probe",
    "nodes.metrics.k8s.io": "measurements of the moment",
    "pods.metrics.k8s.io": "measurements of the moment",
    "componentstatuses": "asked at the moment",
    "certificatesigningrequests.certificates.k8s.io": "cleared an hour after their signature",
}
# Compared without their status and their resourceVersion: readiness, heartbeats, counters.
WITH_STATUS = {
    "Node",
    "Pod",
    "StatefulSet",
    "Deployment",
    "ReplicaSet",
    "DaemonSet",
    "PodDisruptionBudget",
    "APIService",
    "FlowSchema",
    "PriorityLevelConfiguration",
}
# Annotations by which Patroni keeps its members' state (on pods) and its leader's (on ConfigMaps).
PATRONI = {
    "status",
    "leader",
    "optime",
    "renewTime",
    "acquireTime",
    "transitions",
    "ttl",
    "history",
    "sync_standby",
    "slots",
    "retain_slots",
    "failsafe",
}
# Of a token that lies in a Secret the API server writes the day of its last use, as a label.
TOKEN, USED = "kubernetes.io/service-account-token", "kubernetes.io/legacy-token-last-used"
FILES = """
find /etc /root/.ssh /usr/local -type f -printf '%p %m %u:%g %s %T@\\n' | sort
find /etc -type f -size -1024k -print0 | sort -z | xargs -0 sha256sum
sha256sum /var/lib/dpkg/status
for unit in containerd haproxy keepalived kubelet docker-registry ssh systemd-journald \\
  apadana-firewall apadana-services apadana-loops; do
  echo "start of $unit: $(systemctl show --value --property=InvocationID $unit.service)"
done
"""
# What kubeadm made for the joins and Kubernetes takes away when its time is over.
JOINING = (
    "Secret kube-system/bootstrap-token-",
    "Secret kube-system/kubeadm-certs",
    "ConfigMap kube-public/cluster-info",
)


def objects(cluster: Cluster) -> dict[str, str]:
    """By kind, namespace and name."""
    return {place(item): mark(item) for item in lasting(cluster)}


def lasting(cluster: Cluster) -> list[Mapping[str, Any]]:
    """All that does not move or go by itself."""
    kinds = cluster.run("api-resources", "--verbs=list", "-o", "name").split()
    wanted = ",".join(kind for kind in kinds if kind not in PASSING)
    items = cluster.json("get", wanted, "--all-namespaces", timeout=120)["items"]
    return [item for item in items if not passing(item)]


def passing(item: Mapping[str, Any]) -> bool:
    """Of a probe (it takes its own objects away, and a test looks after that), or of a join."""
    labels = item["metadata"].get("labels") or {}
    return RUN_LABEL in labels or place(item).partition(" ")[2].startswith(JOINING)


def place(item: Mapping[str, Any]) -> str:
    meta = item["metadata"]
    return f"{item['apiVersion']} {item['kind']} {meta.get('namespace', '-')}/{meta['name']}"


def mark(item: Mapping[str, Any]) -> str:
    meta = item["metadata"]
    name = f"{meta['uid']} generation {meta.get('generation', '-')}"
    if item["kind"] in WITH_STATUS or of_patroni(item) or item.get("type") == TOKEN:
        return f"{name} content {content(item)}"
    return f"{name} version {meta['resourceVersion']}"


def of_patroni(item: Mapping[str, Any]) -> bool:
    annotations = item["metadata"].get("annotations") or {}
    return item["kind"] == "ConfigMap" and bool(PATRONI & set(annotations))


def content(item: Mapping[str, Any]) -> str:
    meta = {key: value for key, value in item["metadata"].items() if key not in ("resourceVersion", "managedFields")}
    kept = {k: v for k, v in (meta.get("annotations") or {}).items() if k not in PATRONI}
    labels = {k: v for k, v in (meta.get("labels") or {}).items() if k != USED}
    rest = {key: value for key, value in item.items() if key not in ("status", "metadata")}
    text = json.dumps({**rest, "metadata": {**meta, "annotations": kept, "labels": labels}}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def hosts() -> dict[str, str]:
    """By host and line; the line itself is the mark."""
    with ThreadPoolExecutor(max_workers=4) as pool:
        told = pool.map(lambda host: (host, lab.on_host(host, FILES, timeout=120)), lab.hosts())
        return {f"{host}: {line}": "" for host, text in told for line in text.splitlines()}


def everything() -> dict[str, str]:
    return {**objects(lab.cluster()), **hosts()}


def differences(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """In words: what went, what came, what was written."""

    def only(keys: Iterable[str], words: str) -> list[str]:
        return [f"{words}: {key}" for key in sorted(keys)]

    both = before.keys() & after.keys()
    written = [f"{key}: {before[key]} -> {after[key]}" for key in both if before[key] != after[key]]
    return [
        *only(before.keys() - after.keys(), "gone"),
        *only(after.keys() - before.keys(), "new"),
        *only(written, "written"),
    ]
