"""Settings of what is cluster-scoped: the given namespace, its installer, priorities, fences."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from components.kit.mistakes import Mistake
from components.kit.settings import ComponentSettings, Frozen, Mebibytes, Millicores, Mode, SiteFacts
from components.kit.syntax import Namespace, ObjectName, must

PriorityName = Annotated[
    ObjectName,
    must(
        lambda name: not name.startswith("system-"), "not system-...: these are Kubernetes' own", "choose another name"
    ),
]
Priority = Annotated[int, Field(ge=-1_000_000, le=1_000_000_000)]
PRIORITIES = {
    "apadana-data": 1_000_000,  # stores: the last to be put off a full host
    "apadana-platform": 100_000,
    "apadana-batch": -1000,  # training jobs: the first to go
}
PodSecurity = Literal["restricted", "baseline"]


class Quota(Frozen):
    """What all pods of the namespace `<namespace>-work` may ask for together."""

    cpu_millicores: Millicores = 16_000
    memory_mib: Mebibytes = 65_536
    pods: Annotated[int, Field(ge=1, le=100_000)] = 200

    def hard(self) -> dict[str, str]:
        """As Kubernetes takes it. No volume, and no way in from outside."""
        return {
            "requests.cpu": f"{self.cpu_millicores}m",
            "requests.memory": f"{self.memory_mib}Mi",
            "limits.memory": f"{self.memory_mib}Mi",
            "pods": str(self.pods),
            "persistentvolumeclaims": "0",
            "services.nodeports": "0",
            "services.loadbalancers": "0",
        }


class Settings(ComponentSettings):
    """Keys of `apadana:cluster:`."""

    layer: ClassVar[str] = "cluster"

    source: Literal["existing"] = "existing"  # the cluster is there; the playbooks made it
    pod_security: PodSecurity = "restricted"
    installer_namespace: Namespace = "apadana-system"
    installer_account: ObjectName = "apadana-installer"
    priorities: dict[PriorityName, Priority] = Field(default_factory=lambda: dict(PRIORITIES))
    work: Quota = Quota()

    def misfits(self, site: SiteFacts) -> Iterator[Mistake]:
        """One namespace for two things, and classes that pods ask for and nobody makes."""
        if self.installer_namespace in (site.namespace, site.work):
            allowed = "none of the platform's: its admin could take the installer's account"
            key = "cluster.installer_namespace"
            yield Mistake(key, self.installer_namespace, allowed, "choose another namespace")
        asked = {s.priority for s in site.rooms.values() if s.mode is Mode.MANAGED and s.priority}
        for name in sorted(asked - set(self.priorities)) if site.priority_classes else ():
            allowed = "all classes that pods ask for, else the API server refuses the pods"
            action = f"add {name}, or set apadana:priority_classes: false"
            yield Mistake(f"cluster.priorities.{name}", "nothing", allowed, action)


def pod_security_labels(level: PodSecurity) -> dict[str, str]:
    """Enforced, and also warned and audited, so that a refused pod is seen before it is made."""
    return {
        f"pod-security.kubernetes.io/{mode}{suffix}": value
        for mode in ("enforce", "warn", "audit")
        for suffix, value in (("", level), ("-version", "latest"))
    }
