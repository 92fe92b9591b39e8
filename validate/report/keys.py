"""Ed25519 keys of reports: the client's own, or one that the lab makes for itself.

A key is a PEM file. Beside it may lie a JSON file of the same name (report.pem, report.json) with
`owner` and `not_after` (ISO 8601): a key that has expired signs nothing and proves nothing.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import re
import stat
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from validate.core.errors import ValidateError

Kind = Literal["client", "lab"]


class KeyFileError(ValidateError):
    """A key is missing, of the wrong kind, readable by others, expired, or its words are wrong."""


class About(BaseModel):
    """The JSON file beside a key."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    owner: str = ""
    not_after: AwareDatetime | None = None

    def expired(self, now: datetime) -> bool:
        return self.not_after is not None and now > self.not_after


@dataclass(frozen=True)
class Signer:
    private: Ed25519PrivateKey
    about: About
    kind: Kind

    @property
    def public(self) -> Ed25519PublicKey:
        return self.private.public_key()


@dataclass(frozen=True)
class Trusted:
    """A public key that was given by a way of its own."""

    public: Ed25519PublicKey
    about: About


def fingerprint(key: Ed25519PublicKey) -> str:
    """What two people compare: SHA-256 of the key's 32 bytes."""
    return f"sha256:{hashlib.sha256(key.public_bytes_raw()).hexdigest()}"


def client(path: Path, passphrase: bytes | None, now: datetime) -> Signer:
    """The key that was named with --sign-key."""
    signer = Signer(_private(path, passphrase), _about(path), "client")
    _refuse_expired(path, signer.about, now)
    return signer


def site(folder: Path, name: str, now: datetime) -> Signer:
    """The lab's own key; made on first use, its public half beside it."""
    path, public = folder / f"report-{as_file(name)}.pem", public_of(folder, name)
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        _create(path, Ed25519PrivateKey.generate())
    signer = Signer(_private(path, None), _about(path), "lab")
    _refuse_expired(path, signer.about, now)
    text = signer.public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    if not public.exists() or public.read_bytes() != text:
        public.write_bytes(text)
    return signer


def public_of(folder: Path, name: str) -> Path:
    """Where the public half of a site's own key lies."""
    return folder / f"report-{as_file(name)}.pub"


def as_file(name: str) -> str:
    """A site's name as part of a file's: results from elsewhere may hold anything."""
    return re.sub(r"[^\w.-]", "_", name)


def trusted(path: Path) -> Trusted:
    """A public key in PEM."""
    try:
        key = serialization.load_pem_public_key(path.read_bytes())
    except OSError as error:
        raise KeyFileError(f"the public key {path} can't be read: {error.strerror}") from error
    except ValueError as error:
        raise KeyFileError(
            f"{path} is no public key in PEM ({error}); it comes from whoever signs, by a way of "
            "its own, never with the report"
        ) from error
    if not isinstance(key, Ed25519PublicKey):
        raise KeyFileError(f"{path} holds a {type(key).__name__}; an Ed25519 key is needed")
    return Trusted(key, _about(path))


def sign(raw: bytes, key: Ed25519PrivateKey) -> bytes:
    """One line of base64, as the signature of a bundle."""
    return base64.b64encode(key.sign(raw)) + b"\n"


def problem(raw: bytes, signature: bytes, key: Ed25519PublicKey) -> str | None:
    """Why the signature does not hold, or None when it does."""
    try:
        plain = base64.b64decode(signature.removesuffix(b"\n"), validate=True)
    except binascii.Error:
        return "the signature is not base64: it was altered or cut short"
    if base64.b64encode(plain) + b"\n" != signature:
        return "the signature was altered: its text is not how it was written"
    try:
        key.verify(plain, raw)
    except InvalidSignature:
        return "the signature does not fit: what it covers was altered, or signed with another key"
    return None


def _private(path: Path, passphrase: bytes | None) -> Ed25519PrivateKey:
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        raw = path.read_bytes()
    except OSError as error:
        raise KeyFileError(f"the signing key {path} can't be read: {error.strerror}") from error
    if mode & 0o077:
        raise KeyFileError(
            f"the signing key {path} has mode {mode:04o}, only 0600 or 0400 is allowed: run `chmod 600 {path}`"
        )
    try:
        key = serialization.load_pem_private_key(raw, password=passphrase)
    except TypeError as error:  # a passphrase where none is needed, or none where one is
        hint = (
            "is encrypted: give --passphrase-file"
            if passphrase is None
            else ("is not encrypted, and a passphrase was given: leave it out")
        )
        raise KeyFileError(f"the signing key {path} {hint}") from error
    except ValueError as error:
        wrong = (
            "is no private key in PEM"
            if passphrase is None
            else ("is no private key in PEM, or the passphrase is wrong")
        )
        raise KeyFileError(f"the signing key {path} {wrong}") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyFileError(f"{path} holds a {type(key).__name__}; an Ed25519 key is needed")
    return key


def _about(path: Path) -> About:
    words = path.with_suffix(".json")
    if not words.is_file():
        return About()
    try:
        return About.model_validate_json(words.read_bytes())
    except ValidationError as error:
        told = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise KeyFileError(
            f"{words} must hold owner and not_after (2027-01-31T00:00:00Z), or not be there: {told}"
        ) from error


def _refuse_expired(path: Path, about: About, now: datetime) -> None:
    if about.expired(now):
        raise KeyFileError(
            f"the signing key {path} expired on {about.not_after} (now {now:%Y-%m-%d %H:%M} UTC; "
            f"set in {path.with_suffix('.json')}): sign with a key that is valid"
        )


def _create(path: Path, key: Ed25519PrivateKey) -> None:
    """For its owner's eyes only, from the first moment; the first of two writers wins."""
    text = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(text)
    try:
        path.hardlink_to(fresh)
    except FileExistsError:
        pass
    finally:
        fresh.unlink()


def now() -> datetime:
    return datetime.now(UTC)
