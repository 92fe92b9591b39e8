"""`python -m tests.repo.rooms [PACKAGE]`: the rooms of a package, their floors, who imports whom.

A floor is one more than the highest floor of what a room imports. Rooms in a circle share a floor.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Set
from pathlib import Path

import grimp

ROOT = Path(__file__).resolve().parents[2]
Graph = Mapping[str, Set[str]]


def modules(package: str) -> Graph:
    """Each module and what it imports within the package."""
    graph = grimp.build_graph(package, cache_dir=None)
    return {m: graph.find_modules_directly_imported_by(m) for m in graph.modules}


def rooms(package: str, graph: Graph) -> Graph:
    """Each folder or loose module right below the package, and those it imports."""

    def room(module: str) -> str:
        return module.removeprefix(package).lstrip(".").partition(".")[0]

    found: dict[str, set[str]] = {}
    for module, imported in graph.items():
        found.setdefault(room(module), set()).update(map(room, imported))
    return {name: others - {name, ""} for name, others in found.items() if name}


def circles(graph: Graph) -> list[list[str]]:
    """Those that import each other, directly or by way of others."""
    reached = {name: reach(graph, name) for name in graph}
    groups = {tuple(sorted(n for n in found if name in reached[n])) for name, found in reached.items() if name in found}
    return sorted(map(list, groups))


def reach(graph: Graph, start: str) -> set[str]:
    found: set[str] = set()
    ahead = [*graph[start]]
    while ahead:
        name = ahead.pop()
        if name not in found:
            found.add(name)
            ahead += graph[name]
    return found


def floors(graph: Graph) -> dict[str, int]:
    together = {name: set(circle) for circle in circles(graph) for name in circle}
    known: dict[str, int] = {}

    def floor(name: str) -> int:
        if name not in known:
            group = together.get(name, {name})
            below = {other for member in group for other in graph[member]} - group
            known.update(dict.fromkeys(group, 1 + max(map(floor, below), default=0)))
        return known[name]

    return {name: floor(name) for name in graph}


def main(package: str = "validate") -> None:
    sys.path.insert(0, str(ROOT))
    whole = modules(package)
    graph = rooms(package, whole)
    standing = floors(graph)
    for name in sorted(graph, key=lambda n: (-standing[n], n)):
        count = sum(1 for m in whole if f"{m}.".startswith(f"{package}.{name}."))
        below = ", ".join(sorted(graph[name])) or "none"
        print(f"{standing[name]:>3}  {name:<10} {count:>3} modules, imports {below}")
    told = circles(whole)
    print(f"{len(graph)} rooms on {max(standing.values())} floors, {len(told)} circles of modules")
    for circle in told:
        print("circle:", " <-> ".join(circle))


if __name__ == "__main__":
    main(*sys.argv[1:])
