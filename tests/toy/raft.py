"""A replicated log for the toy's stores: Raft without snapshots and changes of membership.

D. Ongaro, J. Ousterhout, "In Search of an Understandable Consensus Algorithm", USENIX ATC 2014;
pre-vote and read index as in Ongaro's thesis (2014), 9.6 and 6.4. The methods of a few lines are
apart so that a defect can replace one of them.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any

from tests.toy.disk import Disk

Call = Callable[[str, dict[str, Any], float], Awaitable[dict[str, Any]]]
FOLLOWER, LEADER = "follower", "leader"
MOST_AT_ONCE = 200  # entries in one message


class NotLeader(Exception):
    """Nothing was done here; `leader` is who may do it, "" while nobody is known."""

    def __init__(self, leader: str) -> None:
        super().__init__(f"not the leader; it is {leader or 'unknown'}")
        self.leader = leader


class Raft:
    """One member. Indices count from 1; `log[i - 1]` is (term, command)."""

    def __init__(
        self,
        me: str,
        peers: Sequence[str],
        call: Call,
        disk: Disk,
        apply: Callable[[int, Any], Any],
        pace: float = 0.05,
    ) -> None:
        self.me, self.peers, self.call, self.disk, self.apply = me, list(peers), call, disk, apply
        self.pace = pace  # seconds between two heartbeats
        self.term, self.vote, self.role, self.leader = 0, "", FOLLOWER, ""
        self.log: list[tuple[int, Any]] = []
        self.commit = self.applied = self.durable = 0
        self.match: dict[str, int] = {}
        self.next: dict[str, int] = {}
        self.acked: dict[str, float] = {}  # when the last message that was answered had been sent
        self.waiting: dict[int, tuple[int, asyncio.Future[Any]]] = {}
        self._hear()
        self._sick_until = 0.0
        self._begins = 0  # as a leader: the index of its term's first entry
        self._work = asyncio.Event()
        self._changed = asyncio.Event()
        self._feeders: dict[str, asyncio.Event] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._load()

    # --- what a store uses

    async def propose(self, command: Any) -> Any:
        """What `apply` returned, once the command is committed."""
        if self.role != LEADER:
            raise NotLeader(self.leader)
        self.log.append((self.term, command))
        self.disk.append({"t": self.term, "c": command})
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.waiting[len(self.log)] = (self.term, future)
        self._work.set()
        return await future

    async def confirmed(self) -> int:
        """An index that holds every write acknowledged before this call: asks a majority."""
        if self.role != LEADER:
            raise NotLeader(self.leader)
        while self.role == LEADER and self.commit < self._begins:
            await self._change()  # until something of this term is committed, commit may be behind
        asked, index = time.monotonic(), self.commit
        self._wake_feeders()
        while self.role == LEADER and not self._majority_since(asked):
            await self._change()
        if self.role != LEADER:
            raise NotLeader(self.leader)
        return index

    async def reached(self, index: int) -> None:
        """Until everything up to `index` is applied here."""
        while self.applied < index:
            await self._change()

    def start(self) -> None:
        for task in (self._watch(), self._flush()):
            self._spawn(task)

    # --- what a defect may replace

    def needed(self) -> int:
        """Members that must hold an entry before it is committed."""
        return (len(self.peers) + 1) // 2 + 1

    def batch(self, peer: str, at: int) -> list[tuple[int, Any]]:
        """The entries that a follower gets with the next message, from place `at` of the log."""
        return self.log[at : at + MOST_AT_ONCE]

    # --- messages

    def on_vote(self, m: dict[str, Any]) -> dict[str, Any]:
        pre, term = bool(m["pre"]), int(m["term"])
        quiet = time.monotonic() - self._heard > self.pace * 4 and self.role != LEADER
        mine = (self.log[-1][0] if self.log else 0, len(self.log))
        fresh = (int(m["last_term"]), int(m["last"])) >= mine
        if pre:
            return {"term": self.term, "yes": fresh and quiet and term >= self.term}
        if term > self.term:
            self._step_down(term)
        yes = term == self.term and fresh and self.vote in ("", str(m["me"]))
        if yes:
            self._remember(term, str(m["me"]))
            self._hear()
        return {"term": self.term, "yes": yes}

    def on_append(self, m: dict[str, Any]) -> dict[str, Any]:
        if int(m["term"]) < self.term:
            return {"term": self.term, "ok": False, "match": 0}
        if int(m["term"]) > self.term or self.role == LEADER:
            self._step_down(int(m["term"]))
        self._hear()
        self.leader = str(m["me"])
        at = int(m["prev"])
        if at > len(self.log) or (at and self.log[at - 1][0] != int(m["prev_term"])):
            return {"term": self.term, "ok": False, "match": min(at - 1, len(self.log))}
        for place, (term, command) in enumerate(m["entries"], start=at):
            if place < len(self.log):
                if self.log[place][0] == term:
                    continue
                self._cut(place)
            self.log.append((term, command))
            self.disk.append({"t": term, "c": command})
        self.disk.sync()
        self.durable = len(self.log)
        match = at + len(m["entries"])
        self._committed(min(int(m["commit"]), match))
        return {"term": self.term, "ok": True, "match": match}

    # --- the rest

    def _load(self) -> None:
        for record in self.disk.read():
            if "vote" in record:
                self.term, self.vote = record["vote"]
            elif "cut" in record:
                del self.log[record["cut"] :]
            else:
                self.log.append((record["t"], record["c"]))
        self.durable = len(self.log)

    def _remember(self, term: int, vote: str) -> None:
        if (term, vote) != (self.term, self.vote):
            self.term, self.vote = term, vote
            self.disk.append({"vote": [term, vote]})
        self.disk.sync()

    def _cut(self, length: int) -> None:
        del self.log[length:]
        self.disk.append({"cut": length})
        for index in [i for i in self.waiting if i > length]:
            self._refuse(index)

    def _refuse(self, index: int) -> None:
        _, future = self.waiting.pop(index)
        if not future.done():
            future.set_exception(NotLeader(self.leader))

    def _step_down(self, term: int) -> None:
        if self.role == LEADER:
            self.leader = ""
        self.role = FOLLOWER
        if term > self.term:
            self.leader = ""
            self._remember(term, "")
        for index in list(self.waiting):
            self._refuse(index)
        self._notify()

    def _new_patience(self) -> float:
        return self.pace * random.uniform(8, 16)

    def _hear(self) -> None:
        """Draws its patience anew each time: a member that kept a long one would never lead."""
        self._heard, self._patience = time.monotonic(), self._new_patience()

    async def _watch(self) -> None:
        """Stands for election when no leader is heard; as a leader without majority, steps down."""
        while True:
            await asyncio.sleep(self.pace / 2)
            now = time.monotonic()
            if self.role == LEADER:
                if not self._majority_since(now - self.pace * 16):
                    self._step_down(self.term)
                    self._hear()
            elif now - self._heard > self._patience and now > self._sick_until:
                self._hear()
                with suppress(OSError):  # a full disk can't take a vote
                    await self._stand()

    async def _stand(self) -> None:
        if not await self._poll(self.term + 1, pre=True) or self.role == LEADER:
            return
        self._remember(self.term + 1, self.me)
        term = self.term
        if await self._poll(term, pre=False) and self.term == term and self.role != LEADER:
            self._lead()

    async def _poll(self, term: int, *, pre: bool) -> bool:
        ask = {
            "op": "vote",
            "pre": pre,
            "term": term,
            "me": self.me,
            "last": len(self.log),
            "last_term": self.log[-1][0] if self.log else 0,
        }

        async def one(peer: str) -> bool:
            answer = await self.call(peer, ask, self.pace * 6)
            if int(answer["term"]) > self.term and not pre:
                self._step_down(int(answer["term"]))
            return bool(answer["yes"])

        most, yes = (len(self.peers) + 1) // 2 + 1, 1
        asked = {asyncio.create_task(one(peer)) for peer in self.peers}
        while asked and yes < most:
            done, asked = await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
            for answer in done:
                with suppress(OSError, TimeoutError, KeyError, ValueError):
                    yes += answer.result()
        for late in asked:
            late.add_done_callback(_drop)
        return yes >= most

    def _lead(self) -> None:
        self.role, self.leader = LEADER, self.me
        now = time.monotonic()
        self.match = dict.fromkeys(self.peers, 0)
        self.next = dict.fromkeys(self.peers, len(self.log) + 1)
        self.acked = dict.fromkeys(self.peers, now)
        self.log.append((self.term, None))  # commits what earlier terms left
        self._begins = len(self.log)
        self.disk.append({"t": self.term, "c": None})
        self._work.set()
        for peer in self.peers:
            self._feeders[peer] = asyncio.Event()
            self._spawn(self._feed(peer, self.term, self._feeders[peer]))

    async def _feed(self, peer: str, term: int, due: asyncio.Event) -> None:
        while self.role == LEADER and self.term == term:
            due.clear()
            sent = time.monotonic()
            behind = await self._feed_once(peer, sent)
            if not behind:
                with suppress(TimeoutError):
                    await asyncio.wait_for(due.wait(), self.pace)

    async def _feed_once(self, peer: str, sent: float) -> bool:
        """True when there is more to send at once."""
        at = self.next[peer] - 1
        entries = self.batch(peer, at)
        message = {
            "op": "append",
            "term": self.term,
            "me": self.me,
            "prev": at,
            "commit": self.commit,
            "prev_term": self.log[at - 1][0] if at else 0,
            "entries": entries,
        }
        try:
            answer = await self.call(peer, message, self.pace * 8)
        except (OSError, TimeoutError):
            await asyncio.sleep(self.pace)
            return False
        if int(answer.get("term", 0)) > self.term:
            with suppress(OSError):
                self._step_down(int(answer["term"]))
            return False
        if self.role != LEADER or "ok" not in answer:
            await asyncio.sleep(self.pace)
            return False
        self.acked[peer] = sent
        if answer["ok"]:
            self.match[peer] = max(self.match[peer], int(answer["match"]))
            self.next[peer] = self.match[peer] + 1
        else:
            self.next[peer] = max(1, int(answer["match"]) + 1)
        self._advance()
        return self.next[peer] <= len(self.log) and bool(entries or not answer["ok"])

    async def _flush(self) -> None:
        """Makes proposals durable, those of one moment together."""
        while True:
            await self._work.wait()
            self._work.clear()
            try:
                self.disk.sync()
            except OSError:
                self._sick_until = time.monotonic() + 1
                self._step_down(self.term)
                continue
            self.durable = len(self.log)
            self._wake_feeders()
            self._advance()

    def _advance(self) -> None:
        if self.role == LEADER:
            held = sorted([self.durable, *self.match.values()], reverse=True)
            index = held[self.needed() - 1]
            # Only entries of its own term are committed by counting (Raft, 5.4.2).
            if index > self.commit and self.log[index - 1][0] == self.term:
                self._committed(index)
        self._notify()

    def _committed(self, index: int) -> None:
        self.commit = max(self.commit, index)
        while self.applied < self.commit:
            self.applied += 1
            term, command = self.log[self.applied - 1]
            result = None if command is None else self.apply(self.applied, command)
            mine, future = self.waiting.pop(self.applied, (0, None))
            if future is not None and not future.done():
                if mine == term:
                    future.set_result(result)
                else:
                    future.set_exception(NotLeader(self.leader))
        self._notify()

    def _majority_since(self, moment: float) -> bool:
        fresh = 1 + sum(at >= moment for at in self.acked.values())
        return fresh >= (len(self.peers) + 1) // 2 + 1

    def _wake_feeders(self) -> None:
        for due in self._feeders.values():
            due.set()

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def _change(self) -> None:
        await asyncio.wait_for(self._changed.wait(), self.pace * 40)

    def _spawn(self, coroutine: Any) -> None:
        task = asyncio.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            # A member that lost one of its loops must not go on as if it were whole.
            asyncio.get_running_loop().call_exception_handler(
                {"message": "a loop of the store ended", "exception": task.exception()}
            )
            asyncio.get_running_loop().stop()


def _drop(task: asyncio.Task[bool]) -> None:
    """A vote that came too late to matter; reading its exception keeps asyncio quiet."""
    if not task.cancelled():
        task.exception()
