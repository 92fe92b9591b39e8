"""The builder's key: it signs a bundle's manifest."""

from __future__ import annotations

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from common import files, keys


def ensure_key(private: Path, public: Path) -> Ed25519PrivateKey:
    """Made on first use, for its owner's eyes only; its public half lies beside it."""
    if not private.exists():
        keys.create(private)
    key = keys.private(private)
    text = keys.public_text(key.public_key())
    if not public.exists() or public.read_bytes() != text:
        files.write(public, text)
    return key
