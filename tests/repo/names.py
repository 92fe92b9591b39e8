"""Names that a module keeps to itself, looked for outside of it; words that stand in one module only."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.repo import files
from tests.repo.charts import ROOT

PACKAGES = ("bundle", "common", "components", "playbooks", "road", "stacks", "tests", "validate")


def modules() -> Iterator[tuple[Path, ast.Module]]:
    """Every Python file of ours, parsed."""
    for file, text in files.texts():
        if file.suffix == ".py" and file.relative_to(ROOT).parts[0] in PACKAGES:
            yield file, ast.parse(text)


def private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def used_outside(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Line and name of each private name that is taken from another module."""
    ours: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in PACKAGES:
            ours |= {alias.asname or alias.name for alias in node.names}
            yield from ((node.lineno, f"{node.module}.{a.name}") for a in node.names if private(a.name))
        elif isinstance(node, ast.Import):
            ours |= {alias.asname for alias in node.names if alias.asname and alias.name.split(".")[0] in PACKAGES}
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=ast.Name(id=owner), attr=name) if owner in ours and private(name):
                yield node.lineno, f"{owner}.{name}"


def words(tree: ast.Module, word: str) -> Iterator[int]:
    """Lines on which this very text stands."""
    return (node.lineno for node in ast.walk(tree) if isinstance(node, ast.Constant) and node.value == word)
