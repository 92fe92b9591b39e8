"""Builds probing.Target from the described targets and the mounted secrets."""

from __future__ import annotations

import importlib
import json
import os
from pathlib import Path
from types import ModuleType
from typing import Any

from components.kit.probing import Endpoint, Member, Target

WORK = Path(os.environ.get("APADANA_WORK", "/work"))  # the pod's emptyDir; tests use another
DESCRIBED = WORK / "targets.json"


def described(path: Path = DESCRIBED) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(path.read_text())
    return found


def names(path: Path = DESCRIBED) -> list[str]:
    return [str(entry["name"]) for entry in described(path)]


def target(name: str, path: Path = DESCRIBED) -> Target:
    entry = next((e for e in described(path) if e["name"] == name), None)
    if entry is None:
        raise LookupError(f"{path} describes no component {name!r} (it has: {names(path)})")
    mounted = Path(entry["mounted"])
    # Kubernetes keeps the real files behind ..data; the names without dots are the keys.
    keys = {
        file.name: file.read_text().strip()
        for file in sorted(mounted.glob("*"))
        if file.is_file() and not file.name.startswith("..")
    }
    return Target(
        name=name,
        endpoints=[Endpoint(**e) for e in entry["endpoints"]],
        username=keys.get("username", ""),
        password=keys.get("password", ""),
        ca_file=str(mounted / "ca.crt"),
        client=entry["client"],
        members=[Member(**m) for m in entry["members"]],
        extra=keys,
    )


def probe(name: str) -> ModuleType:
    return importlib.import_module(f"components.{name}.probe")
