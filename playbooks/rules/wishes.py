"""What the site's stacks ask of its hosts, joined with the inventory."""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Iterable
from pathlib import Path

from common.files import write
from common.places import REPOSITORY
from components.kit import layers

MARK = "wishes-fit"  # in the state folder: the digest of what fitted


def wish_faults(site: str, inventory: Path, state: Path, repository: Path = REPOSITORY) -> list[str]:
    """Claims without a volume, and whatever else of the settings does not fit this inventory.

    Nothing where there is no stack file of the site. The settings of all rooms take a second to
    read, so what fitted once is not read again while no file of it changed.
    """
    folder, hosts = repository / "stacks", inventory / "hosts.yml"
    stacks = [layers.stack_file(folder, site, layer) for layer in layers.standing(folder, site)]
    if not stacks or not hosts.is_file():
        return []
    code = [each for part in ("components", "stacks") for each in (repository / part).rglob("*.py")]
    said = [each for each in inventory.rglob("*") if each.suffix in (".yml", ".yaml", ".json")]
    mark, now = state / MARK, digest([*stacks, *said, *code])
    if mark.is_file() and mark.read_text(encoding="ascii") == now:
        return []
    found: list[str] = importlib.import_module("stacks.fitting").faults(site, hosts)
    if not found and state.is_dir():
        write(mark, now)
    return found


def digest(files: Iterable[Path]) -> str:
    """Of names and contents."""
    sums = (f"{file} {hashlib.sha256(file.read_bytes()).hexdigest()}" for file in sorted(files))
    return hashlib.sha256("\n".join(sums).encode()).hexdigest()
