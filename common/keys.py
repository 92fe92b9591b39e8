"""Ed25519 keys as PEM files, and signatures as one line of base64: of bundles and of reports."""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import stat
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from common import files
from common.errors import Refusal


class KeyFileError(Refusal):
    """A key is missing, of the wrong kind, readable by others, or its passphrase is wrong."""


def fingerprint(key: Ed25519PublicKey) -> str:
    """What two people compare: SHA-256 of the key's 32 bytes."""
    return f"sha256:{hashlib.sha256(key.public_bytes_raw()).hexdigest()}"


def public_text(key: Ed25519PublicKey) -> bytes:
    """The PEM that `public` reads."""
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def create(path: Path) -> None:
    """A new private key for its owner's eyes only; where two make one, the first wins."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    text = Ed25519PrivateKey.generate().private_bytes(
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


def own(path: Path) -> Ed25519PrivateKey:
    """A key of this machine, made on first use."""
    if not path.exists():
        create(path)
    return private(path)


def publish(key: Ed25519PrivateKey, path: Path) -> None:
    """Its public half, as a file for others; untouched where it is right."""
    text = public_text(key.public_key())
    if not path.exists() or path.read_bytes() != text:
        files.write(path, text)


def private(path: Path, passphrase: bytes | None = None) -> Ed25519PrivateKey:
    """Raises KeyFileError."""
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
            else "is not encrypted, and a passphrase was given: leave it out"
        )
        raise KeyFileError(f"the signing key {path} {hint}") from error
    except ValueError as error:
        or_else = "" if passphrase is None else ", or the passphrase is wrong"
        raise KeyFileError(f"the signing key {path} is no private key in PEM{or_else}") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyFileError(f"{path} holds a {type(key).__name__}; an Ed25519 key is needed")
    return key


def public(path: Path) -> Ed25519PublicKey:
    """Raises KeyFileError."""
    try:
        key = serialization.load_pem_public_key(path.read_bytes())
    except OSError as error:
        raise KeyFileError(
            f"the public key {path} can't be read: {error.strerror}; it comes from whoever signs, "
            "by a way of its own, never with what was signed: name it with --key"
        ) from error
    except ValueError as error:
        raise KeyFileError(
            f"{path} is no public key in PEM ({error}); it comes from whoever signs, by a way of "
            "its own, never with what was signed"
        ) from error
    if not isinstance(key, Ed25519PublicKey):
        raise KeyFileError(f"{path} holds a {type(key).__name__}; an Ed25519 key is needed")
    return key


def sign(raw: bytes, key: Ed25519PrivateKey) -> bytes:
    """One line of base64."""
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
