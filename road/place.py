"""The places of a site, with those that only the road has."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from common import inventory, locking
from common.errors import Refusal
from common.places import REPOSITORY, Places, forgotten
from components.kit import layers

__all__ = ["REPOSITORY", "Place", "RoadError", "place"]


class RoadError(Refusal):
    """Something the person at the keyboard has to know; its text is the whole message."""


@dataclass(frozen=True)
class Place(Places):
    """`forget`: stacks whose data may be deleted, named by a person."""

    forget: frozenset[str] = frozenset()

    @property
    def keys(self) -> Path:
        """Of bundles and reports."""
        return self.state_root / "keys"

    @property
    def lock(self) -> Path:
        """The site's, over all that changes it."""
        return locking.lock_file(self.state_root, self.site)

    @property
    def holder(self) -> Path:
        """Who holds it."""
        return locking.holder_file(self.state_root, self.site)

    @property
    def progress(self) -> Path:
        """With the logs, so that the next lab has the times of the last one to estimate from."""
        return self.logs / "progress.json"

    @property
    def ended_leaves(self) -> Path:
        """Names of leaves that had ended, until their members were started anew."""
        return self.state / "ended-leaves"

    @property
    def report(self) -> Path:
        """The newest."""
        return self.reports / "latest"

    @property
    def layers(self) -> tuple[str, ...]:
        """Those that this site builds, lowest first."""
        return layers.standing(self.stacks, self.site)

    @property
    def is_lab(self) -> bool:
        """Whether the inventory says so: its machines were made here, and may be taken away."""
        return inventory.is_lab(self.inventory / "hosts.yml")


def place(site: str, environment: Mapping[str, str] = os.environ) -> Place:
    """Raises common.places.PlaceError where no site can have that name."""
    return replace(Place.of(site, environment), forget=forgotten(environment))
