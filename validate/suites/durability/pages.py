"""One file on a disk that is slow to be told: what was synced, and what only memory holds."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

PAGE = 4096


class FileContent:
    """Bytes of a file. `disk` holds what was synced and nothing else; the rest is in memory.

    `valid` is how much of the disk's content still counts: a file that was cut short and grew
    again must read as zeros there, although the disk still holds the old bytes.
    """

    def __init__(self, disk: Path) -> None:
        self.disk = disk
        self.size = self.valid = self._on_disk = disk.lstat().st_size
        self.dirty: dict[int, bytearray] = {}
        self._open: int | None = None

    @property
    def unsynced(self) -> int:
        """Bytes in pages that a cut of power would take."""
        return len(self.dirty) * PAGE

    def read(self, offset: int, length: int) -> bytes:
        end = min(offset + length, self.size)
        if end <= offset:
            return b""
        first, last = offset // PAGE, (end - 1) // PAGE
        if not any(page in self.dirty for page in range(first, last + 1)):
            return self._stored(offset, end)
        whole = b"".join(self._page(page) for page in range(first, last + 1))
        return whole[offset - first * PAGE : end - first * PAGE]

    def write(self, offset: int, data: bytes) -> range:
        """Returns the pages that it touched; they are in memory only."""
        for page, start, piece in _pieces(offset, data):
            held = self.dirty.get(page)
            if held is None:
                held = self.dirty[page] = bytearray(self._page(page))
            held[start : start + len(piece)] = piece
        self.size = max(self.size, offset + len(data))
        return range(offset // PAGE, (offset + len(data) - 1) // PAGE + 1)

    def resize(self, size: int) -> None:
        if size < self.size:
            edge, rest = divmod(size, PAGE)
            for page in [p for p in self.dirty if p * PAGE >= size]:
                del self.dirty[page]
            if rest and edge in self.dirty:
                self.dirty[edge][rest:] = bytes(PAGE - rest)
            self.valid = min(self.valid, size)
        self.size = size

    def sync(self) -> None:
        """From now on all of it outlives a cut of power."""
        if not self.dirty and self.size == self._on_disk == self.valid:
            return
        for page in sorted(self.dirty):
            self._store(page)
        self.dirty.clear()
        if self._on_disk != self.size or self.valid != self.size:
            self._shorten()
            os.ftruncate(self._file(), self.size)
        self.valid = self._on_disk = self.size

    def store_early(self, page: int) -> None:
        """One page reaches the disk unasked, as the kernel's writeback may do it.

        Alone where it replaces another; but a file grows in order, as on ext4 and XFS: a page
        beyond its end on the disk takes those before it along.
        """
        if page not in self.dirty:
            return
        first = min(page, self.valid // PAGE)
        for one in sorted(p for p in self.dirty if first <= p <= page):
            if one == page or (one + 1) * PAGE > self.valid:
                self._store(one)
                del self.dirty[one]

    def drop(self) -> None:
        """The file is gone from every name: nothing of it will be asked for."""
        self.dirty.clear()
        if self._open is not None:
            os.close(self._open)
            self._open = None

    def _store(self, page: int) -> None:
        self._shorten()
        start = page * PAGE
        data = self.dirty[page][: max(0, self.size - start)]
        os.pwrite(self._file(), data, start)
        self._on_disk = max(self._on_disk, start + len(data))
        self.valid = max(self.valid, start + len(data))

    def _shorten(self) -> None:
        """Before anything new: what was cut off must not come back between the new pages."""
        if self.valid < self._on_disk:
            os.ftruncate(self._file(), self.valid)
            self._on_disk = self.valid

    def _page(self, page: int) -> bytes | bytearray:
        held = self.dirty.get(page)
        return self._stored(page * PAGE, (page + 1) * PAGE) if held is None else held

    def _stored(self, offset: int, end: int) -> bytes:
        """From the disk as far as that is valid, then zeros."""
        until = min(end, self.valid)
        data = os.pread(self._file(), until - offset, offset) if until > offset else b""
        return data.ljust(end - offset, b"\0")

    def _file(self) -> int:
        if self._open is None:
            self._open = os.open(self.disk, os.O_RDWR)
        return self._open


def _pieces(offset: int, data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """(page, offset in the page, bytes) of each page that the data touches."""
    done = 0
    while done < len(data):
        page, start = divmod(offset + done, PAGE)
        piece = data[done : done + PAGE - start]
        yield page, start, piece
        done += len(piece)
