"""What a platform stands on, seen by the validator: hosts, members, objects, and where clients run.

`cluster.py` is a real cluster (lab or site); `local.py` is a platform of processes on this machine,
which is how the engine is tested, and the validator scored, without a cluster.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from components.kit import contract
from validate.ground.machine import Machine
from validate.ground.site import Site


class Client(Protocol):
    """Where the platform's client runs: a pod with the client's secrets, or a local process."""

    @property
    def name(self) -> str: ...

    def run(self, *command: str, timeout: float = 20.0, stdin: bytes | None = None) -> str: ...

    def inside(self, *args: str, timeout: float) -> Iterator[dict[str, Any]]:
        """Runs `python3 -m validate.pod ...` there; its JSON lines as they come."""
        ...

    def checks(self, *args: str, timeout: float) -> Iterator[dict[str, Any]]:
        """As `inside`, the checks alone."""
        ...


@dataclass(frozen=True)
class Member:
    """One server of a component, and the processes it consists of in its host's numbering."""

    component: str
    name: str
    host: str
    pids: tuple[int, ...] = ()
    address: str = ""
    paths: Mapping[str, str] | None = None  # e.g. {"data": "/var/lib/…"} as the host sees them
    role: str = ""
    namespace: str = ""  # "": the platform's


class Ground(Protocol):
    """Everything a suite may ask of the place; each call looks anew."""

    @property
    def site(self) -> Site: ...

    def hosts(self) -> Sequence[str]: ...

    def machine(self, host: str) -> Machine:
        """Root's shell on that host."""
        ...

    def members(self, *components: str) -> Sequence[Member]:
        """Of the named components, else of all: one look, however many are asked for."""
        ...

    def objects(self, kind: str, namespace: str = "") -> Sequence[Mapping[str, Any]]:
        """Kubernetes objects of a namespace, the platform's by default; () where there are none."""
        ...

    def restart(self, member: Member) -> None:
        """Asks it to end; whoever watches over it starts it again."""
        ...

    def execute(self, member: Member, command: Sequence[str], timeout: float) -> str:
        """Runs a command where the member runs, with what it can see."""
        ...

    def client(
        self,
        components: Sequence[contract.Component],
        *,
        role: str = "client",
        avoid: Sequence[str] = (),
        lifetime_s: int = 900,
    ) -> AbstractContextManager[Client]:
        """A client with the code sent to it, on a host outside `avoid`; gone afterwards."""
        ...
