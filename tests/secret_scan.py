"""Looks for values that must stand nowhere: as they are, and as other programs write them.

A finding names the secret and the place, never the value.
"""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from urllib.parse import quote_from_bytes

SHORTEST = 8  # below that a value is found by chance
CHUNK = 4 << 20
PEM_LINE = 32  # body lines of a key; the last one may be too short to tell anything
# Told by their looks, whoever's they are.
SHAPES = {
    "a signed token (JWT)": re.compile(rb"eyJ[\w-]{16,}\.eyJ[\w-]{16,}\.[\w-]{40,}"),
    "a private key": re.compile(rb"-----BEGIN [A-Z ]{0,20}PRIVATE KEY-----"),
}
LONGEST_SHAPE = 200
PEM = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----(.*?)-----END", re.DOTALL)


@dataclass(frozen=True)
class Finding:
    """Where a secret stands, and in which form."""

    secret: str
    form: str
    place: str
    offset: int

    def __str__(self) -> str:
        return f"{self.place}, byte {self.offset}: {self.secret} ({self.form})"


def parts(name: str, value: bytes) -> Iterator[tuple[str, bytes]]:
    """A key in PEM line by line: what carries it may indent or escape its lines."""
    bodies = PEM.findall(value)
    if not bodies:
        yield name, value.strip()
    for body in bodies:
        for number, line in enumerate(body.split(), start=1):
            if len(line) >= PEM_LINE:
                yield f"{name} line {number}", line


def forms(value: bytes) -> Iterator[tuple[str, bytes]]:
    """The value as it is, in base64 wherever it begins in the encoded text, in a URL, in JSON."""
    seen = {value}
    yield "as it is", value
    for form, other in _encoded(value):
        if other not in seen:
            seen.add(other)
            yield form, other


def _encoded(value: bytes) -> Iterator[tuple[str, bytes]]:
    for shift in range(3):
        text = base64.b64encode(b"\0" * shift + value)
        first = (0, 2, 3)[shift]  # characters that also depend on what stands before
        last = 8 * (shift + len(value)) // 6  # and those that depend on what stands behind
        yield "base64", text[first:last]
        yield "base64 for URLs", text[first:last].translate(bytes.maketrans(b"+/", b"-_"))
    yield "in a URL", quote_from_bytes(value, safe="").encode()
    yield "in JSON", json.dumps(value.decode(errors="replace"))[1:-1].encode()


class Scanner:
    """Searches streams for all forms of all secrets."""

    def __init__(self, secrets: Mapping[str, bytes]) -> None:
        short = sorted(name for name, value in secrets.items() if len(value.strip()) < SHORTEST)
        if short:
            raise ValueError(f"too short to be told from chance: {', '.join(short)}")
        self.needles = {
            needle: (part, form)
            for name, value in secrets.items()
            for part, piece in parts(name, value)
            for form, needle in forms(piece)
        }
        if not self.needles:
            raise ValueError("there is nothing to look for: a scan that finds nothing says nothing")
        self.overlap = max([LONGEST_SHAPE, *map(len, self.needles)]) - 1

    def stream(self, place: str, source: IO[bytes]) -> list[Finding]:
        """The first place of each needle, and of each shape, in a stream of any length."""
        found: dict[bytes | str, Finding] = {}
        offset, tail = 0, b""
        while chunk := source.read(CHUNK):
            window = tail + chunk
            for needle, (secret, form) in self.needles.items():
                at = -1 if needle in found else window.find(needle)
                if at >= 0:
                    found[needle] = Finding(secret, form, place, offset - len(tail) + at)
            for shape, pattern in SHAPES.items():
                match = None if shape in found else pattern.search(window)
                if match:
                    at = offset - len(tail) + match.start()
                    found[shape] = Finding(shape, "by its looks", place, at)
            offset += len(chunk)
            tail = window[-self.overlap :]
        return list(found.values())

    def data(self, place: str, data: bytes) -> list[Finding]:
        return self.stream(place, io.BytesIO(data))

    def files(self, paths: Iterable[Path]) -> list[Finding]:
        found = []
        for path in paths:
            with path.open("rb") as source:
                found += self.stream(str(path), source)
        return found


def files_under(*roots: Path) -> list[Path]:
    """Every plain file, not through links."""
    return sorted(path for root in roots for path in root.rglob("*") if path.is_file() and not path.is_symlink())
