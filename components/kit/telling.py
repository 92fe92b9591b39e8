"""How a job makes what is asked for at a client's service, and what it tells. Standard library only.

It makes what is missing, and nothing that is there gets less. Whatever is otherwise than wanted, or may not be made, is
told with what a person can do, all of it at the end. A room's own folder has this very file by a link, so that its pods
have it, too.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

MOUNTS = Path(os.environ.get("APADANA_MOUNTS", "/etc/apadana"))
PATIENCE_SECONDS = float(os.environ.get("PATIENCE_SECONDS", "180"))  # for a service that does not answer
RETRY_SECONDS = 2.0
SYSTEM_CA = "/etc/ssl/certs/ca-certificates.crt"
WHOLE, AWAY, WRONG = 0, 1, 2  # how the job ends; WRONG: trying again is of no use


@dataclass(frozen=True)
class Given:
    """The files of the pod: `wanted.json`; `account/`, `users/<owner>/` and `before/<owner>` of Secrets."""

    folder: Path = MOUNTS

    @property
    def wanted(self) -> dict[str, Any]:
        """What is asked for."""
        found: dict[str, Any] = json.loads((self.folder / "wanted.json").read_text(encoding="utf-8"))
        return found

    @property
    def account(self) -> Path:
        """Folder of the account that may make things: username, password and perhaps ca.crt."""
        return self.folder / "account"

    @property
    def ca(self) -> str:
        """The service's authority, or the system's own ones."""
        own = self.account / "ca.crt"
        return str(own) if own.is_file() else SYSTEM_CA

    def told(self, name: str, otherwise: str) -> str:
        """What else the account's Secret may say."""
        file = self.account / name
        return _text(file) if file.is_file() else otherwise

    def login(self, owner: str) -> tuple[str, str]:
        """Name and password of a user."""
        return _login(self.folder / "users" / owner)

    @property
    def account_login(self) -> tuple[str, str]:
        """Those of the account that may make things."""
        return _login(self.account)

    def before(self, owner: str) -> str | None:
        """The password that this user of ours had in the epoch before."""
        file = self.folder / "before" / owner
        return _text(file) if file.is_file() else None


def _text(file: Path) -> str:
    return file.read_text(encoding="utf-8").strip()


def _login(folder: Path) -> tuple[str, str]:
    return _text(folder / "username"), _text(folder / "password")


@dataclass
class Report:
    """What was made, and what is wrong; no password gets into it."""

    room: str
    wrong: list[str] = field(default_factory=list)

    def made(self, what: str) -> None:
        """Something was changed."""
        self._log("INFO", what)

    def note(self, what: str) -> None:
        """Worth knowing, and no reason to fail."""
        self._log("WARN", what)

    def differs(self, name: str, wanted: object, found: object, by_hand: str) -> None:
        """Something is there otherwise than it is wanted, and it was left as it is."""
        self.wrong.append(f"{name}\n    wanted: {wanted}\n    is:     {found}\n    to do:  {by_hand}")

    def not_ours(self, name: str, secret: str, by_hand: str, word: str = "password") -> None:
        """A user is there whose password nobody here knows."""
        found = f"there with another {word}, and this platform has not given it"
        self.differs(name, f"the {word} of the Secret {secret}", found, f"remove it, or {by_hand}")

    def refused(self, name: str, why: object, by_hand: str) -> None:
        """The account may not make it: whoever may types `by_hand`."""
        self.wrong.append(f"{name}\n    the account may not: {why}\n    its administrator types: {by_hand}")

    def end(self) -> int:
        """Tell all that is wrong; the code of the process."""
        if not self.wrong:
            self._log("INFO", "everything that is asked for is there")
            return WHOLE
        told = "\n".join(f"- {each}" for each in self.wrong)
        sys.stdout.write(f"{self.room}: {len(self.wrong)} of what is asked for is not as wanted:\n{told}\n")
        sys.stdout.flush()
        return WRONG

    def _log(self, level: str, message: str) -> None:
        line = {"level": level, "logger": f"{self.room}-provision", "message": message}
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()


def run(room: str, once: Callable[[Given, Report], None], away: tuple[type[Exception], ...]) -> int:
    """`once` until it has gone through; it is safe to repeat. `away`: what it raises where nobody answers."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    until = time.monotonic() + PATIENCE_SECONDS
    while True:
        report = Report(room)
        try:
            once(Given(), report)
        except away as error:
            report.note(f"no answer, or no log-in, trying again: {type(error).__name__}: {error}")
            if time.monotonic() > until or stop.wait(RETRY_SECONDS):
                report.note(f"given up after {PATIENCE_SECONDS:.0f} s without an answer")
                return AWAY
        else:
            return report.end()
