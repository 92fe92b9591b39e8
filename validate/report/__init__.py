"""Writes a run as one HTML page, JUnit and JSON, under <state root>/reports/<site>/<time>/."""

from __future__ import annotations

import json
import os
import time
from datetime import UTC, datetime
from pathlib import Path

from validate.model import Run
from validate.report import html, junit


def write(root: Path, run: Run) -> Path:
    """The folder of this report; `latest` points to it once all files are there."""
    run.finished = run.finished or time.time()
    folder = _new_folder(root, run)
    data = json.dumps(run.as_dict(), indent=1, default=str, sort_keys=True) + "\n"
    (folder / "results.json").write_text(data)
    (folder / "junit.xml").write_text(junit.render(run))
    # A store's message may hold halves of surrogate pairs, which no encoding knows.
    (folder / "index.html").write_bytes(html.render(run).encode("utf-8", "replace"))
    link = root / f".latest-{os.getpid()}"
    link.unlink(missing_ok=True)
    link.symlink_to(folder.name)
    link.replace(root / "latest")
    return folder


def _new_folder(root: Path, run: Run) -> Path:
    stamp = datetime.fromtimestamp(run.finished, UTC).strftime("%Y%m%dT%H%M%SZ")
    for number in range(100):
        folder = root / (f"{stamp}-{number}" if number else stamp)
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        return folder
    raise FileExistsError(f"{root}: a hundred reports in the second {stamp}")
