"""The site's root, intermediate and leaves: files of the site's pki folder, ECDSA P-256.

Leaves live 90 days and are renewed when fewer than 30 are left, or when their names, use or issuer
changed. Every file is made whole and 0600 before it gets its name.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from common import files
from common.errors import Refusal

CA_LIFE = timedelta(days=3650)
INTERMEDIATE_LIFE = timedelta(days=1095)
INTERMEDIATE_RENEW_AT = timedelta(days=180)
LEAF_LIFE = timedelta(days=90)
RENEW_AT = timedelta(days=30)
PRIVATE = 0o600
_BACKDATE = timedelta(minutes=5)  # hosts' clocks differ a little


class PkiError(Refusal):
    """The pki folder cannot be used."""


class Usage(StrEnum):
    """What a leaf is for."""

    SERVER = "server"
    CLIENT = "client"
    BOTH = "both"


@dataclass(frozen=True)
class Leaf:
    """A certificate and its intermediate, its key, the root; the key never shows in a repr."""

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


@dataclass(frozen=True)
class _Issuer:
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey = field(repr=False)


_Extensions = list[tuple[x509.ExtensionType, bool]]  # with: is it critical


def ensure_ca(pki: Path, site: str) -> Path:
    """The site's root and the intermediate that signs its leaves, made on first use.

    Returns ca.crt, which clients trust. The root's key signs intermediates only: once one is
    there, ca.key can be kept elsewhere, and a client's own root needs no key here at all.
    """
    root, key_file = pki / "ca.crt", pki / "ca.key"
    if not root.exists():
        pki.mkdir(parents=True, exist_ok=True, mode=0o700)
        # The key of a run that died before its certificate is as good as a new one.
        key = _load_key(key_file) if key_file.exists() else _make_key(key_file)
        name = _name(f"Apadana CA of {site}")
        made = _issue(name, key, CA_LIFE, None, _authority_uses(key, path_length=1))
        files.write(root, _pem(made), mode=PRIVATE)
    _ensure_intermediate(pki, site)
    return root


def _ensure_intermediate(pki: Path, site: str) -> None:
    certificate, key_file, root_key = (pki / "intermediate.crt", pki / "intermediate.key", pki / "ca.key")
    root = _load(pki / "ca.crt")
    why = _no_intermediate(certificate, key_file, root, renewable=root_key.exists())
    if not why:
        return
    if not root_key.exists():
        raise PkiError(
            f"{root_key} is missing, and it must sign an intermediate: {why}; restore it from the "
            f"escrow for one run, or bring intermediate.crt and intermediate.key of this root"
        )
    key = _make_key(key_file)
    certificate.unlink(missing_ok=True)
    issuer = _Issuer(root, _load_key(root_key))
    name = _name(f"Apadana intermediate of {site}")
    uses = _authority_uses(key, path_length=0)
    files.write(certificate, _pem(_issue(name, key, INTERMEDIATE_LIFE, issuer, uses)), mode=PRIVATE)


def _no_intermediate(certificate: Path, key_file: Path, root: x509.Certificate, *, renewable: bool) -> str:
    """Why this one can't sign; "" if it can. Without the root's key it serves to its last month."""
    try:
        cert = _pair(certificate, key_file, root)
    except PkiError as error:
        return str(error)
    end = cert.not_valid_after_utc
    least = INTERMEDIATE_RENEW_AT if renewable else RENEW_AT
    return "" if end - datetime.now(UTC) > least else f"{certificate} ends on {end:%Y-%m-%d}"


def ensure_leaf(
    pki: Path, name: str, dns_names: Iterable[str], ips: Iterable[str] = (), *, usage: str = Usage.SERVER
) -> Leaf:
    """A leaf `<name>.crt`/`<name>.key` for these names; kept while it fits, else made anew.

    The .crt holds the chain up to the intermediate, as servers and clients are to present it.
    """
    ca_file, certificate, key_file = pki / "ca.crt", pki / f"{name}.crt", pki / f"{name}.key"
    try:
        issuer = _Issuer(_load(pki / "intermediate.crt"), _load_key(pki / "intermediate.key"))
    except FileNotFoundError as error:
        raise PkiError(f"no CA: {error.filename} is missing; ensure_ca makes it") from None
    names = _alternative_names(dns_names, ips)
    wanted = _purposes(Usage(usage))
    if _fits(certificate, key_file, issuer.certificate, names, wanted):
        return Leaf(certificate, key_file, ca_file, renewed=False)
    # Key first: a certificate without its key would be taken for a finished pair.
    certificate.unlink(missing_ok=True)
    key = _make_key(key_file)
    uses: _Extensions = [
        (x509.BasicConstraints(ca=False, path_length=None), True),
        (_key_usage(ca=False), True),
        (x509.ExtendedKeyUsage(wanted), False),
        (x509.SubjectAlternativeName(names), False),
    ]
    made = _issue(_name(name), key, LEAF_LIFE, issuer, uses)
    files.write(certificate, _pem(made) + _pem(issuer.certificate), mode=PRIVATE)
    return Leaf(certificate, key_file, ca_file, renewed=True)


def _issue(
    subject: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    life: timedelta,
    issuer: _Issuer | None,
    extensions: _Extensions,
) -> x509.Certificate:
    """A certificate for this key; self-signed without an issuer, and it never outlives its own."""
    now = datetime.now(UTC)
    end = min(now + life, issuer.certificate.not_valid_after_utc) if issuer else now + life
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATE)
        .not_valid_after(end)
    )
    if issuer:
        made = made.add_extension(_authority(issuer.certificate), critical=False)
    for extension, critical in extensions:
        made = made.add_extension(extension, critical)
    return made.sign(issuer.key if issuer else key, hashes.SHA256())


def _authority_uses(key: ec.EllipticCurvePrivateKey, path_length: int) -> _Extensions:
    return [
        (x509.BasicConstraints(ca=True, path_length=path_length), True),
        (_key_usage(ca=True), True),
        (x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False),
    ]


def _fits(
    certificate: Path,
    key_file: Path,
    issuer: x509.Certificate,
    names: list[x509.GeneralName],
    purposes: list[x509.ObjectIdentifier],
) -> bool:
    try:
        cert = _pair(certificate, key_file, issuer)
        have = cert.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        uses = cert.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except (PkiError, ValueError, x509.ExtensionNotFound):
        # Unreadable, of another CA, without names: whatever it is, it does not fit.
        return False
    return (
        cert.not_valid_after_utc - datetime.now(UTC) > RENEW_AT
        and {str(n.value) for n in have} == {str(n.value) for n in names}
        and set(uses) == set(purposes)
    )


def _pair(certificate: Path, key_file: Path, issuer: x509.Certificate) -> x509.Certificate:
    """The certificate, signed by this issuer and with this key; PkiError says what it is not."""
    for file in (key_file, certificate):
        if not file.exists():
            raise PkiError(f"{file} is missing")
    try:
        cert, key = _load(certificate), _load_key(key_file)
        cert.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, PkiError) as error:
        signer = issuer.subject.rfc4514_string()
        raise PkiError(f"{certificate} and its key are not a pair that {signer} signed ({error})") from None
    if key.public_key() != cert.public_key():
        raise PkiError(f"{key_file} is not the key of {certificate}")
    return cert


def _load(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def _load_key(path: Path) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(path.read_bytes(), None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise PkiError(f"{path} is not an EC key; the site's keys are ECDSA P-256")
    return key


def _make_key(path: Path) -> ec.EllipticCurvePrivateKey:
    key = ec.generate_private_key(ec.SECP256R1())
    files.write(path, _key_pem(key), mode=PRIVATE)
    return key


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


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    # PKCS#8: the one form that PostgreSQL, HAProxy, Valkey, MinIO and Kafka's PEM store all read.
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
