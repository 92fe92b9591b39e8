"""What one run of load is about: a component, what is asked of it, how often and how fast."""

from __future__ import annotations

from dataclasses import dataclass

from components.kit import contract
from validate.suites.load.profiles import Profile
from validate.suites.load.roomload import Scenario


@dataclass(frozen=True)
class LoadCase:
    """One scenario under one profile, as it will be run; `words` say how it differs from it."""

    component: contract.Component
    scenario: Scenario
    profile: Profile
    words: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """The first part of each result's name: a short or scaled run is not the whole one."""
        return " ".join([self.scenario.name, self.profile.name, *self.words])

    @property
    def wish(self) -> dict[str, object]:
        return {
            "operation": self.scenario.operation,
            "clients": self.scenario.clients,
            "profile": self.profile.model_dump(mode="json", exclude={"assumptions"}),
        }
