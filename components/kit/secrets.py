"""Passwords of our own services: derived from the site's root secret, by name and epoch.

Nothing is stored: the same root, name and epoch give the same password; a new epoch gives an
unrelated one. Keys that protect data are not made here (they are random, and wrapped).
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from common.errors import Refusal

ROOT_BYTES = 32
_PASSWORD_BYTES = 24  # 192 bits: 32 characters of url-safe base64 without padding


class SecretError(Refusal):
    """The root secret cannot be used."""


def derive(root: bytes, name: str, epoch: int) -> str:
    """A password of 32 url-safe characters for `name` (say `kafka/probe`) in this epoch."""
    if len(root) < ROOT_BYTES:
        raise SecretError(f"the root secret has {len(root)} bytes; {ROOT_BYTES} are needed")
    if not name or epoch < 1:
        raise SecretError(f"name {name!r} and epoch {epoch}: a name and an epoch >= 1 are needed")
    # The length before the name keeps ("a/1", 2) and ("a", 12) apart.
    info = f"apadana/password/v1/{len(name)}:{name}/{epoch}".encode()
    raw = HKDF(hashes.SHA256(), _PASSWORD_BYTES, b"apadana", info).derive(root)
    return base64.urlsafe_b64encode(raw).decode()


def read_root(path: Path) -> bytes:
    """The root secret of a site, a file of hex digits that only its owner can read."""
    try:
        mode = path.stat().st_mode
        root = bytes.fromhex(path.read_text(encoding="ascii").strip())
    except FileNotFoundError:
        raise SecretError(
            f"no root secret at {path}; the site is made first (`make up`, or the tenant playbook)"
        ) from None
    except (ValueError, UnicodeDecodeError):
        raise SecretError(f"{path} does not hold hex digits; restore it from escrow") from None
    if mode & 0o077:
        raise SecretError(f"{path} is open to others (mode {mode & 0o777:o}); chmod 600 it")
    return root


def checksum(*data: Mapping[str, str]) -> str:
    """Digest of secret data, for the annotation that rolls pods; not reversible, 16 digits."""
    digest = hashlib.sha256()
    for mapping in data:
        for key in sorted(mapping):
            for part in (key, mapping[key]):
                digest.update(len(part).to_bytes(4, "big") + part.encode())
    return digest.hexdigest()[:16]
