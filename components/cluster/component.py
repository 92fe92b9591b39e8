"""The given namespace and the account that installs into it with nothing but the role `admin`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pulumi
from pulumi_kubernetes.core.v1 import Namespace, ServiceAccount
from pulumi_kubernetes.networking.v1 import NetworkPolicy
from pulumi_kubernetes.rbac.v1 import RoleBinding
from pulumi_kubernetes.scheduling.v1 import PriorityClass

from components.cluster.settings import Settings, pod_security_labels
from components.kit.component import PlatformComponent

PART_OF = {"app.kubernetes.io/part-of": "apadana"}
CLIENT = {"apadana.io/client": "true"}


class Cluster(PlatformComponent[Settings]):
    """Everything of the platform's namespace that its own installer may not make."""

    def managed(self) -> Mapping[str, Any]:
        """Namespace, installer, priorities, fences."""
        namespace = self._namespace()
        self._installer(namespace)
        self._priorities()
        self._fences(namespace)
        return {}

    def _namespace(self) -> Namespace:
        labels = PART_OF | pod_security_labels(self.settings.pod_security)
        return Namespace(
            self.site.namespace,
            metadata={"name": self.site.namespace, "labels": labels},
            # Deleting it would delete every store in it.
            opts=pulumi.ResourceOptions(parent=self, protect=True, retain_on_delete=True),
        )

    def _installer(self, namespace: Namespace) -> None:
        home, account = self.settings.installer_namespace, self.settings.installer_account
        system = Namespace(
            home,
            metadata={"name": home, "labels": PART_OF | pod_security_labels("restricted")},
            opts=self.children(),
        )
        ServiceAccount(
            account,
            metadata={"name": account, "namespace": home, "labels": PART_OF},
            automount_service_account_token=False,
            opts=pulumi.ResourceOptions(parent=self, depends_on=[system]),
        )
        RoleBinding(
            account,
            metadata={"name": account, "namespace": self.site.namespace, "labels": PART_OF},
            role_ref={
                "api_group": "rbac.authorization.k8s.io",
                "kind": "ClusterRole",
                "name": "admin",
            },
            subjects=[{"kind": "ServiceAccount", "name": account, "namespace": home}],
            opts=pulumi.ResourceOptions(
                parent=self, depends_on=[namespace], delete_before_replace=True
            ),
        )

    def _priorities(self) -> None:
        for name, value in sorted(self.settings.priorities.items()):
            PriorityClass(
                name,
                metadata={"name": name, "labels": PART_OF},
                value=value,
                description="Apadana",
                # The value of a priority class cannot be changed in place.
                opts=pulumi.ResourceOptions(parent=self, delete_before_replace=True),
            )

    def _fences(self, namespace: Namespace) -> None:
        """Deny by default; clients of the stores may reach the platform's pods and the DNS."""
        self._fence("default-deny", namespace, {"pod_selector": {}})
        dns = {
            "namespace_selector": {"match_labels": {"kubernetes.io/metadata.name": "kube-system"}},
            "pod_selector": {"match_labels": {"k8s-app": "kube-dns"}},
        }
        ports = [{"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 53}]
        platform = {"pod_selector": {"match_labels": PART_OF}}
        self._fence(
            "clients",
            namespace,
            {
                "pod_selector": {"match_labels": CLIENT},
                "egress": [{"to": [dns], "ports": ports}, {"to": [platform]}],
            },
        )

    def _fence(self, name: str, namespace: Namespace, spec: dict[str, Any]) -> None:
        kinds = ["Egress"] if "egress" in spec else ["Ingress", "Egress"]
        NetworkPolicy(
            name,
            metadata={"name": name, "namespace": self.site.namespace, "labels": PART_OF},
            spec={**spec, "policy_types": kinds},
            opts=pulumi.ResourceOptions(parent=self, depends_on=[namespace]),
        )
