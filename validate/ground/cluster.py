"""A real cluster: hosts are nodes, members are pods and the processes of their containers."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import yaml

from components.kit import contract
from validate.core.errors import ClusterError, NotValidError, ValidateError
from validate.ground import Member
from validate.ground.kubectl import API_PORT, Cluster
from validate.ground.machine import Machine, lab, ssh
from validate.ground.nodes import Node, node_from
from validate.ground.pods import RUN_LABEL, Pod, client_spec, leave, new_run_id, pods
from validate.ground.power.lab import LabHosts
from validate.ground.site import REPOSITORY, Site

#: Which processes belong to a container: its id is in the path of their control group, whatever
#: the version of control groups and whoever drives them. No tool of the runtime is needed.
PROCESSES = """
main() {
	[ $# -gt 0 ] || return 0
	ids=$(printf '%s|' "$@")
	grep -H -o -E "${ids%|}" /proc/[0-9]*/cgroup 2>/dev/null | sort -u || :
}
main "$@"
"""


@dataclass(frozen=True)
class ClusterGround:
    """Root's shell on a host: `podman exec` in a lab of this machine, else SSH as Ansible does."""

    site: Site

    def hosts(self) -> Sequence[str]:
        return [n.name for n in self.nodes()]

    def nodes(self) -> list[Node]:
        return [node_from(item) for item in self.objects("Node")]

    def machine(self, host: str) -> Machine:
        if host in self._containers:
            return lab(LabHosts(self.site.name).container(host), host)
        node = next((n for n in self.nodes() if n.name == host), None)
        if node is None or not node.address:
            raise ClusterError(f"reaching host {host}", "the cluster has no such node")
        state = self.site.state
        key, known = state / "ssh" / "id_ed25519", state / "known_hosts"
        return ssh(host, node.address, str(key), str(known), _ssh_user(self.site.name))

    @cached_property
    def _containers(self) -> frozenset[str]:
        try:
            return frozenset(LabHosts(self.site.name).known())
        except (ValidateError, ClusterError):
            return frozenset()  # no podman here: a site's hosts are elsewhere

    def members(self, *components: str) -> Sequence[Member]:
        """Those of the contract that have a pod, with the processes of its running containers."""
        platform = self.site.platform
        asked = [platform.component(name) for name in components] or platform.components
        owner = dict(self._servers(asked))
        found = [pod for pod, _, _ in owner.values()]
        claims = self._paths(found)
        by_host: dict[str, list[Mapping[str, Any]]] = {}
        for pod in found:
            by_host.setdefault(pod["spec"].get("nodeName") or "", []).append(pod)
        members = []
        for host, there in sorted(by_host.items()):
            pids = self._processes(host, [i for pod in there for i in _containers(pod)])
            for pod in there:
                mine = sorted({p for i in _containers(pod) for p in pids.get(i, ())})
                name = pod["metadata"]["name"]
                address = pod["status"].get("podIP", "")
                _, component, role = owner[name]
                namespace = pod["metadata"]["namespace"]
                away = "" if namespace == platform.namespace else namespace
                members.append(Member(component, name, host, tuple(mine), address, claims[name], role, away))
        return sorted(members, key=lambda m: m.name)

    def _servers(self, asked: Sequence[contract.Component]) -> Iterator[tuple[str, tuple[Mapping[str, Any], str, str]]]:
        """Name of each pod that is a server, with the pod, its component and its role."""
        spaces = {w.namespace for c in asked for w in c.workloads} | {None}
        for space in spaces:
            for pod in self._pods(space):
                name, labels = pod["metadata"]["name"], pod["metadata"].get("labels") or {}
                for component in asked:
                    role = component.role_of(name, labels, space)
                    if role is not None:
                        yield name, (pod, component.name, role)

    def _pods(self, namespace: str | None) -> Sequence[Mapping[str, Any]]:
        """Pods of a namespace that are not on their way out; null: the platform's."""
        found = self.objects("Pod", namespace or "")
        return [pod for pod in found if not pod["metadata"].get("deletionTimestamp")]

    def _processes(self, host: str, ids: Sequence[str]) -> dict[str, list[int]]:
        found: dict[str, list[int]] = {}
        if not host or not ids:
            return found
        try:
            said = self.machine(host).run(PROCESSES, *ids)
        except ClusterError:
            return found  # a dead host has no processes
        for line in said.splitlines():
            path, _, container = line.rpartition(":")
            found.setdefault(container, []).append(int(path.split("/")[2]))
        return found

    def _paths(self, found: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, str]]:
        """Per pod: the name of each claimed volume and where its host keeps it."""
        bound = {
            f"{v['spec']['claimRef']['namespace']}/{v['spec']['claimRef']['name']}": (
                v["spec"].get("local") or v["spec"].get("hostPath") or {}
            ).get("path")
            for v in self.objects("PersistentVolume")
            if v["spec"].get("claimRef")
        }
        paths: dict[str, dict[str, str]] = {}
        for pod in found:
            mine = paths.setdefault(pod["metadata"]["name"], {})
            for volume in pod["spec"].get("volumes", ()):
                claim = (volume.get("persistentVolumeClaim") or {}).get("claimName")
                path = bound.get(f"{pod['metadata']['namespace']}/{claim}")
                if claim and path:
                    mine[volume["name"]] = path
        return paths

    def objects(self, kind: str, namespace: str = "") -> Sequence[Mapping[str, Any]]:
        home = namespace or self.site.platform.namespace
        where = [] if kind in CLUSTER_SCOPED else ["-n", home]
        found: list[Mapping[str, Any]] = self.site.cluster.json(*where, "get", kind)["items"]
        return found

    def restart(self, member: Member) -> None:
        """With its grace; its StatefulSet makes it again."""
        where = member.namespace or self.site.platform.namespace
        self.site.cluster.run("-n", where, "delete", "pod", member.name, "--wait=false")

    def execute(self, member: Member, command: Sequence[str], timeout: float) -> str:
        """In its pod."""
        where = member.namespace or self.site.platform.namespace
        return self.site.cluster.exec(where, member.name, command, timeout=timeout)

    def delete_pod(self, name: str, namespace: str = "") -> list[str]:
        """The command that takes a pod away without grace, as an eviction gone wrong does."""
        args = ["-n", namespace or self.site.platform.namespace, "delete", "pod", name]
        args += ["--grace-period=0", "--force", "--wait=false"]
        return self.site.cluster.kubectl.command(*args, said="")

    def evict_pod(self, name: str, namespace: str = "") -> list[str]:
        """The command that asks a pod to go, as draining its host does; refused by its budget."""
        where = namespace or self.site.platform.namespace
        asked = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": where}}
        path = f"/api/v1/namespaces/{where}/pods/{name}/eviction"
        return self.site.cluster.kubectl.command("create", "--raw", path, "-f", "-", said=json.dumps(asked))

    @contextmanager
    def client(
        self,
        components: Sequence[contract.Component],
        *,
        role: str = "client",
        avoid: Sequence[str] = (),
        lifetime_s: int = 900,
    ) -> Iterator[Pod]:
        """A pod that may speak to the stores and to the hosts, reached through its own host."""
        node = pick(self.nodes(), role, avoid)
        near = self._through(node)
        run, namespace = new_run_id(), self.site.platform.namespace
        spec = client_spec(self.site, components, run, role=role, node=node.name, lifetime_s=lifetime_s)
        if role == STRANGER:
            spec = replace(spec, client=False)
        near.apply(leave(run, namespace))
        try:
            with pods(near, [spec]) as (pod,):
                pod.send_code(components)
                if spec.client and components:
                    pod.wait_admitted()
                yield pod
        finally:
            with suppress(ClusterError):
                near.delete(namespace, "networkpolicies", f"{RUN_LABEL}={run}")

    def _through(self, node: Node) -> Cluster:
        """Commands must not hang on the host that a fault is about to take."""
        return self.site.cluster.through(node.address, API_PORT, f"api.{self.site.name}")


