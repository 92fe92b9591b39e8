"""Users at the servers and Sentinels of the client, as an account that may perhaps make them.

Each server has users of its own: they are not replicated, so each one is asked and told.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import redis
from redis.exceptions import ResponseError

from components.redis.provision import by_hand
from components.redis.provision.telling import Report

COMPARED = "apadana-compare"
NO_FILE = "not configured to use an ACL file"


@dataclass(frozen=True)
class User:
    """A user as it is wanted; passwords as the servers keep them, by SHA-256."""

    name: str
    password: str  # wanted
    before: str | None  # of the epoch before
    secret: str
    keys: tuple[str, ...]
    made: bool

    def typed(self, keys: Sequence[str], rules: str) -> str:
        """What a person types for it."""
        return by_hand.user(self.name, self.secret, keys, rules)


def digest(password: str) -> str:
    """As ACL takes it, so that the password is in no command and in no log."""
    return hashlib.sha256(password.encode()).hexdigest()


class Server:
    """One server or Sentinel."""

    def __init__(self, line: Any, name: str, report: Report) -> None:
        self._line, self._name, self._report = line, name, report

    def user(self, wanted: User, keys: Sequence[str], rules: str) -> None:
        """A user with these keys, patterns as ACL writes them, and these rules."""
        what, typed = f"user {wanted.name} at {self._name}", wanted.typed(keys, rules)
        with self._allowed(what, typed):
            rules = self._known(rules)
            has = self._has(wanted.name)
            if not wanted.made:
                lacks = set(keys) - set(has["keys"].split() if has else ())
                found = "not there" if has is None else f"without the keys {' '.join(sorted(lacks))}"
                if has is None or lacks:
                    self._report.differs(what, "a user that the client makes", found, typed)
            elif has is None:
                said = ("resetkeys", *keys, *rules.split())
                self._set(what, typed, wanted.name, "reset", "on", f"#{wanted.password}", *said)
                self._report.made(f"made {what}")
            else:
                self._compare(wanted, has, keys, rules)

    def _compare(self, wanted: User, has: dict[str, Any], keys: Sequence[str], rules: str) -> None:
        what, typed = f"user {wanted.name} at {self._name}", wanted.typed(keys, rules)
        fresh = wanted.password not in has["passwords"]
        if fresh and (wanted.before is None or wanted.before not in has["passwords"]):
            self._report.not_ours(what, wanted.secret, typed)
            return
        same = self._reads_as(rules)
        for part, asked, found in (
            ("state", "on", "on" if "on" in has["flags"] else "off"),
            ("commands", same["commands"], has["commands"]),
            ("channels", same["channels"] or "none", has["channels"] or "none"),
            ("log-in", "by its password", "without any" if "nopass" in has["flags"] else "by its password"),
        ):
            if asked != found:
                self._report.differs(f"{what}, {part}", asked, found, typed)
        if more := set(has["keys"].split()) - set(keys):
            self._report.differs(f"{what}, keys", " ".join(keys) or "none", f"also {' '.join(sorted(more))}", typed)
        missing = [each for each in keys if each not in has["keys"].split()]
        changes = [*([f"#{wanted.password}", f"!{wanted.before}"] if fresh else []), *missing]
        if changes:
            self._set(what, typed, wanted.name, *changes)
            told = [*(["its new password"] if fresh else []), *missing]
            self._report.made(f"{what} got {', '.join(told)}")

    def _known(self, rules: str) -> str:
        """Without the commands that this server lacks: WAITAOF came with Redis 7.2, and before it no rule names it."""
        words = rules.split()
        named = [each for each in words if each[0] in "+-" and each[1] != "@" and "|" not in each]
        found = self._line.execute_command("COMMAND INFO", *(each[1:] for each in named)) if named else []
        lacks = {each for each, info in zip(named, found, strict=True) if info is None}
        return " ".join(each for each in words if each not in lacks)

    def _has(self, name: str) -> dict[str, Any] | None:
        found = self._line.execute_command("ACL", "GETUSER", name)
        return None if found is None else _mapping(found)

    def _reads_as(self, rules: str) -> dict[str, Any]:
        """How this server writes these rules: each version sums them up in its own way. A user that is off, and gone
        again in the same packet, shows it."""
        with self._line.pipeline(transaction=False) as pipe:
            pipe.execute_command("ACL", "SETUSER", COMPARED, "reset", "off", *rules.split())
            pipe.execute_command("ACL", "GETUSER", COMPARED)
            pipe.execute_command("ACL", "DELUSER", COMPARED)
            return _mapping(pipe.execute()[1])

    def _set(self, what: str, typed: str, *words: str) -> None:
        """Set, and kept over a restart, in one packet: who is killed between has done both or nothing."""
        with self._line.pipeline(transaction=False) as pipe:
            pipe.execute_command("ACL", "SETUSER", *words)
            pipe.execute_command("ACL", "SAVE")
            done, kept = pipe.execute(raise_on_error=False)
        if isinstance(done, Exception):
            raise done
        if isinstance(kept, Exception):
            why = "its users are in no file, a restart loses them" if NO_FILE in str(kept) else str(kept)
            how = "set `aclfile`, then ACL SAVE" if NO_FILE in str(kept) else by_hand.SAVE
            self._report.differs(what, "kept over a restart", why, f"{how}; else {typed}")

    @contextmanager
    def _allowed(self, what: str, typed: str) -> Iterator[None]:
        try:
            yield
        except ResponseError as error:  # that the account may not do it is one of them
            self._report.refused(what, error, typed)


def _mapping(found: Any) -> dict[str, Any]:
    """An answer of RESP 2 or 3."""
    return found if isinstance(found, dict) else dict(zip(found[::2], found[1::2], strict=True))


def places(sentinels: Sequence[Any], service: str) -> list[tuple[str, int]]:
    """The primary and its replicas, as a Sentinel that answers names them. Raises ConnectionError of redis."""
    problem: Exception | None = None
    for each in sentinels:
        try:
            primary = each.sentinel_get_master_addr_by_name(service)
            if primary is None:
                raise redis.ConnectionError(f"no Sentinel knows {service!r}: say its name in the account's Secret")
            replicas = each.sentinel_slaves(service)
        except redis.ConnectionError as error:
            problem = error
        else:
            return [(primary[0], int(primary[1])), *((one["ip"], int(one["port"])) for one in replicas)]
    raise redis.ConnectionError(f"no Sentinel answers; the last said: {problem}")
