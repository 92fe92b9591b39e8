"""The cluster as its admin sees it: the parts of each control plane, and who serves usage figures.

What needs more than a look at objects (doors, etcd's quorum and room, names, network, policies, images) is asked by
validate/suites/checks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from components.kit.manifests import condition_of, labels_of, name_of
from components.kit.probing import Check, Object, judged

KINDS = ("nodes", "pods", "deployments", "apiservices")
SYSTEM = "kube-system"
CONTROL_PLANE = "node-role.kubernetes.io/control-plane"
PARTS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")
FIGURES, SERVER = "v1beta1.metrics.k8s.io", "metrics-server"
PLANES = "cluster: every part of the control planes is ready"
USAGE = "cluster: usage figures are served"


def judge(objects: Sequence[Object]) -> Iterator[Check]:
    """Of control planes nothing where they are none of the cluster's own hosts, as in a client's cloud."""
    planes = [name_of(each) for each in objects if each["kind"] == "Node" and CONTROL_PLANE in labels_of(each)]
    pods = {name_of(each): each for each in objects if each["kind"] == "Pod" and in_system(each)}
    wanted = [f"{part}-{host}" for host in planes for part in PARTS]
    if pods.keys() & set(wanted):
        wrong = [text for pod in wanted if (text := unready(pod, pods))]
        yield judged(PLANES, wrong, f"{len(wanted)} pods of {', '.join(planes)}", "not-whole-again")
    yield judged(USAGE, list(unserved(objects)), "what pods use can be seen and gone by", "unreachable")


def unready(pod: str, pods: Mapping[str, Object]) -> str:
    """Why a pod of a control plane does not count; "" where it does."""
    if pod not in pods:
        return f"{pod} is not there"
    ready = condition_of(pods[pod], "Ready")
    return "" if ready.get("status") == "True" else f"{pod} is not ready: {ready.get('reason', 'nothing is said')}"


def unserved(objects: Sequence[Object]) -> Iterator[str]:
    """What is wrong with the usage figures that autoscaling goes by."""
    served = [each for each in objects if each["kind"] == "APIService" and name_of(each) == FIGURES]
    if not served:
        yield f"nobody serves {FIGURES}"
    for each in served:
        available = condition_of(each, "Available")
        if available.get("status") != "True":
            yield f"{FIGURES} is not available: {available.get('message', 'nothing is said')}"
    for each in objects:
        if each["kind"] == "Deployment" and in_system(each) and name_of(each) == SERVER:
            wanted, ready = int(each["spec"]["replicas"]), int(each["status"].get("readyReplicas") or 0)
            if ready < wanted:
                yield f"{ready} of {wanted} replicas of {SERVER} are ready"


def in_system(item: Object) -> bool:
    """Of Kubernetes' own namespace."""
    return bool(item["metadata"].get("namespace") == SYSTEM)
