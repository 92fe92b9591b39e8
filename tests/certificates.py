"""Certificates that end when a test wants them to."""

from __future__ import annotations

import base64
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

AGE = timedelta(days=81)


def ending(chain: Path, end: datetime) -> bytes:
    """The same leaf and its intermediate, of the same folder and key, with another end."""
    old, intermediate = x509.load_pem_x509_certificates(chain.read_bytes())
    signed = _again(old, intermediate, chain.with_name("intermediate.key").read_bytes(), end)
    return signed + intermediate.public_bytes(serialization.Encoding.PEM)


def plant(folder: Path, name: str, left: timedelta) -> None:
    """A certificate of kubeadm's with another end; below its /etc/kubernetes, a kubeconfig or a file of `pki`."""
    file, end = folder / name, datetime.now(UTC) + left
    base = folder / "pki" / ("etcd" if "etcd" in name else "")
    authority = x509.load_pem_x509_certificate((base / "ca.crt").read_bytes())
    key = (base / "ca.key").read_bytes()
    if name.endswith(".crt"):
        file.write_bytes(_again(x509.load_pem_x509_certificate(file.read_bytes()), authority, key, end))
        return
    (held,) = re.findall(r"client-certificate-data: (\S+)", file.read_text())
    made = _again(x509.load_pem_x509_certificate(base64.b64decode(held)), authority, key, end)
    file.write_text(file.read_text().replace(held, base64.b64encode(made).decode()))


def _again(old: x509.Certificate, authority: x509.Certificate, signer: bytes, end: datetime) -> bytes:
    key = serialization.load_pem_private_key(signer, None)
    made = x509.CertificateBuilder().subject_name(old.subject).issuer_name(authority.subject)
    made = made.public_key(old.public_key()).serial_number(x509.random_serial_number())
    made = made.not_valid_before(datetime.now(UTC) - AGE).not_valid_after(end)
    for extension in old.extensions:
        made = made.add_extension(extension.value, extension.critical)
    signed = made.sign(key, hashes.SHA256())  # type: ignore[arg-type]
    return signed.public_bytes(serialization.Encoding.PEM)
