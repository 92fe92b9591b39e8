"""Copies the sets under one prefix of the client's keys, from the primary.

DUMP and RESTORE would copy any type, but RESTORE is among the commands that a consumer's user may
not use (`-@dangerous`), and the probe writes sets alone: another type is refused, not left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from components.kit import saving
from components.kit.probing import Target
from components.redis import probe

SCOPE = "audit"
SETS = "sets.jsonl"
BATCH = 500


def _prefix(target: Target, scope: str) -> str:
    return f"{target.username}:{scope}:"


def _keys(target: Target, scope: str) -> Iterator[str]:
    found = probe.connect(target).scan_iter(match=f"{_prefix(target, scope)}*", count=1000)
    return (key.decode() for key in found)


def scratch(run: str) -> str:
    """Where a drill restores to."""
    return f"restored-{run}"


def save(target: Target, scope: str, folder: Path) -> Mapping[str, object]:
    """Each set: its key without the prefix, then its members."""
    client = probe.connect(target)

    def records() -> Iterator[list[str]]:
        for key in _keys(target, scope):
            kind = client.type(key).decode()
            if kind != "set":
                raise TypeError(f"{key} is a {kind}; this copies sets")
            members = sorted(m.decode() for m in client.sscan_iter(key, count=1000))
            yield [key.removeprefix(_prefix(target, scope)), *members]

    saving.put_lines(folder / SETS, records())
    return saving.seal(folder)


def restore(target: Target, folder: Path, scope: str) -> None:
    """Under another prefix, acknowledged by a replica as any write."""
    saving.check(folder)
    client = probe.connect(target)
    for name, *members in saving.get_lines(folder / SETS):
        for start in range(0, len(members), BATCH):
            client.sadd(_prefix(target, scope) + name, *members[start : start + BATCH])
    copies = probe.acknowledged(client.pipeline(transaction=False), probe.fence_key(target), 1500)
    if copies < probe.WAIT_REPLICAS:
        raise probe.NotAcknowledgedError(f"restored, but WAIT answered {copies}")


def read(target: Target, scope: str, run: str) -> set[str]:
    """The run's uids under that prefix."""
    found = probe.connect(target).sscan_iter(_prefix(target, scope) + run, count=1000)
    return {uid.decode() for uid in found}


def drop(target: Target, scope: str) -> None:
    """The keys of a drill."""
    if scope == SCOPE:
        raise ValueError(f"{scope} is the original")
    client = probe.connect(target)
    for key in list(_keys(target, scope)):
        client.delete(key)
