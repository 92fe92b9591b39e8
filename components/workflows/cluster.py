"""The workflows' cluster-scoped half: definitions, and what surrounds the steps."""

from __future__ import annotations

from typing import ClassVar

from components.kit import half
from components.kit.manifests import Manifest
from components.kit.settings import SiteFacts
from components.workflows import steps
from components.workflows.names import CONTROLLER_IMAGE
from components.workflows.settings import Settings


class WorkflowsHalf(half.ClusterHalf[Settings]):
    """Argo's minimal definitions; its controllers are the platform's half."""

    crds: ClassVar = {
        CONTROLLER_IMAGE: (
            "cronworkflows.argoproj.io",
            "workflowartifactgctasks.argoproj.io",
            "workflows.argoproj.io",
            "workflowtaskresults.argoproj.io",
            "workflowtasksets.argoproj.io",
            "workflowtemplates.argoproj.io",
        )
    }
    #: What people write. The rest is the engine's own, and no person's to forge.
    granted: ClassVar = ("cronworkflows.argoproj.io", "workflows.argoproj.io", "workflowtemplates.argoproj.io")

    @classmethod
    def objects(cls, settings: Settings, site: SiteFacts, keys: half.Keys) -> list[Manifest]:
        """Accounts, rights, the fence, the probe's template."""
        return steps.objects(settings, site, keys)
