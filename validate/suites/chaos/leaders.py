"""Who leads where, as each room's probe says, and how all leaders are gathered on one host."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from components.kit import contract
from validate.core.errors import ClusterError, NotValidError
from validate.ground import Client, Ground, Member
from validate.ground.kubectl import wait_for
from validate.suites.chaos.controlplane import ControlPlane

MOVED_S = 30.0  # for another member to lead
TRIES = 12  # where a leader can only be restarted, its engine chooses the next one


@dataclass(frozen=True)
class Leader:
    """The member that leads a service, and the host it is on."""

    service: str
    member: str
    host: str
    steered: bool = True  # its engine can be asked to hand over to a named member


@dataclass(frozen=True)
class Leadership:
    """Asked through a client that has the stores' probes; `control` is None where no cluster is."""

    ground: Ground
    client: Client
    stores: Sequence[contract.Component]
    control: ControlPlane | None
    say: Callable[[str], None]

    def now(self) -> dict[str, Leader]:
        """Of the stores and of the control plane; a store without a leader is left out."""
        found = self._of([store.name for store in self.stores])
        for service, host in (self.control.leaders() if self.control else {}).items():
            found[service] = Leader(service, host, host)
        return found

    def gather(self, host: str = "") -> str:
        """Moves every leader to one host and returns it; NotValidError where that can't be.

        Without a wish it is the host of the leader that is hardest to steer.
        """
        now = self.now()
        victim = host or self._anchor(now)
        self.say(f"gathering all leaders on {victim}; now: {told(now)}")
        for store in [s.name for s in self.stores if s.name in now]:
            self._move(store, victim)
        if self.control:
            self.control.gather(victim)
        now = self.now()
        if any(leader.host != victim for leader in now.values()):
            raise NotValidError(f"the leaders could not be gathered on {victim}: {told(now)}")
        self.say(f"placement before the kill: {told(now)}")
        return victim

    def _anchor(self, now: Mapping[str, Leader]) -> str:
        """Of those whose engine chooses by itself the one that takes longest to do so."""
        promised = {s.name: s.promises.recovery_seconds if s.promises else 0.0 for s in self.stores}
        led = [leader for leader in now.values() if leader.service in promised] or list(now.values())
        if not led:
            raise NotValidError("nobody leads anything here: leaders can't be gathered")
        return min(led, key=lambda one: (one.steered, -promised.get(one.service, 0.0), one.service)).host

    def _of(self, stores: Sequence[str]) -> dict[str, Leader]:
        where = {m.name: m.host for m in self.ground.members(*stores)}
        return {
            store: Leader(store, told["member"], where.get(told["member"], "unknown"), bool(told.get("handover")))
            for store, told in self._named(stores).items()
        }

    def _named(self, stores: Sequence[str]) -> dict[str, dict[str, Any]]:
        """What the probes say of those stores that name a leader."""
        wish = [arg for store in stores for arg in ("--component", store)]
        records = list(self.client.checks("primary", *wish, "--deadline", "10", timeout=20))
        told = {r["component"]: r.get("evidence") or {} for r in records}
        return {store: evidence for store, evidence in told.items() if evidence.get("member")}

    def _move(self, store: str, victim: str) -> None:
        """Asks the engine where it can be asked; else restarts the leader until the right one leads."""
        for _ in range(TRIES):
            # Between two leaders there is a moment without one.
            leader = wait_for(f"{store} to name its leader", lambda: self._of([store]).get(store), timeout=60, every=1)
            if leader.host == victim:
                return
            self._hand_over(leader, victim)
            self._wait_moved(leader)
            self._wait_whole(store)
        raise NotValidError(f"{store} did not move its leader to {victim} in {TRIES} tries")

    def _hand_over(self, leader: Leader, victim: str) -> None:
        members = {m.name: m for m in self.ground.members(leader.service)}
        candidate = candidate_on(victim, leader.member, members.values())
        if candidate is None:
            raise NotValidError(f"{leader.service} has no member on {victim} that could lead")
        leading = members.get(leader.member)
        if leading is None:
            return  # on its way out already: another one is going to lead
        command = self._command(leader, candidate) if leader.steered else []
        if command:
            self.ground.execute(leading, command, timeout=60)
        else:
            self.ground.restart(leading)

    def _command(self, leader: Leader, candidate: str) -> Sequence[str]:
        wish = ["--component", leader.service, "--leader", leader.member, "--candidate", candidate]
        for record in self.client.checks("handover", *wish, timeout=20):
            return [str(word) for word in record["evidence"]["command"]]
        return []

    def _wait_moved(self, old: Leader) -> None:
        """An engine may choose its old leader again, once that is back: a try like any other."""

        def moved() -> bool | None:
            now = self._named([old.service]).get(old.service)
            return True if now is not None and now["member"] != old.member else None

        with suppress(ClusterError):
            wait_for(f"{old.service} to be led by another than {old.member}", moved, timeout=MOVED_S, every=1)

    def _wait_whole(self, store: str) -> None:
        records = list(self.client.checks("whole", "--component", store, "--deadline", "120", timeout=150))
        if not records or records[-1]["verdict"] != "PASS":
            detail = records[-1]["detail"] if records else "its probe said nothing"
            raise NotValidError(f"{store} did not become whole again: {detail}")


def candidate_on(host: str, leader: str, members: Iterable[Member]) -> str | None:
    """Who could lead there: members of one StatefulSet differ in their ordinal only."""
    stem = leader.rpartition("-")[0]
    there = [m.name for m in members if m.host == host]
    return next((name for name in there if _ordinal_of(name, stem)), None)


def _ordinal_of(name: str, stem: str) -> bool:
    front, _, number = name.rpartition("-")
    return front == stem and number.isdigit()


def told(found: Mapping[str, Leader]) -> str:
    """`kafka: kafka-1 on cp2, etcd: cp1`."""
    parts = []
    for leader in found.values():
        member = "" if leader.member == leader.host else f"{leader.member} on "
        parts.append(f"{leader.service}: {member}{leader.host}")
    return ", ".join(parts) or "no leader known"
