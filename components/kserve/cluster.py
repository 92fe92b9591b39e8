"""KServe's cluster-scoped half: definitions, controllers, webhooks."""

from __future__ import annotations

from typing import ClassVar

from components.kit import half
from components.kit.manifests import Manifest
from components.kit.settings import SiteFacts
from components.kserve import admission, controller
from components.kserve.settings import ROOM, Settings, dns_names


class KserveHalf(half.ClusterHalf[Settings]):
    """KServe in its mode Standard: an InferenceService becomes a Deployment and a Service."""

    crds: ClassVar = {
        "kserve-manager": (
            # The controllers do not start without the three that nobody is given.
            "clusterstoragecontainers.serving.kserve.io",
            "inferencegraphs.serving.kserve.io",
            "inferenceservices.serving.kserve.io",
            "servingruntimes.serving.kserve.io",
            "trainedmodels.serving.kserve.io",
        )
    }
    granted: ClassVar = ("inferenceservices.serving.kserve.io", "servingruntimes.serving.kserve.io")

    @classmethod
    def objects(cls, settings: Settings, site: SiteFacts, keys: half.Keys) -> list[Manifest]:
        """The certificate, then what mounts it, then who asks."""
        leaf = keys.leaf(controller.CERTIFICATE, dns_names(site))
        return [
            half.secret(controller.CERTIFICATE, ROOM, leaf, "kubernetes.io/tls"),
            *controller.objects(settings, site, keys.ca()),
            admission.fetcher(site),
            *admission.webhooks(site, half.ca_bundle(keys)),
        ]
