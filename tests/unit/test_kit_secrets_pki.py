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


@given(
    st.text(min_size=1, max_size=20), st.integers(1, 99), st.text(min_size=1), st.integers(1, 99)
)
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
    read(first.certificate).verify_directly_issued_by(read(first.ca))
    again = pki.ensure_leaf(folder, "kafka-tls", ["a", "b"], ["127.0.0.1"], usage="both")
    assert not again.renewed
    assert pki.ensure_leaf(folder, "kafka-tls", ["a"], ["127.0.0.1"], usage="both").renewed
    assert pki.ensure_leaf(folder, "kafka-tls", ["a"], ["127.0.0.1"], usage="server").renewed
    assert {p.stat().st_mode & 0o777 for p in folder.iterdir()} == {0o600}
    assert sorted(p.name for p in folder.iterdir()) == sorted(
        ["ca.crt", "ca.key", "kafka-tls.crt", "kafka-tls.key"]
    )
    assert set(again.secret_data()) == {"tls.crt", "tls.key", "ca.crt"}


def test_renewed_below_thirty_days_and_with_a_new_ca(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
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


def test_half_a_ca_is_refused(tmp_path: Path) -> None:
    pki.ensure_ca(tmp_path, "lab")
    (tmp_path / "ca.key").unlink()
    with pytest.raises(pki.PkiError, match=r"ca\.key is missing"):
        pki.ensure_ca(tmp_path, "lab")


def test_a_key_without_its_certificate_is_made_anew(tmp_path: Path) -> None:
    """What a run leaves that died between the two files."""
    pki.ensure_ca(tmp_path, "lab")
    pki.ensure_leaf(tmp_path, "x", ["x"]).certificate.unlink()
    assert pki.ensure_leaf(tmp_path, "x", ["x"]).renewed


def test_a_leaf_needs_a_name(tmp_path: Path) -> None:
    pki.ensure_ca(tmp_path, "lab")
    with pytest.raises(pki.PkiError, match="at least one"):
        pki.ensure_leaf(tmp_path, "x", [])
