"""The given namespace and the account that installs into it with nothing but the role `admin`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from components.cluster.objects import objects
from components.cluster.settings import Settings
from components.kit.component import PlatformComponent
from components.kit.objects import make_all


class Cluster(PlatformComponent[Settings]):
    """Everything of the platform's namespace that its own installer may not make."""

    def managed(self) -> Mapping[str, Any]:
        """The same objects that `python -m stacks.prerequisites` prints."""
        make_all(
            objects(self.settings, self.site), self, named=lambda item: item["metadata"]["name"]
        )
        return {}
