"""Where an onlooker stands: each place runs onlooker.py with a list of wishes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from validate.chaos.envelope import text
from validate.chaos.located import Located
from validate.ground import Client
from validate.ground.machine import Machine


class Eyes(Protocol):
    @property
    def name(self) -> str: ...

    def look(self, wishes: Sequence[Mapping[str, Any]], timeout: float) -> list[Any]:
        """Runs onlooker.py there."""
        ...


@dataclass(frozen=True)
class ClientEyes:
    """From a client on another host."""

    client: Client

    @property
    def name(self) -> str:
        return self.client.name

    def look(self, wishes: Sequence[Mapping[str, Any]], timeout: float) -> list[Any]:
        code = text("onlooker.py").encode()
        said = self.client.run("python3", "-", json.dumps(wishes), stdin=code, timeout=timeout)
        found: list[Any] = json.loads(said)
        return found


@dataclass(frozen=True)
class OwnEyes:
    """From the validator's own machine: what is hit takes the way to any client with it."""

    machine: Machine
    name: str = "the validator's machine"

    def look(self, wishes: Sequence[Mapping[str, Any]], timeout: float) -> list[Any]:
        code = text("onlooker.py")
        script = (
            f'look() {{\npython3 - "$1" <<\'APADANA_LOOK\'\n{code}APADANA_LOOK\n}}\nlook "$@"\n'
        )
        found: list[Any] = json.loads(self.machine.run(script, json.dumps(wishes), timeout=timeout))
        return found


@dataclass(frozen=True)
class PeerEyes:
    """From the network namespace of another member, on its own machine."""

    machine: Machine
    member: Located

    @property
    def name(self) -> str:
        return f"the network of {self.member.name}"

    def look(self, wishes: Sequence[Mapping[str, Any]], timeout: float) -> list[Any]:
        code = text("onlooker.py")
        script = (
            f'look() {{\nnsenter -t "$1" -n python3 - "$2" <<\'APADANA_LOOK\'\n{code}'
            'APADANA_LOOK\n}\nlook "$@"\n'
        )
        said = self.machine.run(script, str(self.member.pid), json.dumps(wishes), timeout=timeout)
        found: list[Any] = json.loads(said)
        return found
