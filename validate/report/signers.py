"""Ed25519 keys of reports: the client's own, or one that the lab makes for itself.

A key is a PEM file. Beside it may lie a JSON file of the same name (report.pem, report.json) with
`owner` and `not_after` (ISO 8601): a key that has expired signs nothing and proves nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from common import keys

Kind = Literal["client", "lab"]


class About(BaseModel):
    """The JSON file beside a key."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    owner: str = ""
    not_after: AwareDatetime | None = None

    def expired(self, now: datetime) -> bool:
        return self.not_after is not None and now > self.not_after


@dataclass(frozen=True)
class Signer:
    private: Ed25519PrivateKey
    about: About
    kind: Kind

    @property
    def public(self) -> Ed25519PublicKey:
        return self.private.public_key()


@dataclass(frozen=True)
class Trusted:
    """A public key that was given by a way of its own."""

    public: Ed25519PublicKey
    about: About


def client(path: Path, passphrase: bytes | None, now: datetime) -> Signer:
    """The key that was named with --sign-key."""
    signer = Signer(keys.private(path, passphrase), _about(path), "client")
    _refuse_expired(path, signer.about, now)
    return signer


def site(folder: Path, name: str, now: datetime) -> Signer:
    """The lab's own key; made on first use, its public half beside it."""
    path, public = folder / f"report-{as_file(name)}.pem", public_of(folder, name)
    signer = Signer(keys.own(path), _about(path), "lab")
    _refuse_expired(path, signer.about, now)
    keys.publish(signer.private, public)
    return signer


def public_of(folder: Path, name: str) -> Path:
    """Where the public half of a site's own key lies."""
    return folder / f"report-{as_file(name)}.pub"


def as_file(name: str) -> str:
    """A site's name as part of a file's: results from elsewhere may hold anything."""
    return re.sub(r"[^\w.-]", "_", name)


def trusted(path: Path) -> Trusted:
    """A public key in PEM."""
    return Trusted(keys.public(path), _about(path))


def _about(path: Path) -> About:
    words = path.with_suffix(".json")
    if not words.is_file():
        return About()
    try:
        return About.model_validate_json(words.read_bytes())
    except ValidationError as error:
        told = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise keys.KeyFileError(
            f"{words} must hold owner and not_after (2027-01-31T00:00:00Z), or not be there: {told}"
        ) from error


def _refuse_expired(path: Path, about: About, now: datetime) -> None:
    if about.expired(now):
        raise keys.KeyFileError(
            f"the signing key {path} expired on {about.not_after} (now {now:%Y-%m-%d %H:%M} UTC; "
            f"set in {path.with_suffix('.json')}): sign with a key that is valid"
        )


def now() -> datetime:
    return datetime.now(UTC)
