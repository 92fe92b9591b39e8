"""Derived passwords and the site's certificates."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from components.kit import pki, secrets

ROOT = bytes(range(32))


def test_a_password_never_changes() -> None:
    """A change of the derivation would lock every client out: this value is fixed."""
    assert secrets.derive(ROOT, "kafka/probe", 1) == KNOWN


KNOWN = "cCAVt8uiIYjuqwF4LxZ0R5uv3GyHjNt5"


@given(st.text(min_size=1, max_size=20), st.integers(1, 99), st.text(min_size=1), st.integers(1, 99))
def test_other_names_and_epochs_give_other_passwords(a: str, i: int, b: str, j: int) -> None:
    one, other = secrets.derive(ROOT, a, i), secrets.derive(ROOT, b, j)
    assert (one == other) == ((a, i) == (b, j))
    assert len(one) == 32
    assert set(one) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")


def test_what_is_not_a_root(tmp_path: Path) -> None:
    file = tmp_path / "root.secret"
    with pytest.raises(secrets.SecretError, match="no root secret"):
        secrets.read_root(file)
    file.write_text(ROOT.hex())
    file.chmod(0o644)
    with pytest.raises(secrets.SecretError, match="open to others"):
        secrets.read_root(file)
    file.chmod(0o600)
    assert secrets.read_root(file) == ROOT
    file.write_text("not hex")
    with pytest.raises(secrets.SecretError, match="hex"):
        secrets.read_root(file)
    with pytest.raises(secrets.SecretError, match="32 are needed"):
        secrets.derive(b"short", "x", 1)


@given(st.dictionaries(st.text(max_size=8), st.text(max_size=8), max_size=4))
def test_checksum_ignores_order_and_sees_values(data: dict[str, str]) -> None:
    turned = dict(reversed(list(data.items())))
    assert secrets.checksum(data) == secrets.checksum(turned)
    assert secrets.checksum(data) != secrets.checksum({**data, "more": "1"}) or "more" in data


def read(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def test_a_leaf_is_kept_while_it_fits(tmp_path: Path) -> None:
    folder = tmp_path / "pki"
    pki.ensure_ca(folder, "lab")
    first = pki.ensure_leaf(folder, "kafka-tls", ["b", "a"], ["127.0.0.1"], usage="both")
    assert first.renewed
    leaf, intermediate = x509.load_pem_x509_certificates(first.certificate.read_bytes())
    leaf.verify_directly_issued_by(intermediate)
    intermediate.verify_directly_issued_by(read(first.ca))
    again = pki.ensure_leaf(folder, "kafka-tls", ["a", "b"], ["127.0.0.1"], usage="both")
    assert not again.renewed
    assert pki.ensure_leaf(folder, "kafka-tls", ["a"], ["127.0.0.1"], usage="both").renewed
    assert pki.ensure_leaf(folder, "kafka-tls", ["a"], ["127.0.0.1"], usage="server").renewed
    assert {p.stat().st_mode & 0o777 for p in folder.iterdir()} == {0o600}
    assert sorted(p.name for p in folder.iterdir()) == sorted(
        ["ca.crt", "ca.key", "intermediate.crt", "intermediate.key", "kafka-tls.crt", "kafka-tls.key"]
    )
    assert set(again.secret_data()) == {"tls.crt", "tls.key", "ca.crt"}


def test_renewed_below_thirty_days_and_with_a_new_ca(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pki.ensure_ca(tmp_path, "lab")
    monkeypatch.setattr(pki, "LEAF_LIFE", timedelta(days=31))
    leaf = pki.ensure_leaf(tmp_path, "x", ["x"])
    assert read(leaf.certificate).not_valid_after_utc - datetime.now(UTC) < timedelta(days=31)
    assert not pki.ensure_leaf(tmp_path, "x", ["x"]).renewed
    monkeypatch.setattr(pki, "RENEW_AT", timedelta(days=32))
    assert pki.ensure_leaf(tmp_path, "x", ["x"]).renewed
    monkeypatch.undo()
    (tmp_path / "ca.crt").unlink()
    (tmp_path / "ca.key").unlink()
    pki.ensure_ca(tmp_path, "lab")
    assert pki.ensure_leaf(tmp_path, "x", ["x"]).renewed


def test_the_roots_key_is_needed_only_to_make_an_intermediate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pki.ensure_ca(tmp_path, "lab")
    (tmp_path / "ca.key").unlink()
    pki.ensure_ca(tmp_path, "lab")
    assert pki.ensure_leaf(tmp_path, "x", ["x"]).renewed
    monkeypatch.setattr(pki, "RENEW_AT", timedelta(days=2000))
    with pytest.raises(pki.PkiError, match=r"ca\.key is missing.*intermediate\.crt ends on"):
        pki.ensure_ca(tmp_path, "lab")
    monkeypatch.undo()
    (tmp_path / "intermediate.key").unlink()
    with pytest.raises(pki.PkiError, match=r"ca\.key is missing.*intermediate\.key is missing"):
        pki.ensure_ca(tmp_path, "lab")


@pytest.mark.parametrize("broken", ["intermediate.crt", "intermediate.key", "of another root", "of another key"])
def test_an_intermediate_that_cannot_sign_is_made_anew(broken: str, tmp_path: Path) -> None:
    folder, other = tmp_path / "pki", tmp_path / "other"
    pki.ensure_ca(folder, "lab")
    old = pki.ensure_leaf(folder, "x", ["x"])
    if broken.startswith("of"):
        pki.ensure_ca(other, "lab")
        names = ["intermediate.key", "intermediate.crt"]
        for name in names[: 1 if broken == "of another key" else 2]:
            (folder / name).write_bytes((other / name).read_bytes())
    else:
        (folder / broken).unlink()
    pki.ensure_ca(folder, "lab")
    leaf = pki.ensure_leaf(folder, "x", ["x"])
    assert leaf.renewed
    assert not pki.ensure_leaf(folder, "x", ["x"]).renewed
    chain = x509.load_pem_x509_certificates(leaf.certificate.read_bytes())
    chain[1].verify_directly_issued_by(read(old.ca))


def test_it_is_renewed_half_a_year_before_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pki.ensure_ca(tmp_path, "lab")
    first = read(tmp_path / "intermediate.crt")
    monkeypatch.setattr(pki, "INTERMEDIATE_RENEW_AT", pki.INTERMEDIATE_LIFE + timedelta(days=1))
    pki.ensure_ca(tmp_path, "lab")
    assert read(tmp_path / "intermediate.crt") != first


def test_a_root_certificate_is_made_again_from_its_key(tmp_path: Path) -> None:
    """What a run leaves that died between the two files; what was issued stays good."""
    pki.ensure_ca(tmp_path, "lab")
    pki.ensure_leaf(tmp_path, "x", ["x"])
    (tmp_path / "ca.crt").unlink()
    pki.ensure_ca(tmp_path, "lab")
    assert not pki.ensure_leaf(tmp_path, "x", ["x"]).renewed
    read(tmp_path / "intermediate.crt").verify_directly_issued_by(read(tmp_path / "ca.crt"))


def test_a_key_without_its_certificate_is_made_anew(tmp_path: Path) -> None:
    """What a run leaves that died between the two files."""
    pki.ensure_ca(tmp_path, "lab")
    pki.ensure_leaf(tmp_path, "x", ["x"]).certificate.unlink()
    assert pki.ensure_leaf(tmp_path, "x", ["x"]).renewed


def test_a_leaf_needs_a_name(tmp_path: Path) -> None:
    pki.ensure_ca(tmp_path, "lab")
    with pytest.raises(pki.PkiError, match="at least one"):
        pki.ensure_leaf(tmp_path, "x", [])
