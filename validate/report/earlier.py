"""The reports before this one: each names its forerunner by digest, back to the first."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from common import keys
from validate.core.model import Run
from validate.core.plain import digest
from validate.report import changes, reading, seal

LATEST = "latest"
#: How many reports of the same kind tell what is usual, and how far back they are looked for.
COMPARED, WALKED = 8, 200


@dataclass(frozen=True)
class Link:
    """A report of the chain whose manifest is whole."""

    folder: Path
    digest: str
    manifest: seal.Manifest


def newest(root: Path) -> Path | None:
    link = root / LATEST
    return link.resolve() if link.is_symlink() and link.is_dir() else None


def load(folder: Path) -> Link:
    """SealError or OSError when it can't be trusted; the key is the one that it names itself."""
    raw = (folder / seal.MANIFEST).read_bytes()
    manifest = seal.read(raw)
    try:
        key = manifest.key.load()
    except ValueError as error:
        raise seal.SealError(f"its key can't be read: {error}") from error
    wrong = keys.problem(raw, (folder / seal.SIGNATURE).read_bytes(), key)
    if wrong:
        raise seal.SealError(wrong)
    return Link(folder, digest(raw), manifest)


def chain(root: Path) -> Iterator[Link]:
    """From the newest back; ends where a forerunner is gone. SealError where one was altered."""
    folder, wanted = newest(root), ""
    for _ in range(WALKED):
        if folder is None or not (folder / seal.MANIFEST).is_file():
            return
        link = load(folder)
        if wanted and link.digest != wanted:
            raise seal.SealError("it is not the report that its successor names")
        yield link
        previous = link.manifest.previous
        if previous is None:
            return
        folder, wanted = root / previous.folder, previous.digest


def compared(root: Path, run: Run, adapt: Callable[[Run], Run]) -> tuple[seal.Previous | None, changes.Changes]:
    """The link to the forerunner, and what changed since the last report of the same kind.

    `adapt` brings an earlier run's names into this one's (pseudonyms); a report that does not
    verify is not compared with.
    """
    previous: seal.Previous | None = None
    past: list[changes.Past] = []
    why = ""
    try:
        for link in chain(root):
            previous = previous or seal.Previous(folder=link.folder.name, digest=link.digest)
            same = (link.manifest.site, link.manifest.title) == (run.site, run.title)
            if same and link.manifest.finished.timestamp() <= run.finished:
                past.append(_past(link, adapt))
            if len(past) == COMPARED:
                break
    except (seal.SealError, OSError, KeyError) as error:
        why = f"An earlier report does not verify, and nothing is compared with it: {error}."
    return previous, changes.compare(changes.seen(run.results), past, why)


def _past(link: Link, adapt: Callable[[Run], Run]) -> changes.Past:
    raw = (link.folder / seal.RESULTS).read_bytes()
    if digest(raw) != link.manifest.files[seal.RESULTS].sha256:
        raise seal.SealError(f"{link.folder.name}/{seal.RESULTS} was altered")
    try:
        run = adapt(reading.run_from(json.loads(raw)))
    except (ValueError, KeyError, TypeError) as error:
        raise seal.SealError(f"{link.folder.name}/{seal.RESULTS} can't be read: {error}") from error
    return changes.Past(link.folder.name, link.manifest.finished.timestamp(), link.digest, changes.seen(run.results))
