"""What rooms without a client say of themselves: their probes judge the cluster's objects (kit/probing.py)."""

from __future__ import annotations

import importlib
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import ModuleType

from components.kit import contract
from components.kit.probing import Check, Object, Verdict
from validate.core.errors import ClusterError
from validate.ground.site import Site

SYSTEM = "kube-system"
SETTLE_SECONDS = 45.0  # a host that has just come back, a replica that has just moved
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


def settled(
    site: Site, objects: Sequence[Object], *, seconds: float = SETTLE_SECONDS, every: float = 3.0
) -> dict[str, list[Check]]:
    """By room; what is not as it should be is looked at again, until the time is over. The last look counts."""
    found = dict(checks(site.rooms, site.platform, objects))
    end = time.monotonic() + seconds
    while not _pass(found) and time.monotonic() < end:
        time.sleep(every)  # between two looks at a condition that has a deadline
        with suppress(ClusterError):
            found = dict(checks(site.rooms, site.platform, _asked(site)))
    return found


def _pass(found: Mapping[str, list[Check]]) -> bool:
    return all(check.verdict is Verdict.PASS for said in found.values() for check in said)


def _asked(site: Site) -> list[Object]:
    found: list[Object] = site.cluster.json("get", "-A", ",".join(sorted(kinds(site.rooms))))["items"]
    return found
