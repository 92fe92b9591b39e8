"""What a report is asked to be: who signs it, who saw it, what must not be read in it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from common import keys
from validate.report import register, signers

KEY, PASSPHRASE, PASSPHRASE_FILE = ("APADANA_SIGN_KEY", "APADANA_SIGN_PASSPHRASE", "APADANA_SIGN_PASSPHRASE_FILE")


@dataclass(frozen=True)
class Options:
    """`records`: the folder that the raw records of results are named from.

    `sign_key`: the client's private key in PEM; without one the lab signs with a key of its own.
    `paper`: owners of clauses that no test proves. `names`: further names to replace.
    """

    sign_key: Path | None = None
    passphrase_file: Path | None = None
    witnesses: Sequence[str] = ()
    pseudonyms: bool = False
    names: Sequence[str] = ()
    paper: Path | None = None
    records: Path | None = None
    run_id: str = ""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Options:
        """For callers that ask no one: the key and its passphrase."""
        key, file = environment.get(KEY), environment.get(PASSPHRASE_FILE)
        return cls(sign_key=Path(key) if key else None, passphrase_file=Path(file) if file else None)

    def passphrase(self) -> bytes | None:
        """From the file, else from the environment; a trailing line end is none of it."""
        if self.passphrase_file is not None:
            try:
                raw = self.passphrase_file.read_bytes()
            except OSError as error:
                raise keys.KeyFileError(
                    f"the passphrase file {self.passphrase_file} can't be read: {error.strerror}"
                ) from error
            return raw.rstrip(b"\r\n")
        word = os.environ.get(PASSPHRASE)
        return word.encode() if word else None

    def signer(self, reports: Path, site: str, now: datetime) -> signers.Signer:
        if self.sign_key is not None:
            return signers.client(self.sign_key, self.passphrase(), now)
        return signers.site(keys_folder(reports), site, now)


def keys_folder(reports: Path) -> Path:
    """<state root>/keys beside <state root>/reports; for a report elsewhere, hidden beside it."""
    if reports.parent.name == "reports":
        return reports.parent.parent / "keys"
    return reports / ".keys"


def prepare(reports: Path, site: str, options: Options | None = None) -> None:
    """Refuses at once what would keep a report from being signed hours later."""
    options = options or Options.from_environment()
    options.signer(reports, site, signers.now())
    register.load(options.paper)
