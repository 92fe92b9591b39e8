"""What the cluster checks share: the nodes, and one tiny pod on each of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from components.kit.probing import Check, Verdict
from validate.core.errors import ClusterError
from validate.ground.kubectl import Cluster
from validate.ground.pods import Pod, PodSpec
from validate.ground.site import REPOSITORY, Site

PORT = 8080  # where each node's pod answers
DOMAIN = "cluster.local"


@dataclass(frozen=True)
class Node:
    name: str
    address: str
    ready: bool
    control_plane: bool
    why: str = ""


@dataclass(frozen=True)
class Context:
    site: Site
    cluster: Cluster
    run: str
    nodes: Sequence[Node]

    @property
    def namespace(self) -> str:
        return self.site.platform.namespace

    def control_planes(self) -> list[Node]:
        return [node for node in self.nodes if node.control_plane]


def nodes(cluster: Cluster) -> list[Node]:
    return [node_from(item) for item in cluster.json("get", "nodes")["items"]]


def node_from(item: Mapping[str, Any]) -> Node:
    conditions = {c["type"]: c for c in item["status"].get("conditions", [])}
    ready = conditions.get("Ready", {})
    addresses = {a["type"]: a["address"] for a in item["status"].get("addresses", [])}
    labels = item["metadata"].get("labels", {})
    return Node(
        name=item["metadata"]["name"],
        address=addresses.get("InternalIP", ""),
        ready=ready.get("status") == "True",
        control_plane="node-role.kubernetes.io/control-plane" in labels,
        why=str(ready.get("message", "no Ready condition")),
    )


def node_pods(context: Context) -> list[PodSpec]:
    """One pod for each Ready node; each answers HTTP so that any can be asked by any."""
    return [
        PodSpec(
            name=f"validate-node-{node.name}-{context.run}",
            namespace=context.namespace,
            image=context.site.image("clients"),
            run=context.run,
            role=role_of(index),
            node=node.name,
            command=["python3", "-m", "http.server", str(PORT)],
            lifetime_s=300,
            cpu_limit="500m",
        )
        for index, node in enumerate(n for n in context.nodes if n.ready)
    ]


def role_of(index: int) -> str:
    """First node: the server; second: may reach it; third: may not; the rest look on."""
    return ("server", "allowed", "forbidden")[index] if index < 3 else "observer"


def look(pod: Pod, wishes: Sequence[Mapping[str, Any]], timeout: float = 20) -> list[Any]:
    """Runs validate/pod/net.py in the pod: nothing has to be installed there before."""
    code = (REPOSITORY / "validate" / "pod" / "net.py").read_bytes()
    answer = pod.run("python3", "-", json.dumps(list(wishes)), stdin=code, timeout=timeout)
    found: list[Any] = json.loads(answer)
    return found


def look_everywhere(pods: Sequence[Pod], wishes: Callable[[Pod], Sequence[Mapping[str, Any]]]) -> dict[str, list[Any]]:
    """From all pods at once; a pod that can't be asked counts as nothing reached."""

    def one(pod: Pod) -> list[Any]:
        try:
            return look(pod, wishes(pod))
        except ClusterError as error:
            return [{**w, "ok": False, "seen": str(error)} for w in wishes(pod)]

    with ThreadPoolExecutor(max_workers=max(1, len(pods))) as pool:
        return dict(zip([p.name for p in pods], pool.map(one, pods), strict=True))


def guarded(name: str, checks: Callable[[], Iterator[Check]]) -> Iterator[Check]:
    """A check that can't be made because the cluster does not answer is a FAIL with the reason."""
    try:
        yield from checks()
    except ClusterError as error:
        yield Check(name, Verdict.FAIL, str(error))
