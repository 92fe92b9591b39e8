"""A token's signature is verified with the standard library alone: right ones, and wrong ones."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from components.identity import probe

KEY = rsa.generate_private_key(65537, 2048)


def packed(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def number(value: int) -> str:
    return packed(value.to_bytes((value.bit_length() + 7) // 8, "big"))


def keys(key: rsa.RSAPrivateKey = KEY) -> dict[str, Any]:
    public = key.public_key().public_numbers()
    return {"keys": [{"kid": "one", "n": number(public.n), "e": number(public.e)}]}


def token(algorithm: str = "RS256", **claims: object) -> str:
    head = packed(json.dumps({"alg": algorithm, "kid": "one"}).encode())
    body = packed(json.dumps(claims).encode())
    mark = KEY.sign(f"{head}.{body}".encode(), padding.PKCS1v15(), hashes.SHA256())
    return f"{head}.{body}.{packed(mark)}"


def test_a_right_signature_gives_the_claims() -> None:
    assert probe.signed(token(iss="here"), keys()) == {"iss": "here"}


def test_an_altered_claim_is_found() -> None:
    head, _, mark = token(roles=["viewer"]).split(".")
    forged = packed(json.dumps({"roles": ["admin"]}).encode())
    with pytest.raises(probe.NotSignedError, match="does not fit"):
        probe.signed(f"{head}.{forged}.{mark}", keys())


def test_another_key_is_found() -> None:
    other = rsa.generate_private_key(65537, 2048)
    with pytest.raises(probe.NotSignedError, match="does not fit"):
        probe.signed(token(), keys(other))


def test_a_token_without_a_signature_is_refused() -> None:
    with pytest.raises(probe.NotSignedError, match="none"):
        probe.signed(token("none"), keys())


def test_a_key_that_the_issuer_does_not_name_is_refused() -> None:
    with pytest.raises(probe.NotSignedError, match="does not name"):
        probe.signed(token(), {"keys": []})
