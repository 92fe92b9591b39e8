"""A restore drill where the clients run: write, save, restore beside, read, compare, clean up."""

from __future__ import annotations

import importlib
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from components.kit.probing import Check, Target, Verdict, Writer
from validate.pod import targets, writing

WRITES, TRIES, PAUSE = 64, 5, 0.5
CAUSE = "backup-useless"


def drill(name: str, run: str) -> Iterator[Check]:
    """One Check: what was saved came back, whole, in another scope."""
    begin = time.monotonic()
    room: ModuleType = importlib.import_module(f"components.{name}.backup")
    target = targets.target(name)
    try:
        written = _write(targets.probe(name).writer(), target, run)
    except Exception as error:  # noqa: BLE001  any client library, any error: nothing to save
        detail = f"nothing could be written to be saved: {type(error).__name__}: {error}"
        yield Check("restore drill", Verdict.INVALID, detail, {}, time.monotonic() - begin)
        return
    scope = room.scratch(run)
    original: str = room.written(run) if hasattr(room, "written") else room.SCOPE
    saved: dict[str, object] = {}
    try:
        with tempfile.TemporaryDirectory() as folder:
            saved = dict(room.save(target, original, Path(folder)))
            back = _brought_back(room, target, Path(folder), scope, run)
    except Exception as error:  # noqa: BLE001  whatever keeps a copy from coming back
        detail = f"what was saved can't be brought back: {type(error).__name__}: {error}"
        evidence: dict[str, object] = {**saved, "cause": CAUSE}
        yield Check("restore drill", Verdict.FAIL, detail, evidence, time.monotonic() - begin)
        return
    missing = sorted(written - back)
    evidence = {
        "written": len(written),
        "back": len(back & written),
        "missing": missing[:10],
        **saved,
        "scope": original,
        "restored_into": scope,
    }
    seconds = time.monotonic() - begin
    if missing:
        detail = f"{len(missing)} of {len(written)} writes did not come back: {missing[:3]}"
        yield Check("restore drill", Verdict.FAIL, detail, {**evidence, "cause": CAUSE}, seconds)
        return
    detail = f"{len(written)} writes saved, restored into {scope} and read back, in {seconds:.1f} s"
    yield Check("restore drill", Verdict.PASS, detail, evidence, seconds)


def _brought_back(room: ModuleType, target: Target, folder: Path, scope: str, run: str) -> set[str]:
    try:
        room.restore(target, folder, scope)
        found: set[str] = room.read(target, scope, run)
        return found
    finally:
        room.drop(target, scope)


def _write(writer: Writer, target: Target, run: str) -> set[str]:
    writer.open(target)
    try:
        uids = {f"{run}-0-{number}" for number in range(WRITES)}
        for uid in sorted(uids):
            # A drill on a busy platform meets a refusal now and then, as every client does.
            writing.patiently(writer, uid, TRIES, PAUSE)
    finally:
        writer.close()
    return uids
