"""The site's CA and its leaves: files of the site's pki folder, ECDSA P-256.

Leaves live 90 days and are renewed when fewer than 30 are left, or when their names, use or CA
changed. Every file is made whole and 0600 before it gets its name.
"""

from __future__ import annotations

import ipaddress
import os
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

CA_LIFE = timedelta(days=3650)
LEAF_LIFE = timedelta(days=90)
RENEW_AT = timedelta(days=30)
_BACKDATE = timedelta(minutes=5)  # hosts' clocks differ a little


class PkiError(Exception):
    """The pki folder cannot be used."""


class Usage(StrEnum):
    """What a leaf is for."""

    SERVER = "server"
    CLIENT = "client"
    BOTH = "both"


@dataclass(frozen=True)
class Leaf:
    """A certificate with its key and CA; the key never shows in a repr."""

    certificate: Path
    key: Path
    ca: Path
    renewed: bool

    def secret_data(self) -> dict[str, str]:
        """As a Secret of the namespace holds it."""
        return {
            "tls.crt": self.certificate.read_text(encoding="ascii"),
            "tls.key": self.key.read_text(encoding="ascii"),
            "ca.crt": self.ca.read_text(encoding="ascii"),
        }


def ensure_ca(pki: Path, site: str) -> Path:
    """The site's CA certificate, made on first use; returns ca.crt."""
    certificate, key_file = pki / "ca.crt", pki / "ca.key"
    if certificate.exists() and key_file.exists():
        return certificate
    if certificate.exists() or key_file.exists():
        missing = key_file if certificate.exists() else certificate
        raise PkiError(f"{missing} is missing beside its pair; restore it from the escrow")
    pki.mkdir(parents=True, exist_ok=True, mode=0o700)
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name(f"Apadana CA of {site}")
    now = datetime.now(UTC)
    cert = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATE)
        .not_valid_after(now + CA_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=1), critical=True)
        .add_extension(_key_usage(ca=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    _write(key_file, _key_pem(key))
    _write(certificate, cert.public_bytes(serialization.Encoding.PEM))
    return certificate


def ensure_leaf(
    pki: Path,
    name: str,
    dns_names: Iterable[str],
    ips: Iterable[str] = (),
    *,
    usage: str = Usage.SERVER,
) -> Leaf:
    """A leaf `<name>.crt`/`<name>.key` for these names; kept while it fits, else made anew."""
    ca_file, certificate, key_file = pki / "ca.crt", pki / f"{name}.crt", pki / f"{name}.key"
    ca, ca_key = _load_ca(pki)
    names = _alternative_names(dns_names, ips)
    wanted = _purposes(Usage(usage))
    if _fits(certificate, key_file, ca, names, wanted):
        return Leaf(certificate, key_file, ca_file, renewed=False)
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.now(UTC)
    cert = (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .issuer_name(ca.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATE)
        .not_valid_after(min(now + LEAF_LIFE, ca.not_valid_after_utc))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(ca=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(wanted), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(_authority(ca), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    # Key first: a certificate without its key would be taken for a finished pair.
    certificate.unlink(missing_ok=True)
    _write(key_file, _key_pem(key))
    _write(certificate, cert.public_bytes(serialization.Encoding.PEM))
    return Leaf(certificate, key_file, ca_file, renewed=True)


def _fits(
    certificate: Path,
    key_file: Path,
    ca: x509.Certificate,
    names: list[x509.GeneralName],
    purposes: list[x509.ObjectIdentifier],
) -> bool:
    if not (certificate.exists() and key_file.exists()):
        return False
    try:
        cert = x509.load_pem_x509_certificate(certificate.read_bytes())
        key = serialization.load_pem_private_key(key_file.read_bytes(), None)
        cert.verify_directly_issued_by(ca)
        have = cert.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        uses = cert.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except (ValueError, TypeError, InvalidSignature, x509.ExtensionNotFound):
        # Unreadable, of another CA, without names: whatever it is, it does not fit.
        return False
    return (
        key.public_key() == cert.public_key()
        and cert.not_valid_after_utc - datetime.now(UTC) > RENEW_AT
        and {str(n.value) for n in have} == {str(n.value) for n in names}
        and set(uses) == set(purposes)
    )


def _load_ca(pki: Path) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    try:
        cert = x509.load_pem_x509_certificate((pki / "ca.crt").read_bytes())
        key = serialization.load_pem_private_key((pki / "ca.key").read_bytes(), None)
    except FileNotFoundError as error:
        raise PkiError(f"no CA: {error.filename} is missing; ensure_ca makes it") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise PkiError(f"{pki / 'ca.key'} is not an EC key; the site's CA is ECDSA P-256")
    return cert, key


def _alternative_names(dns: Iterable[str], ips: Iterable[str]) -> list[x509.GeneralName]:
    found: list[x509.GeneralName] = [x509.DNSName(name) for name in sorted(set(dns))]
    found += [x509.IPAddress(ipaddress.ip_address(ip)) for ip in sorted(set(ips))]
    if not found:
        raise PkiError("a leaf needs at least one DNS name or address")
    return found


def _purposes(usage: Usage) -> list[x509.ObjectIdentifier]:
    server, client = ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH
    return {Usage.SERVER: [server], Usage.CLIENT: [client], Usage.BOTH: [server, client]}[usage]


def _authority(ca: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    try:
        subject = ca.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    except x509.ExtensionNotFound:  # a CA that the client brought may lack it
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(_ec(ca.public_key()))
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(subject)


def _ec(key: object) -> ec.EllipticCurvePublicKey:
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise PkiError("the CA's key is not an EC key; the site's CA is ECDSA P-256")
    return key


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common[:64])])


def _key_usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=ca,
        crl_sign=ca,
        encipher_only=False,
        decipher_only=False,
    )


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    # PKCS#8: the one form that PostgreSQL, HAProxy, Valkey, MinIO and Kafka's PEM store all read.
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _write(path: Path, data: bytes) -> None:
    """Whole or not at all, 0600 from its first moment (mkstemp)."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
