"""The raw records: each result with its digest, and the files that show it."""

from __future__ import annotations

import gzip
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from components.kit.probing import Verdict
from validate.core.model import Result, Run
from validate.core.plain import as_record, digest, dump

FOLDER = "records"
SUITE = "report"


@dataclass(frozen=True)
class Record:
    """One result: where the page shows it, and the digest of its record in results.json."""

    result: Result
    anchor: str
    digest: str


def number(results: Iterable[Result]) -> list[Record]:
    return [Record(result, f"r{n}", digest(dump(as_record(result)))) for n, result in enumerate(results, start=1)]


def collect(run: Run, source: Path | None, folder: Path, wash: Callable[[str], str] | None) -> None:
    """Copies what the results name into `folder`/records and names it relative to `folder`.

    `wash` replaces names in text; a file that is no text is then left out. What is named and not
    there, or lies outside `source`, takes the proof away: an INVALID result tells of it.
    """
    missing: list[str] = []
    left_out: list[str] = []
    kept: dict[str, str] = {}
    for name in dict.fromkeys(name for result in run.results for name in result.records):
        origin = _origin(name, source)
        if origin is None:
            missing.append(name)
            continue
        target = _target(name, wash)
        if _copy(origin, folder / target, wash):
            kept[name] = target
        else:
            left_out.append(name)
    run.results = [replace(r, records=tuple(kept[n] for n in r.records if n in kept)) for r in run.results]
    if left_out:
        run.limits.append(
            f"{len(left_out)} raw records are no text and were left out, because names in them could not be replaced."
        )
    if missing:
        run.results.append(_missing(missing, source))


def _missing(names: Sequence[str], source: Path | None) -> Result:
    where = str(source) if source else "no folder of records was given"
    detail = (
        f"{len(names)} raw records that results name can't be taken from there ({where}): "
        f"{', '.join(names[:5])}{' …' if len(names) > 5 else ''}"
    )
    return Result(SUITE, "records", "raw records are there", Verdict.INVALID, detail, {"missing": list(names)})


def _origin(name: str, source: Path | None) -> Path | None:
    """The file, if it is one and lies inside `source`."""
    if source is None or not name:
        return None
    for base in (source, source / FOLDER):
        path = base / name
        if path.is_file() and path.resolve().is_relative_to(base.resolve()):
            return path
    return None


def _target(name: str, wash: Callable[[str], str] | None) -> str:
    """Below records/, whatever the name said; without what a path must not hold."""
    parts = [p for p in PurePosixPath(name).parts if p not in ("/", "..", ".")]
    if parts and parts[0] == FOLDER:
        parts = parts[1:]
    text = "/".join([FOLDER, *parts])
    return wash(text) if wash else text


def _copy(origin: Path, target: Path, wash: Callable[[str], str] | None) -> bool:
    target.parent.mkdir(parents=True, exist_ok=True)
    if wash is None:
        shutil.copyfile(origin, target)
        return True
    zipped = origin.suffix == ".gz"
    try:
        raw = gzip.decompress(origin.read_bytes()) if zipped else origin.read_bytes()
        text = wash(raw.decode())
    except (UnicodeDecodeError, OSError, EOFError):
        return False
    # mtime 0: the same record is the same bytes.
    target.write_bytes(gzip.compress(text.encode(), mtime=0) if zipped else text.encode())
    return True
