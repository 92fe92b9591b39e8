"""What of a site's settings does not fit the machines of an inventory, for the playbooks: they ask
before they change a host, so that no roll-out ends at a claim without a volume."""

from __future__ import annotations

from pathlib import Path

from common.errors import Refusal
from components.kit.mistakes import SettingsError
from stacks.composition import STACKS, compose


def faults(site: str, inventory: Path, folder: Path = STACKS) -> list[str]:
    """Every mistake of the site's stacks, each in words; `inventory` is a hosts.yml."""
    try:
        compose(site, folder=folder, hosts=inventory)
    except SettingsError as error:
        return [mistake.text() for mistake in error.mistakes]
    except Refusal as error:
        return [str(error)]
    return []
