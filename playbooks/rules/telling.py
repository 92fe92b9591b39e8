"""How a wrong value is told: what, the value, what is allowed, what to do; and where it was set."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

MOST = 4  # of the places that one setting is told with
#: Words of a command line.
TRUTHS = {"true": True, "yes": True, "false": False, "no": False}
Origins = Mapping[str, tuple[str, ...]]


def plain(value: Any) -> Any:
    """Without the tags that Ansible gives to values, so that it prints as it was written."""
    if isinstance(value, Mapping):
        return {plain(key): plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    for kind in (bool, int, float, str):
        if isinstance(value, kind):
            return kind(value)
    return value


def wrong(subject: str, seen: Any, allowed: str, action: str) -> str:
    """One mistake in one sentence."""
    return f"{subject} is {plain(seen)!r}; allowed: {allowed}; {action}"


def refused(result: dict[str, Any], faults: Iterable[str], more: Mapping[str, Any]) -> dict[str, Any]:
    """What an action plugin reports: a failure with all faults where there are any."""
    told = list(faults)
    wrong_so = {"failed": True, "msg": "Nothing was changed. To be mended first:\n- " + "\n- ".join(told)}
    return {**result, **more, **(wrong_so if told else {})}


def origins(folder: Path) -> dict[str, tuple[str, ...]]:
    """Where each name stands as a key in the inventory's files: `group_vars/all/main.yml:7`."""
    found: dict[str, list[str]] = {}
    files = [*folder.glob("*.yml"), *folder.glob("group_vars/**/*.yml"), *folder.glob("host_vars/**/*.yml")]
    for file in sorted(files):
        for name, line in _keys(yaml.compose(file.read_text(encoding="utf-8"))):
            found.setdefault(name, []).append(f"{file.relative_to(folder)}:{line}")
    return {name: tuple(places) for name, places in found.items()}


def _keys(root: yaml.Node | None) -> Iterable[tuple[str, int]]:
    pending = [root]
    while pending:
        node = pending.pop()
        if isinstance(node, yaml.SequenceNode):
            pending.extend(node.value)
        elif isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                yield str(key.value), key.start_mark.line + 1
                pending.append(value)


def with_place(sentence: str, known: Iterable[str], hosts: Iterable[str], places: Origins) -> str:
    """With the file and line of each setting that it names, and of the host that it is about."""
    words = dict.fromkeys(re.findall(r"[a-z]+(?:_[a-z0-9]+)+", sentence))
    first = sentence.split(" ", 1)[0]  # a setting that no role knows stands there
    names = [word for word in words if word in set(known) or word == first]
    names += [host for host in hosts if sentence.startswith((f"{host}:", f"host {host!r}"))]
    told = {name: places.get(name, ()) for name in names}
    where = [f"{name} at {', '.join(found[:MOST])}" for name, found in told.items() if found]
    where += [f"{name} by default" for name, found in told.items() if not found]
    return f"{sentence} (set: {'; '.join(where)})" if where else sentence
