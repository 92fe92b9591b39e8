"""Copies all records of the probe and brings them back under a prefix."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from components.kv.probe import Client, retried
from components.log.probe import records

from components.kit import saving
from components.kit.probing import Target

SCOPE = ""
FILE = "records.jsonl"
MARK = "restored-"


def scratch(run: str) -> str:
    return f"{MARK}{run}/"


def save(target: Target, scope: str, folder: Path) -> Mapping[str, object]:
    client = Client(target)
    kept = [r.removeprefix(scope) for r in records(client, scope) if scope or MARK not in r]
    client.close()
    saving.put_lines(folder / FILE, ([record] for record in kept))
    return saving.seal(folder)


def restore(target: Target, folder: Path, scope: str) -> None:
    saving.check(folder)
    client = Client(target)
    for (record,) in saving.get_lines(folder / FILE):
        retried(lambda record=record: client.to_leader(op="add", record=f"{scope}{record}"))
    client.close()


def read(target: Target, scope: str, run: str) -> set[str]:
    client = Client(target)
    found = {r.removeprefix(scope) for r in records(client, f"{scope}{run}-")}
    client.close()
    return found


def drop(target: Target, scope: str) -> None:
    if scope == SCOPE:
        raise ValueError("the empty prefix is the original")
    client = Client(target)
    client.to_leader(op="drop", prefix=scope)
    client.close()