#: A client that wears no client's label, so that no policy should let it in.
STRANGER = "stranger"
CLUSTER_SCOPED = frozenset({"Node", "PersistentVolume", "Namespace", "StorageClass"})


def pick(found: Sequence[Node], role: str, avoid: Sequence[str]) -> Node:
    """A Ready host outside `avoid`; workers first, and observers apart from those who write."""
    able = [n for n in found if n.ready and n.name not in avoid]
    if not able:
        raise NotValidError(f"no Ready host is left for a client beside {', '.join(avoid)}")
    ordered = sorted(able, key=lambda n: (n.control_plane, n.name))
    return ordered[-1] if role == "observer" else ordered[0]


def _containers(pod: Mapping[str, Any]) -> list[str]:
    """Ids of its running containers, without the runtime's name before them."""
    return [
        str(s["containerID"]).rpartition("//")[2]
        for s in pod["status"].get("containerStatuses") or ()
        if "running" in s["state"] and s.get("containerID")
    ]


def _ssh_user(site: str) -> str:
    """Whom Ansible logs in as there."""
    path = REPOSITORY / "inventories" / site / "group_vars" / "all" / "main.yml"
    try:
        told = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except OSError as error:
        raise ValidateError(f"hosts of {site} can't be reached: {error}") from error
    return str(told.get("ansible_user", "root"))
