"""Settings of what is cluster-scoped: the given namespace, its installer, priorities, fences."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from components.kit.settings import ComponentSettings

DnsName = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]
Priority = Annotated[int, Field(ge=-1_000_000, le=1_000_000_000)]
PRIORITIES = {
    "apadana-data": 1_000_000,  # stores: the last to be put off a full host
    "apadana-platform": 100_000,
    "apadana-batch": -1000,  # training jobs: the first to go
}
PodSecurity = Literal["restricted", "baseline"]


class Settings(ComponentSettings):
    """Keys of `apadana:cluster:`."""

    layer: ClassVar[str] = "cluster"

    source: Literal["existing"] = "existing"  # the cluster is there; the playbooks made it
    pod_security: PodSecurity = "restricted"
    installer_namespace: DnsName = "apadana-system"
    installer_account: DnsName = "apadana-installer"
    priorities: dict[DnsName, Priority] = Field(default_factory=lambda: dict(PRIORITIES))


def pod_security_labels(level: PodSecurity) -> dict[str, str]:
    """Enforced, and also warned and audited, so that a refused pod is seen before it is made."""
    return {
        f"pod-security.kubernetes.io/{mode}{suffix}": value
        for mode in ("enforce", "warn", "audit")
        for suffix, value in (("", level), ("-version", "latest"))
    }
