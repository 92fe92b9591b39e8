"""The signature of a bundle's manifest: Ed25519 over the file's bytes."""

from __future__ import annotations

import base64
import binascii
import os
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from bundle import files
from bundle.errors import BundleError


def ensure_key(private: Path, public: Path) -> Ed25519PrivateKey:
    """The builder's key; made on first use, for its owner's eyes only."""
    if not private.exists():
        private.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        made = Ed25519PrivateKey.generate()
        files.write(
            private,
            made.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            ),
            mode=0o600,
        )
    key = load_private(private)
    text = public_text(key.public_key())
    if not public.exists() or public.read_bytes() != text:
        files.write(public, text)
    return key


def load_private(path: Path) -> Ed25519PrivateKey:
    mode = path.stat().st_mode & 0o777
    if mode & 0o077 and os.name == "posix":
        raise BundleError(
            f"the signing key {path} has mode {mode:04o}, only 0600 or 0400 is allowed:"
            f" run `chmod 600 {path}`"
        )
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except ValueError as error:
        raise BundleError(f"{path} is no private key in PEM: {error}") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise BundleError(f"{path} holds a {type(key).__name__}; an Ed25519 key is needed")
    return key


def load_public(path: Path) -> Ed25519PublicKey:
    try:
        key = serialization.load_pem_public_key(path.read_bytes())
    except FileNotFoundError as error:
        raise BundleError(
            f"the public key {path} is missing; it comes from whoever built the bundle, by a way"
            " of its own, never inside the bundle: name it with --key"
        ) from error
    except ValueError as error:
        raise BundleError(f"{path} is no public key in PEM: {error}") from error
    if not isinstance(key, Ed25519PublicKey):
        raise BundleError(f"{path} holds a {type(key).__name__}; an Ed25519 key is needed")
    return key


def public_text(key: Ed25519PublicKey) -> bytes:
    return key.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def sign(raw: bytes, key: Ed25519PrivateKey) -> str:
    return base64.b64encode(key.sign(raw)).decode() + "\n"


def problem(raw: bytes, signature: bytes, key: Ed25519PublicKey) -> str | None:
    """Why the signature does not hold, or None when it does."""
    try:
        plain = base64.b64decode(signature.strip(), validate=True)
    except binascii.Error:
        return "the signature is not base64: it was altered or cut short"
    try:
        key.verify(plain, raw)
    except InvalidSignature:
        return "the signature does not fit: the manifest was altered, or signed with another key"
    return None
