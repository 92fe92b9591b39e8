"""The scanner finds what is planted, in whatever form, and never says the value."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from urllib.parse import quote

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests import secret_scan
from tests.secret_scan import Scanner, files_under

VALUE = "s3cr3t+of/the-platform=="
SCANNER = Scanner({"redis/admin": VALUE.encode()})
PLANTED = {
    "plain": VALUE,
    "base64": base64.b64encode(VALUE.encode()).decode(),
    "base64 of user and password": base64.b64encode(f"user:{VALUE}".encode()).decode(),
    "base64 with one byte before": base64.b64encode(f"x{VALUE}yz".encode()).decode(),
    "base64 with two bytes before": base64.b64encode(f"xy{VALUE}".encode()).decode(),
    "base64 for URLs": base64.urlsafe_b64encode(f"?~{VALUE}?".encode()).decode(),
    "URL": f"postgres://admin:{quote(VALUE, safe='')}@host/db",
    "JSON": json.dumps({"password": VALUE}),
}


@pytest.mark.parametrize("how", PLANTED)
def test_a_planted_value_is_found_in_a_log(how: str, tmp_path: Path) -> None:
    log = tmp_path / "logs" / "step.log"
    log.parent.mkdir()
    log.write_text(f"$ a command\nline before {PLANTED[how]} and after\n")
    found = SCANNER.files(files_under(tmp_path))
    assert found, how
    assert {finding.secret for finding in found} == {"redis/admin"}
    assert str(log) in str(found[0])
    assert VALUE not in "".join(map(str, found))


def test_what_is_not_there_is_not_found() -> None:
    assert SCANNER.data("log", b"s3cr3t of another platform\n" * 1000) == []


def test_a_value_across_two_chunks_is_found_with_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secret_scan, "CHUNK", 64)
    data = b"." * 55 + VALUE.encode() + b"." * 300
    (found,) = SCANNER.stream("log", io.BytesIO(data))
    assert found.offset == 55


def test_a_key_is_found_by_any_of_its_lines() -> None:
    pem = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    scanner = Scanner({"pki/ca.key": pem})
    indented = b"\n".join(b"      " + line for line in pem.splitlines())
    escaped = json.dumps(pem.decode()).encode()
    for text in (pem, indented, escaped, base64.b64encode(pem)):
        assert scanner.data("log", text)
    assert scanner.data("log", pem.splitlines()[2])


def test_tokens_and_keys_of_others_are_known_by_their_looks() -> None:
    header, claims = (
        base64.urlsafe_b64encode(t).rstrip(b"=").decode()
        for t in (b'{"alg":"RS256","kid":"x"}', b'{"iss":"kubernetes/serviceaccount"}')
    )
    (token,) = SCANNER.data("log", f'"token":"{header}.{claims}.{"s" * 86}"'.encode())
    assert token.secret == "a signed token (JWT)"
    (key,) = SCANNER.data("log", b"...-----BEGIN EC PRIVATE KEY-----...")
    assert key.secret == "a private key"


def test_a_certificate_is_no_secret() -> None:
    assert list(secret_scan.PEM.findall(b"-----BEGIN CERTIFICATE-----\nMII\n-----END")) == []


def test_what_could_be_found_by_chance_or_never_is_refused() -> None:
    with pytest.raises(ValueError, match="too short to be told from chance: a"):
        Scanner({"a": b"probe", "b": VALUE.encode()})
    with pytest.raises(ValueError, match="nothing to look for"):
        Scanner({})
