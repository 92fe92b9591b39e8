"""What rooms without a client say of themselves: their probes judge the cluster's objects (kit/probing.py)."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType

from components.kit import contract
from components.kit.probing import Check, Object

SYSTEM = "kube-system"
JUDGES = re.compile(r"^def judge\b", re.MULTILINE)


def probes(rooms: Path) -> dict[str, ModuleType]:
    """By room; none is named here."""
    found = sorted(rooms.glob("*/probe.py"))
    names = [file.parent.name for file in found if JUDGES.search(file.read_text(encoding="utf-8"))]
    return {name: importlib.import_module(f"components.{name}.probe") for name in names}


def kinds(rooms: Path) -> set[str]:
    """What has to be asked for, for all of them."""
    return {kind for probe in probes(rooms).values() for kind in probe.KINDS}


def checks(rooms: Path, platform: contract.Platform, objects: Sequence[Object]) -> Iterator[tuple[str, list[Check]]]:
    """Each room with what it says. What other tenants have is not the platform's to judge."""
    spaces = ("", platform.namespace, platform.work, SYSTEM)
    mine = [each for each in objects if each["metadata"].get("namespace", "") in spaces]
    for name, probe in probes(rooms).items():
        yield name, list(probe.judge(mine))
