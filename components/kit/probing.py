"""What a room's probe.py is written against. Standard library only: it runs in the image `clients`.

def smoke(target: Target) -> Iterator[Check]: ...
def writer() -> Writer: ...
def primary(target: Target) -> str | None: ...
def whole(target: Target) -> Check: ...
def handover(leader: str, candidate: str) -> Sequence[str]: ...

The last only where an engine can be asked: the command that hands the lead to the candidate, run where the leader runs.

A room of the layer `cluster` has no client: no contract names it, and what it promises only the cluster's admin sees.
Its probe judges Kubernetes' objects instead, on the machine that validates; they are asked for once, for all rooms.
Of namespaces it gets the platform's own and kube-system:

KINDS: tuple[str, ...]                                     # as kubectl names them
def judge(objects: Sequence[Object]) -> Iterator[Check]    # pure; nothing where there is nothing of the room
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

#: Of Kubernetes, as its API tells it.
Object = Mapping[str, Any]


class Verdict(StrEnum):
    """INVALID (nothing was learnt) is never PASS."""

    PASS = "PASS"  # noqa: S105  a verdict
    FAIL = "FAIL"
    INVALID = "INVALID"


@dataclass(frozen=True)
class Check:
    """One thing that was looked at, what came out, and what shows it."""

    name: str
    verdict: Verdict
    detail: str
    evidence: Mapping[str, Any] = field(default_factory=dict)
    seconds: float = 0.0


@dataclass(frozen=True)
class Endpoint:
    """As in the contract: `address` is host:port[,host:port]."""

    protocol: str
    address: str
    tls_server_name: str | None = None

    def hosts(self) -> list[tuple[str, int]]:
        """The addresses, split."""
        pairs = [item.strip().rpartition(":") for item in self.address.split(",")]
        return [(host, int(port)) for host, _, port in pairs]


@dataclass(frozen=True)
class Member:
    """One server of the component."""

    name: str
    node: str | None = None
    role: str = "member"


@dataclass(frozen=True)
class Target:
    """All that a client of the component is given."""

    name: str
    endpoints: Sequence[Endpoint]
    username: str
    password: str = field(repr=False)
    ca_file: str
    client: Mapping[str, object] = field(default_factory=dict)
    members: Sequence[Member] = ()
    extra: Mapping[str, str] = field(default_factory=dict, repr=False)
    patience: float = 0.0
    #: Seconds that everything asked now may take; what needs longer is left out. 0: nobody says.
    budget: float = 0.0

    def within(self, seconds: float) -> float:
        """Seconds to wait for an answer. Who measures a fault gives up soon; who only asks whether
        it works has more patience, and a busy machine is not taken for a broken one."""
        return max(seconds, self.patience)

    def endpoint(self, protocol: str) -> Endpoint:
        """The first endpoint of that protocol."""
        for endpoint in self.endpoints:
            if endpoint.protocol == protocol:
                return endpoint
        known = ", ".join(e.protocol for e in self.endpoints) or "none"
        raise LookupError(f"{self.name} offers no {protocol!r} endpoint (it offers: {known})")


class Writer(Protocol):
    """One client that writes uids `<run>-<client>-<seq>` and reads back what was acknowledged."""

    def open(self, target: Target) -> None:
        """Connect."""

    def write(self, uid: str) -> None:
        """Return only when acknowledged as the contract's client settings demand; else raise."""

    def read_all(self, run: str) -> set[str]:
        """Every uid of that run which the store holds."""

    def close(self) -> None:
        """Let go."""


@dataclass(frozen=True)
class Held:
    """What a store holds of a run, with all that this store can show of it.

    `lanes` are uids in the order in which the store keeps them, one lane for each order that it
    keeps (a partition of a topic); where it keeps none, `ordered` is False and the lane is a heap.
    """

    lanes: Sequence[Sequence[str]]
    repeats: bool = False  # a uid that was stored twice is told twice
    ordered: bool = False
    #: Uids whose content is not what was written; None: the content was not looked at.
    corrupt: Sequence[str] | None = None

    def __iter__(self) -> Iterator[str]:
        return (uid for lane in self.lanes for uid in lane)


class FullWriter(Writer, Protocol):
    """What a Writer may offer beyond a Writer's duties; the audit asks which of it is there.

    `settings` tells what the client really uses, `least` what an acknowledgement must rest on
    whatever the contract says: a value, the least number, or a tuple of allowed values.
    """

    def read_back(self, run: str) -> Held:
        """As `read_all`, with order, repeats and content as far as the store shows them."""

    def read_last(self, run: str, client: int) -> int | None:
        """The newest seq of that client which a reader is given now; None: none of them."""

    def settings(self) -> Mapping[str, object]:
        """Named as in the contract's `client` where that names them; no secrets."""

    def least(self) -> Mapping[str, object]:
        """See above."""


class Stopwatch:
    """Makes Checks that know how long they took."""

    def __init__(self) -> None:
        self._start = time.monotonic()

    @property
    def seconds(self) -> float:
        """Since the start."""
        return time.monotonic() - self._start

    def check(self, name: str, passed: bool, detail: str, **evidence: object) -> Check:
        """A Check that is PASS or FAIL."""
        verdict = Verdict.PASS if passed else Verdict.FAIL
        return Check(name, verdict, detail, evidence, self.seconds)


@contextmanager
def measured() -> Iterator[Stopwatch]:
    """`with measured() as watch: ...; yield watch.check(...)`."""
    yield Stopwatch()


def attempt(name: str, look: Callable[[], tuple[bool, str, Mapping[str, object]]]) -> Check:
    """Run one look at the target; an exception is a FAIL that carries its text."""
    watch = Stopwatch()
    try:
        passed, detail, evidence = look()
    except Exception as error:  # noqa: BLE001  any client library, any error: a client could not do it
        return Check(name, Verdict.FAIL, f"{type(error).__name__}: {error}", {}, watch.seconds)
    return watch.check(name, passed, detail, **evidence)


def judged(name: str, wrong: Sequence[str], told: str, cause: str) -> Check:
    """PASS with what is told, or FAIL with all that is wrong; `cause` is a word of validate/core/causes.py."""
    if wrong:
        return Check(name, Verdict.FAIL, "; ".join(wrong), {"cause": cause, "wrong": list(wrong)})
    return Check(name, Verdict.PASS, told)
