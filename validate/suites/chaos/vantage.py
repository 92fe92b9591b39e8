"""Where an observer stands: each place runs sensor.py with a list of wishes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from validate.core.errors import ClusterError
from validate.ground import Client
from validate.ground.kubectl import wait_for
from validate.ground.machine import Machine
from validate.ground.pods import new_run_id
from validate.suites.chaos.envelope import text
from validate.suites.chaos.members import RunningMember

#: A look of so many seconds runs on by itself, and its answer is fetched: the way of the command
#: may lead over what is hit, and a look that was cut can't be made again.
LONG = 5.0
LATE = 8.0  # seconds after which an answer that should be there is asked for anew
START = (
    'cat > "$1.py"; '
    '(python3 "$1.py" "$2" $3 > "$1.seen" 2> "$1.said"; echo $? > "$1.code") '
    "< /dev/null > /dev/null 2>&1 &"
)
FETCH = (
    'until [ -s "$1.code" ]; do sleep 0.2; done; cat "$1.code"; '
    'if [ "$(cat "$1.code")" = 0 ]; then cat "$1.seen"; else cat "$1.said"; fi'
)
#: A busy machine starts slowly.
BEGUN = (
    'for _ in $(seq 300); do [ -e "$1" ] && exec rm -f "$1"; sleep 0.1; done; '
    'echo "no look has begun after 30 s" >&2; exit 1'
)
PATIENCE = 60.0


class Vantage(Protocol):
    @property
    def name(self) -> str: ...

    def look(self, wishes: Sequence[Mapping[str, Any]], timeout: float, mark: str = "") -> list[Any]:
        """Runs sensor.py there; `mark` is a file that is made there when looking begins."""
        ...

    def wait_until_begun(self, mark: str) -> None:
        """Returns when the look with this mark is on its way; ClusterError when it is not."""
        ...


@dataclass(frozen=True)
class ClientVantage:
    """From a client on another host."""

    client: Client

    @property
    def name(self) -> str:
        return self.client.name

    def look(self, wishes: Sequence[Mapping[str, Any]], timeout: float, mark: str = "") -> list[Any]:
        code = text("sensor.py").encode()
        seconds = max((float(wish.get("seconds", 0.0)) for wish in wishes), default=0.0)
        if seconds < LONG:
            command = ("python3", "-", json.dumps(wishes), *([mark] if mark else []))
            said = self.client.run(*command, stdin=code, timeout=timeout)
        else:
            said = self._apart(code, json.dumps(wishes), mark, seconds, timeout)
        found: list[Any] = json.loads(said)
        return found

    def wait_until_begun(self, mark: str) -> None:
        self.client.run("sh", "-c", BEGUN, "look", mark, timeout=PATIENCE)

    def _apart(self, code: bytes, wishes: str, mark: str, seconds: float, timeout: float) -> str:
        name = f"look-{new_run_id()}"
        self.client.run("sh", "-c", START, "look", name, wishes, mark, stdin=code, timeout=timeout)

        def fetch() -> str:
            return self.client.run("sh", "-c", FETCH, "look", name, timeout=seconds + LATE)

        status, _, said = wait_for(f"what {self.name} saw", fetch, timeout=timeout, every=1.0).partition("\n")
        if status != "0":
            raise ClusterError(f"looking from {self.name}", said.strip()[-1500:] or status)
        return said


@dataclass(frozen=True)
class OwnVantage:
    """From the validator's own machine: what is hit takes the way to any client with it."""

    machine: Machine
    name: str = "the validator's machine"

    def look(self, wishes: Sequence[Mapping[str, Any]], timeout: float, mark: str = "") -> list[Any]:
        return _look_on(self.machine, wishes, timeout, mark)

    def wait_until_begun(self, mark: str) -> None:
        self.machine.run(BEGUN, _at(mark), timeout=PATIENCE)


@dataclass(frozen=True)
class PeerVantage:
    """From the network namespace of another member, on its own machine."""

    machine: Machine
    member: RunningMember

    @property
    def name(self) -> str:
        return f"the network of {self.member.name}"

    def look(self, wishes: Sequence[Mapping[str, Any]], timeout: float, mark: str = "") -> list[Any]:
        return _look_on(self.machine, wishes, timeout, mark, f"nsenter -t {self.member.pid} -n ")

    def wait_until_begun(self, mark: str) -> None:
        self.machine.run(BEGUN, _at(mark), timeout=PATIENCE)


def _look_on(
    machine: Machine, wishes: Sequence[Mapping[str, Any]], timeout: float, mark: str, where: str = ""
) -> list[Any]:
    """`where`: the words before `python3` that choose a namespace."""
    code = text("sensor.py")
    script = f'look() {{\n{where}python3 - "$1" $2 <<\'APADANA_LOOK\'\n{code}APADANA_LOOK\n}}\nlook "$@"\n'
    found: list[Any] = json.loads(machine.run(script, json.dumps(wishes), _at(mark), timeout=timeout))
    return found


def _at(mark: str) -> str:
    """On a machine, as root: a folder that a restart empties."""
    return mark and f"/run/{mark}"
