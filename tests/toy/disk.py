"""A member's journal, and what a cut of power does to it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any


class Disk:
    """Lines of JSON, appended.

    What was not synced lives in this process only, as if it were in the page cache of a host: a
    process that is killed here loses what a host loses when its power is cut, and no more.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / "journal"
        self._unsynced: list[bytes] = []
        self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        self._size = os.fstat(self._file).st_size

    def read(self) -> Iterator[dict[str, Any]]:
        """The records; a torn last line is cut off, as it was never acknowledged."""
        text = self.path.read_bytes()
        whole = text.rfind(b"\n") + 1
        if whole != len(text):
            os.ftruncate(self._file, whole)
            self._size = whole
        for line in text[:whole].splitlines():
            yield json.loads(line)

    def append(self, record: dict[str, Any]) -> None:
        self._unsynced.append(json.dumps(record, separators=(",", ":")).encode() + b"\n")

    def sync(self) -> None:
        """Returns when everything appended would outlive a cut of power; OSError when it can't."""
        if not self._unsynced:
            return
        data = b"".join(self._unsynced)
        try:
            done = 0
            while done < len(data):
                done += os.write(self._file, data[done:])
            os.fsync(self._file)
        except OSError:
            os.ftruncate(self._file, self._size)
            raise
        self._size += len(data)
        self._unsynced.clear()
