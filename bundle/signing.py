"""The builder's key: it signs a bundle's manifest."""

from __future__ import annotations

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from common import keys


def ensure_key(private: Path, public: Path) -> Ed25519PrivateKey:
    """Made on first use, for its owner's eyes only; its public half lies beside it."""
    key = keys.own(private)
    keys.publish(key, public)
    return key
