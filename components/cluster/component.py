"""The given namespace and the account that installs into it with nothing but the role `admin`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from components.cluster.objects import name_of, objects
from components.cluster.settings import Settings
from components.kit.component import PlatformComponent
from components.kit.objects import make_all


class Cluster(PlatformComponent[Settings]):
    """Everything of the platform's namespace that its own installer may not make."""

    def managed(self) -> Mapping[str, Any]:
        """The same objects that `python -m stacks.prerequisites` prints."""
        items = objects(self.settings, self.site)
        make_all(items, self, named=lambda item: name_of(item, self.site))
        return {}
