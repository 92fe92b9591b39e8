"""Python files that are no part of a package: Ansible's modules and plugins, files of charts."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

PLAYBOOKS = Path(__file__).parents[1] / "playbooks"


def load(path: Path, name: str | None = None) -> ModuleType:
    """The file as a module, known by its name: dataclasses look their module up."""
    full = name or f"apadana_{path.stem}"
    spec = importlib.util.spec_from_file_location(full, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[full] = module
    spec.loader.exec_module(module)
    return module
