"""What a step was done with: code, Python, libraries, image. Each step leaves it beside what it made; the standard
library alone."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterable, Mapping
from importlib import metadata
from typing import Any

from problems import archive

FILE = "origin.json"
#: Told by whoever begins a run: the commit, "+" behind it where files that run are not in it; the image of the pod.
COMMIT, IMAGE = "PROBLEM_COMMIT", "PROBLEM_IMAGE"
CHANGED = "+"
#: The steps that a model and its figures come from: what they were done with is what it takes to have them again.
AGAIN = ("validate", "train", "evaluate", "fairness")


def of_process(problem: str) -> dict[str, Any]:
    """The same for the same code and the same ground. Libraries are those that this process has loaded."""
    return {
        "code": archive.sha256(archive.of_process(problem)),
        "commit": os.environ.get(COMMIT, ""),
        "image": os.environ.get(IMAGE, ""),
        "python": platform.python_version(),
        "machine": platform.machine(),
        "libraries": loaded(),
    }


def loaded() -> dict[str, str]:
    """Versions of what was installed beside Python and is in use, by the names of PyPI."""
    tops = {name.partition(".")[0] for name in list(sys.modules)}
    tops -= sys.stdlib_module_names | {"__main__", "problems"}
    owners = metadata.packages_distributions()
    names = {owner for top in tops for owner in owners.get(top, ())}
    return {name: metadata.version(name) for name in sorted(names)}


def other(wanted: Mapping[str, str]) -> list[str]:
    """The libraries that are here in another version than that, or not at all, in words."""
    found = []
    for name, version in sorted(wanted.items()):
        try:
            here = metadata.version(name)
        except metadata.PackageNotFoundError:
            here = "not installed"
        if here != version:
            found.append(f"{name} was {version}, here it is {here}")
    return found


def together(steps: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """The libraries of all of them. Raises ValueError where two steps had other ones, or another code."""
    libraries: dict[str, str] = {}
    for each in steps.values():
        libraries |= each["libraries"]
    wrong = [
        f"{name} had {library} {version}, another step {libraries[library]}"
        for name, each in steps.items()
        for library, version in each["libraries"].items()
        if version != libraries[library]
    ]
    for what in ("code", "python", "machine", "image"):
        if len(told := {str(each[what]) for each in steps.values()}) > 1:
            said = ", ".join(f"{name} {_short(steps[name][what])}" for name in steps)
            wrong.append(f"the steps were done with {len(told)} kinds of {what} ({said})")
    if wrong:
        raise ValueError(f"{'; '.join(wrong)}: nobody could have this model again. Do the steps again from {AGAIN[0]}")
    return dict(sorted(libraries.items()))


def commit(told: Iterable[str]) -> tuple[str, bool | None]:
    """Of the steps' code: the commit, "" where nobody knew; and whether files that ran are not in it. The steps have
    the same code, so one that knows speaks for all."""
    known = sorted({each for each in told if each})
    if not known:
        return "", None
    return known[0].removesuffix(CHANGED), known[0].endswith(CHANGED)


def _short(told: object) -> str:
    return str(told)[:12] or "none"
