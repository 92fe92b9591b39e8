"""The trainings' cluster-scoped half: definitions, operators, webhooks."""

from __future__ import annotations

from typing import ClassVar

from components.kit import half
from components.kit.manifests import Manifest
from components.kit.settings import SiteFacts
from components.training import operators
from components.training.settings import OPERATORS_IMAGE, ROOM, Settings, dns_names


class TrainingHalf(half.ClusterHalf[Settings]):
    """Kubeflow's Trainer and the JobSets that it makes."""

    crds: ClassVar = {
        OPERATORS_IMAGE: (
            # Trainer does not start without the one for all namespaces, which nobody is given.
            "clustertrainingruntimes.trainer.kubeflow.org",
            "jobsets.jobset.x-k8s.io",
            "trainingruntimes.trainer.kubeflow.org",
            "trainjobs.trainer.kubeflow.org",
        )
    }
    #: What people and the platform's installer write. JobSets are the engine's own.
    granted: ClassVar = ("trainingruntimes.trainer.kubeflow.org", "trainjobs.trainer.kubeflow.org")

    @classmethod
    def objects(cls, settings: Settings, site: SiteFacts, keys: half.Keys) -> list[Manifest]:
        """The certificate, then what mounts it, then who asks."""
        leaf = keys.leaf(operators.CERTIFICATE, dns_names(site))
        return [
            half.secret(operators.CERTIFICATE, ROOM, leaf, "kubernetes.io/tls"),
            *operators.objects(settings, site, half.ca_bundle(keys)),
        ]
