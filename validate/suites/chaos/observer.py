"""Who looks whether a fault took effect, from where, and at what."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from validate.core.errors import ClusterError, NotValidError
from validate.ground.machine import Machine
from validate.ground.pods import new_run_id
from validate.suites.chaos import proofs, spec
from validate.suites.chaos.aim import Aim
from validate.suites.chaos.members import RunningMember
from validate.suites.chaos.proofs import FaultProof, Moments
from validate.suites.chaos.vantage import PeerVantage, Vantage

LEAD = 2.0  # seconds that are looked at before the fault
LONGEST = 20.0  # seconds of a fault that are looked at
EVERY, PATIENCE = 0.15, 1.0
FLOOD_SECONDS, FLOOD_PORT, PACKET = 2.0, 47017, 1200
AWAY = ("refused", "timeout", "unreachable")  # what a look at nobody meets
FARTHEST = "192.0.2.1"  # TEST-NET-1 (RFC 5737): nobody is there


Point = tuple[str, int]


@dataclass
class Observer:
    """Watches one fault: `prepare`, `begin`, then the fault, then `finish`."""

    fault: spec.Fault
    aim: Aim
    far: Vantage
    machine: Callable[[str], Machine]
    points: Sequence[Point]  # where what is hit answers, as the client sees it
    sparse: bool = False  # at some of the points nobody may ever have listened
    offset: float = 0.0  # the observer's clock minus ours
    prompts: dict[Point, str] = field(default_factory=dict)
    seen_first: dict[str, Any] = field(default_factory=dict)
    _looks: list[Future[list[Any]]] = field(default_factory=list)
    _marks: list[tuple[Vantage, str]] = field(default_factory=list)  # of the looks
    _pool: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(8))

    @property
    def where(self) -> str:
        near = self._peer_vantage()
        return f"{self.far.name}, {near.name}" if near else self.far.name

    def prepare(self) -> None:
        """What can be compared with later; NotValidError when there is nothing to look at."""
        if not self.points and self.fault.kind != "disk-full":
            raise NotValidError("what is hit answers nowhere that an observer could ask")
        self.offset = clock_offset(lambda: self.far.look([{"kind": "clock"}], 30)[0]["wall"])
        asked = [{"kind": "detect", "host": h, "port": p} for h, p in self._asked_points()]
        found = self.far.look(asked, 40) if asked else []
        if self.sparse or isinstance(self.fault.do, spec.PortClosed):
            self.points = self._listening()
        for answer in found:
            if not answer.get("prompt"):
                raise NotValidError(
                    f"{answer['host']}:{answer['port']} acts on nothing that is said to it "
                    f"({answer.get('seen') or answer.get('error')}): a stop could not be seen"
                )
            self.prompts[answer["host"], answer["port"]] = answer["prompt"]
        if isinstance(self.fault.do, spec.DiskFull):
            self.seen_first = {m.name: self._free(m) for m in self.aim.members}
        if isinstance(self.fault.do, spec.SlowLink):
            self.seen_first = {m.name: self._flood(m) for m in self.aim.members}

    def _listening(self) -> list[Point]:
        """Not every host serves every port; where nobody listens, nothing can be missed."""
        wishes = [{**self._series(p, 0.1), "every": 0.2} for p in self.points]
        answers = proofs.of(self.far.look(wishes, 40), "series")
        found = [(a["host"], a["port"]) for a in answers if any(t["outcome"] in proofs.LIVE for t in a["tries"])]
        if not found:
            told = ", ".join(f"{h}:{p}" for h, p in self.points)
            raise NotValidError(f"nobody listens at {told}: that it stops could not be seen")
        return found

    def begin(self, hold: float) -> None:
        """Starts the looks; returns when they have looked for LEAD seconds."""
        seconds = LEAD + min(hold, LONGEST) + 1.0
        wishes = self._far_wishes(seconds)
        if wishes:
            self._start(self.far, wishes, seconds)
        near = self._peer_vantage()
        if near is not None:
            self._start(near, self._near_wishes(seconds), seconds)
            for member in self.aim.members if self._one_way else ():
                # A member that has nothing to say would look mute; whether this arrives is seen
                # at the peer.
                wish = {
                    "kind": "send",
                    "host": near.member.address,
                    "port": FLOOD_PORT,
                    "seconds": seconds,
                    "size": 16,
                    "per_second": 5,
                }
                self._start(PeerVantage(self.machine(member.host), member), [wish], seconds)
        for place, mark in self._marks:
            place.wait_until_begun(mark)
        _pause(LEAD)

    def during(self) -> None:
        """What is looked at once, in the middle of the fault."""
        if isinstance(self.fault.do, spec.DiskFull):
            self.seen_first |= {f"{m.name} now": self._free(m) for m in self.aim.members}
        if isinstance(self.fault.do, spec.SlowLink):
            self.seen_first |= {f"{m.name} now": self._flood(m) for m in self.aim.members}

    def finish(self, at: Moments) -> FaultProof:
        answers: list[Any] = []
        for look in self._looks:
            try:
                answers += look.result(timeout=60)
            except (ClusterError, ValueError, TimeoutError) as error:
                return FaultProof(False, f"the observer failed: {error}")
        self._pool.shutdown(wait=False)
        # A fault that outlasts the looks ends for them where they end.
        seen_until = at.asked + min(LONGEST, max(at.ended - at.asked, 0.0))
        clipped = Moments(at.asked, at.applied, min(at.ended, seen_until))
        return self._judge(answers, clipped.shifted(self.offset))

    def stop(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _judge(self, answers: list[Any], at: Moments) -> FaultProof:
        do = self.fault.do
        match do:
            case spec.PodKill():  # its address goes with it
                found = proofs.killed(answers, at, AWAY)
            case spec.PodEviction():  # it takes its grace first
                found = proofs.killed(answers, at, AWAY, within=LONGEST)
            case spec.MemberKill():
                found = proofs.killed(answers, at)
            case spec.NetworkCut() if self._one_way:
                found = proofs.one_way(answers, at, do.direction)
            case spec.PacketLoss():
                found = proofs.lossy(answers, at, do.percent)
            case spec.BadInput():
                found = proofs.pestered([a for a in answers if a.get("kind") == "pester"])
            case spec.DiskFull() | spec.SlowLink():
                found = self._measured()
            case spec.ClockWrong():
                found = proofs.moved(answers, at, do.offset_s)
            case _:
                found = proofs.silenced(answers, at, self._silence())
        return found

    def _silence(self) -> tuple[str, ...]:
        """What a look meets while it lasts."""
        if self._frozen:
            return ("silent", "timeout")
        if self.fault.kind in ("network-cut", "dependency-cut"):
            return ("timeout", "unreachable")
        return AWAY

    @property
    def _frozen(self) -> bool:
        return isinstance(self.fault.do, spec.Freeze) or self.aim.frozen

    def _measured(self) -> FaultProof:
        do, seen = self.fault.do, self.seen_first
        parts = []
        for m in self.aim.members:
            first, then = seen.get(m.name), seen.get(f"{m.name} now")
            if first is None or then is None:
                parts.append(FaultProof(False, f"{m.name} was not measured while it lasted"))
            elif isinstance(do, spec.DiskFull):
                parts.append(proofs.full(first, then, do.leave_kib * 1024))
            elif isinstance(do, spec.SlowLink):
                parts.append(proofs.slow(first, then, do.kbit_per_s))
        return proofs.all_of(parts)

    # --- what is looked at

    def _asked_points(self) -> Sequence[Point]:
        """Those whose process has to be seen acting, not only its kernel."""
        return self.points if self._frozen else ()

    def _far_wishes(self, seconds: float) -> list[dict[str, Any]]:
        do = self.fault.do
        if isinstance(do, spec.DiskFull | spec.SlowLink) or self._from_peer:
            return []
        if isinstance(do, spec.BadInput):
            return [{"kind": "pester", "host": h, "port": p, "seconds": seconds} for h, p in self.points]
        if isinstance(do, spec.ClockWrong):
            return [{"kind": "dates", "host": h, "port": p, "seconds": seconds, "every": 0.5} for h, p in self.points]
        wishes = [self._series(p, seconds) for p in self.points]
        if isinstance(do, spec.MemberKill | spec.PodKill | spec.PodEviction):
            wishes += [{"kind": "hold", "host": h, "port": p, "seconds": seconds, "every": 0.6} for h, p in self.points]
        return wishes

    def _near_wishes(self, seconds: float) -> list[dict[str, Any]]:
        wishes = [self._series(p, seconds) for p in self.points] if self._from_peer else []
        if self._one_way:
            wishes += [{"kind": "sniff", "source": m.address, "seconds": seconds} for m in self.aim.members]
        return wishes

    def _series(self, point: Point, seconds: float) -> dict[str, Any]:
        word = self.prompts.get(point, "connect")
        return {
            "kind": "series",
            "host": point[0],
            "port": point[1],
            "prompt": word,
            "seconds": seconds,
            "every": EVERY,
            "timeout": PATIENCE,
        }

    @property
    def _from_peer(self) -> bool:
        """A cut between two can be seen only from one of them."""
        do = self.fault.do
        cut = isinstance(do, spec.DependencyCut) and not self.aim.frozen
        return cut or self.fault.target == "pair"

    @property
    def _one_way(self) -> bool:
        do = self.fault.do
        return isinstance(do, spec.NetworkCut) and do.direction != "both" and not self.aim.hosts

    def _peer_vantage(self) -> PeerVantage | None:
        if not (self._from_peer or self._one_way):
            return None
        hit = {m.host for m in self.aim.members}
        peer = next((p for p in self.aim.peers if p.host not in hit), None)
        if peer is None:
            raise NotValidError("no member on another host could see which way is cut")
        return PeerVantage(self.machine(peer.host), peer)

    def _start(self, place: Vantage, wishes: list[dict[str, Any]], seconds: float) -> None:
        mark = f"look-{new_run_id()}.begun"
        self._marks.append((place, mark))
        self._looks.append(self._pool.submit(place.look, wishes, seconds + 45, mark))

    # --- what is measured once before and once while it lasts

    def _free(self, member: RunningMember) -> int:
        """Not by the fault's own script, but on its machine: a file system has no other door."""
        said = self.machine(member.host).run('df --output=avail -B1 "$1" | tail -n 1', member.data)
        return int(said)

    def _flood(self, member: RunningMember) -> dict[str, Any]:
        """What arrives at the client (or at a peer) when the member's network sends a lot."""
        do = self.fault.do
        assert isinstance(do, spec.SlowLink)
        wanted = do.kbit_per_s * 1000 / 8 * 3 / PACKET  # packets a second: thrice the limit
        near = next((p for p in self.aim.peers if p.host != member.host), None)
        places: list[Vantage] = [self.far]
        places += [PeerVantage(self.machine(near.host), near)] if near else []
        for one in places:
            with suppress(ClusterError, KeyError):
                here = one.look([{"kind": "address", "host": member.address}], 30)[0]["address"]
                heard = self._send(member, here, wanted, one)
                if heard["bytes"]:
                    return heard
        # Nobody may be sent to (a network policy): what leaves its interface is counted instead,
        # by its own kernel, not by the injector.
        return self._send(member, FARTHEST, wanted, None)

    def _send(self, member: RunningMember, address: str, per_second: float, ear: Vantage | None) -> dict[str, Any]:
        listening = None
        if ear is not None:
            wish = {"kind": "listen", "port": FLOOD_PORT, "seconds": FLOOD_SECONDS + 2}
            listening = self._pool.submit(ear.look, [wish], 60)
            _pause(1.0)
        before = self._sent_bytes(member)
        PeerVantage(self.machine(member.host), member).look(
            [
                {
                    "kind": "send",
                    "host": address,
                    "port": FLOOD_PORT,
                    "seconds": FLOOD_SECONDS,
                    "size": PACKET,
                    "per_second": per_second,
                }
            ],
            60,
        )
        if listening is None:
            count = self._sent_bytes(member) - before
            return {"bytes": count, "seconds": FLOOD_SECONDS, "counted": "as it left"}
        heard = listening.result(timeout=70)[0].get("bytes", 0)
        return {"bytes": heard, "seconds": FLOOD_SECONDS, "counted": "as it arrived"}

    def _sent_bytes(self, member: RunningMember) -> int:
        """Of the first interface that isn't the loop."""
        script = 'nsenter -t "$1" -n ip -j -s link show up'
        told = json.loads(self.machine(member.host).run(script, str(member.pid)))
        for link in told:
            if link.get("ifname") != "lo":
                return int(link["stats64"]["tx"]["bytes"])
        raise NotValidError(f"{member.name} has no network interface")


def clock_offset(ask: Callable[[], float], tries: int = 2) -> float:
    """Seconds by which another clock is ahead of ours; 0 where asking takes longer than it differs.

    Half of what asking takes is how wrong the answer can be, so the quickest one counts.
    """
    best, error = 0.0, float("inf")
    for _ in range(tries):
        begin = time.time()
        there = ask()
        end = time.time()
        if (end - begin) / 2 < error:
            best, error = there - (begin + end) / 2, (end - begin) / 2
    return 0.0 if abs(best) <= error else best


def _pause(seconds: float) -> None:
    """Time that is part of the observation itself."""
    time.sleep(seconds)
