"""Keys of reports: one that is not fit is refused, and the results are kept all the same."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from common import keys
from components.kit.probing import Verdict
from tests import reports
from tests.reports import client_key, make, write
from validate import report
from validate.core.errors import ValidateError
from validate.report import signers
from validate.report.options import Options


def _readable(path: Path) -> None:
    path.chmod(0o640)


def _other_kind(path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )


def _expired(path: Path) -> None:
    path.with_suffix(".json").write_text('{"not_after": "2020-01-01T00:00:00Z"}')


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (_readable, "mode 0640.*chmod 600"),
        (_other_kind, "holds a EC.*an Ed25519 key is needed"),
        (_expired, "expired on 2020-01-01"),
        (lambda path: path.write_text("nonsense"), "no private key in PEM"),
        (lambda path: path.unlink(), "can't be read"),
        (lambda path: path.with_suffix(".json").write_text("{"), "must hold owner and not_after"),
        (lambda path: path.with_suffix(".json").write_text('{"until": 1}'), "until"),
        (lambda path: path.with_suffix(".json").write_text('{"not_after": "2027-01-01T00:00"}'), "timezone"),
    ],
)
def test_a_key_that_is_not_fit_is_refused_before_and_after(
    tmp_path: Path, spoil: Callable[[Path], object], words: str
) -> None:
    path = client_key(tmp_path)
    spoil(path)
    options = Options(sign_key=path)
    root = reports.root(tmp_path)
    with pytest.raises(keys.KeyFileError, match=words):
        report.prepare(root, "lab", options)
    with pytest.raises(ValidateError, match=f"(?s){words}.*kept, unsigned"):
        report.write(root, make(Verdict.FAIL), options)
    (kept,) = root.glob("2*-unsigned")
    assert [p.name for p in kept.iterdir()] == ["results.json"]
    assert json.loads((kept / "results.json").read_text())["verdict"] == "FAIL"
    assert not (root / "latest").exists()


@pytest.mark.parametrize("by", ["file", "environment"])
def test_a_passphrase_comes_from_a_file_or_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    path = client_key(tmp_path, phrase=b"open sesame")
    with pytest.raises(keys.KeyFileError, match="is encrypted: give --passphrase-file"):
        report.prepare(reports.root(tmp_path), "lab", Options(sign_key=path))
    phrase = tmp_path / "phrase"
    phrase.write_text("open sesame\n")
    options = Options(sign_key=path, passphrase_file=phrase)
    if by == "environment":
        monkeypatch.setenv("APADANA_SIGN_PASSPHRASE", "open sesame")
        options = Options(sign_key=path)
    folder = write(tmp_path, make(Verdict.PASS), **options.__dict__)
    for file in folder.rglob("*"):
        assert b"open sesame" not in file.read_bytes()
    phrase.write_text("wrong")
    with pytest.raises(keys.KeyFileError, match="passphrase is wrong"):
        options = Options(sign_key=path, passphrase_file=phrase)
        report.prepare(reports.root(tmp_path), "lab", options)
    clear = client_key(tmp_path)
    with pytest.raises(keys.KeyFileError, match="is not encrypted, and a passphrase was given"):
        report.prepare(reports.root(tmp_path), "lab", Options(clear, phrase))


def test_the_labs_own_key_is_made_once_and_said_to_be_its_own(tmp_path: Path) -> None:
    first, second = (write(tmp_path, make(Verdict.PASS)) for _ in range(2))
    path = tmp_path / "keys" / "report-lab.pem"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    told = [json.loads((f / "manifest.json").read_text())["key"] for f in (first, second)]
    assert told[0] == told[1] and told[0]["kind"] == "lab"
    assert "It is not the client's key" in (first / "index.html").read_text()
    assert not list((tmp_path / "reports").rglob("*.pem"))


def test_a_sites_name_leads_no_key_out_of_its_folder(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    signers.site(folder, "../../../etc/x", datetime.now(UTC))
    assert {p.name for p in folder.iterdir()} == {"report-.._.._.._etc_x.pem", "report-.._.._.._etc_x.pub"}


def test_two_who_make_the_key_at_once_get_the_same_one(tmp_path: Path) -> None:
    one = signers.site(tmp_path, "lab", datetime.now(UTC))
    (tmp_path / "report-lab.pub").unlink()
    other = signers.site(tmp_path, "lab", datetime.now(UTC))
    assert keys.fingerprint(one.public) == keys.fingerprint(other.public)
    assert (tmp_path / "report-lab.pub").is_file()


@pytest.mark.parametrize("text", ["", "nonsense", "-----BEGIN PUBLIC KEY-----\nAAAA\n"])
def test_a_public_key_that_is_none_is_said_to_be_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "k.pub").write_text(text)
    with pytest.raises(keys.KeyFileError, match="no public key in PEM"):
        signers.trusted(tmp_path / "k.pub")
