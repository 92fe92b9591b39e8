"""Certificates that end when a test wants them to."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

AGE = timedelta(days=81)


def ending(chain: Path, end: datetime) -> bytes:
    """The same leaf and its intermediate, of the same folder and key, with another end."""
    old, intermediate = x509.load_pem_x509_certificates(chain.read_bytes())
    signer = chain.with_name("intermediate.key").read_bytes()
    key = serialization.load_pem_private_key(signer, None)
    made = x509.CertificateBuilder().subject_name(old.subject).issuer_name(old.issuer)
    made = made.public_key(old.public_key()).serial_number(x509.random_serial_number())
    made = made.not_valid_before(datetime.now(UTC) - AGE).not_valid_after(end)
    for extension in old.extensions:
        made = made.add_extension(extension.value, extension.critical)
    signed = made.sign(key, hashes.SHA256())  # type: ignore[arg-type]
    pem = serialization.Encoding.PEM
    return signed.public_bytes(pem) + intermediate.public_bytes(pem)
