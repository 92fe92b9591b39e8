"""A restore drill where the clients run: write, save, restore beside, read, compare, clean up."""

from __future__ import annotations

import importlib
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from components.kit.probing import Check, Target, Verdict, Writer
from validate.inside import targets

WRITES = 64
CAUSE = "backup-useless"


def drill(name: str, run: str) -> Iterator[Check]:
    """One Check: what was saved came back, whole, in another scope."""
    begin = time.monotonic()
    room: ModuleType = importlib.import_module(f"components.{name}.backup")
    target = targets.target(name)
    written = _write(targets.probe(name).writer(), target, run)
    scope = room.scratch(run)
    with tempfile.TemporaryDirectory() as folder:
        saved = dict(room.save(target, room.SCOPE, Path(folder)))
        try:
            room.restore(target, Path(folder), scope)
            back = room.read(target, scope, run)
        finally:
            room.drop(target, scope)
    missing = sorted(written - back)
    evidence = {"written": len(written), "back": len(back & written), "missing": missing[:10],
                **saved, "scope": room.SCOPE, "restored_into": scope}  # fmt: skip
    seconds = time.monotonic() - begin
    if missing:
        detail = f"{len(missing)} of {len(written)} writes did not come back: {missing[:3]}"
        yield Check("restore drill", Verdict.FAIL, detail, {**evidence, "cause": CAUSE}, seconds)
        return
    detail = f"{len(written)} writes saved, restored into {scope} and read back, in {seconds:.1f} s"
    yield Check("restore drill", Verdict.PASS, detail, evidence, seconds)


def _write(writer: Writer, target: Target, run: str) -> set[str]:
    writer.open(target)
    try:
        uids = {f"{run}-0-{number}" for number in range(WRITES)}
        for uid in sorted(uids):
            writer.write(uid)
    finally:
        writer.close()
    return uids
