"""The seal: a manifest that lists every file of a report with its digest, and its signature.

manifest.json and manifest.sig lie in the folder; both are also inside the page, so that the page
alone can be proved. The page's own digest is that of the page while its seal was still empty.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from common import keys
from components.kit.probing import Verdict
from validate.core.plain import canonical, digest
from validate.report import signers

PAGE, RESULTS, JUNIT, PDF = "index.html", "results.json", "junit.xml", "report.pdf"
MANIFEST, SIGNATURE = "manifest.json", "manifest.sig"
#: An element that shows nothing and runs nothing; no text of a result can look like it (escaped).
OPEN, CLOSE = '<template id="apadana-seal">', "</template>"
_SEAL = re.compile(rb'<template id="apadana-seal">([A-Za-z0-9+/=.]*)</template>')
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class File(_Part):
    sha256: Digest
    size: Annotated[int, Field(ge=0)]


class Key(_Part):
    """The key that signed. `kind`: the client's own, or one that the lab made for itself."""

    fingerprint: str
    public: str  # base64 of the 32 bytes
    kind: signers.Kind
    owner: str = ""
    not_after: AwareDatetime | None = None

    def load(self) -> Ed25519PublicKey:
        """ValueError when it is none, or when it isn't the one that the fingerprint names."""
        key = Ed25519PublicKey.from_public_bytes(base64.b64decode(self.public, validate=True))
        if keys.fingerprint(key) != self.fingerprint:
            raise ValueError("the key is not the one that its fingerprint names")
        return key


class Previous(_Part):
    """The report before this one: `digest` is that of its manifest."""

    folder: Annotated[str, Field(pattern=r"^[\w][\w.-]*$")]
    digest: Digest


class Manifest(_Part):
    schema_: Literal[1] = Field(alias="schema", default=1)
    site: str
    title: str
    command: str
    verdict: Verdict
    counts: dict[Verdict, int]
    run_id: str
    started: AwareDatetime
    finished: AwareDatetime
    signed_at: AwareDatetime
    bundle_digest: str
    contract_digest: str
    plan_digest: str
    pseudonyms: bool
    witnesses: list[str]
    key: Key
    previous: Previous | None
    files: dict[str, File]

    def dump(self) -> bytes:
        return canonical(self.model_dump(mode="json", by_alias=True))


class SealError(ValueError):
    """A seal or a manifest that can't be read: altered, cut short, or of another program."""


def file_entry(raw: bytes) -> File:
    return File(sha256=digest(raw), size=len(raw))


def file_of(path: Path) -> File:
    """Without holding it in memory: raw records may be large."""
    with path.open("rb") as file:
        told = hashlib.file_digest(file, "sha256").hexdigest()
        return File(sha256=told, size=file.tell())


def list_files(folder: Path, written: Mapping[str, bytes]) -> dict[str, File]:
    """Every file of the folder, and those in hand; names are relative, with slashes."""
    found = {path.relative_to(folder).as_posix(): file_of(path) for path in sorted(folder.rglob("*")) if path.is_file()}
    return found | {name: file_entry(raw) for name, raw in written.items()}


def read(raw: bytes) -> Manifest:
    """A manifest from its bytes."""
    try:
        return Manifest.model_validate_json(raw)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "the whole"
        raise SealError(f"{error.error_count()} mistakes, the first: {place}: {first['msg']}") from error


def fill(page: bytes, manifest: bytes, signature: bytes) -> bytes:
    """The page with its seal. The page must hold the empty one, once."""
    empty = (OPEN + CLOSE).encode()
    if page.count(empty) != 1 or page.count(OPEN.encode()) != 1:
        raise SealError("the page must hold exactly one empty seal")
    inside = base64.b64encode(manifest) + b"." + base64.b64encode(signature)
    return page.replace(empty, OPEN.encode() + inside + CLOSE.encode())


def take(page: bytes) -> tuple[bytes, bytes, bytes]:
    """The page with its seal emptied, the manifest, the signature.

    Strict: one seal, only base64 in it, written as `fill` writes it; else something that the
    signature doesn't cover could be hidden inside.
    """
    found = _SEAL.findall(page)
    if len(found) != 1 or page.count(OPEN.encode()) != 1:
        raise SealError("it holds no seal, or more than one: cut short, altered, or not written by this program")
    parts = found[0].split(b".")
    try:
        manifest, signature = (base64.b64decode(part, validate=True) for part in parts)
    except (binascii.Error, ValueError) as error:
        raise SealError("its seal can't be read: it was altered or cut short") from error
    blank = page.replace(OPEN.encode() + found[0], OPEN.encode())
    if not manifest or fill(blank, manifest, signature) != page:
        raise SealError("its seal is not as it was written: it was altered, or is empty")
    return blank, manifest, signature
