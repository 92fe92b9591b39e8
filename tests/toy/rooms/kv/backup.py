"""Copies the keys under one prefix and brings them back under another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from components.kv.probe import Client, retried

from components.kit import saving
from components.kit.probing import Target

SCOPE = "audit"
FILE = "keys.jsonl"
BATCH = 500


def scratch(run: str) -> str:
    return f"restored-{run}"


def save(target: Target, scope: str, folder: Path) -> Mapping[str, object]:
    client = Client(target)
    keys = client.to_leader(op="keys", prefix=f"{scope}/")["keys"]

    def records() -> Iterator[list[str]]:
        for start in range(0, len(keys), BATCH):
            part = keys[start : start + BATCH]
            values = client.to_leader(op="many", keys=part)["values"]
            yield from ([k.partition("/")[2], v] for k, v in zip(part, values, strict=True) if v is not None)

    saving.put_lines(folder / FILE, records())
    client.close()
    return saving.seal(folder)


def restore(target: Target, folder: Path, scope: str) -> None:
    saving.check(folder)
    client = Client(target)
    for name, value in saving.get_lines(folder / FILE):
        retried(lambda name=name, value=value: client.to_leader(op="put", key=f"{scope}/{name}", value=value))
    client.close()


def read(target: Target, scope: str, run: str) -> set[str]:
    client = Client(target)
    keys = client.to_leader(op="keys", prefix=f"{scope}/{run}/")["keys"]
    client.close()
    return {key.rpartition("/")[2] for key in keys}


def drop(target: Target, scope: str) -> None:
    if scope == SCOPE:
        raise ValueError(f"{scope} is the original")
    client = Client(target)
    client.to_leader(op="drop", prefix=f"{scope}/")
    client.close()
