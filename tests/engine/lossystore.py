"""A store over TCP that acknowledges everything and is wrong where it was told to be.

    python -m tests.engine.lossystore '{"seed": 1, "within": 400, "lose": 3, "repeat": 2, ...}'

prints its port. One line a request, one a reply: `write UID`, `last RUN CLIENT`, `all`, `done`.
Which writes and reads it spoils is drawn from the seed among the first `within` of each kind;
`done` names them, so that a test can compare what the audit found with what was done.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import sys
from dataclasses import dataclass, field


@dataclass
class Defects:
    seed: int = 0
    within: int = 400
    lose: int = 0
    repeat: int = 0
    delay: int = 0  # stored only after the next write of the same client
    stale: int = 0  # reads that answer a quarter as new as the newest: older than any overlap
    spoil: int = 0  # stored with another content
    invent: int = 0  # stored though nobody wrote it


@dataclass
class Store:
    defects: Defects
    lane: list[str] = field(default_factory=list)
    corrupt: list[str] = field(default_factory=list)
    newest: dict[str, int] = field(default_factory=dict)
    held_back: dict[str, str] = field(default_factory=dict)
    done: dict[str, list[str]] = field(default_factory=dict)
    written: int = 0
    read: int = 0

    def __post_init__(self) -> None:
        d = self.defects
        draw = random.Random(d.seed)
        kinds = ["lose"] * d.lose + ["repeat"] * d.repeat + ["delay"] * d.delay
        kinds += ["spoil"] * d.spoil + ["invent"] * d.invent
        self.done = {kind: [] for kind in ("lose", "repeat", "delay", "stale", "spoil", "invent")}
        # Far apart, so that a delayed write is followed by an untouched one.
        turns = draw.sample(range(0, d.within, 40), len(kinds))
        self.plan = dict(zip(turns, kinds, strict=True))
        self.stale_turns = set(draw.sample(range(20, d.within // 10), d.stale))

    def write(self, uid: str) -> None:
        client, _, seq = uid.rpartition("-")
        kind = self.plan.get(self.written)
        self.written += 1
        if kind is not None:
            self.done[kind].append(uid)
        if kind == "delay":
            self.held_back[client] = uid
        elif kind != "lose":
            self.lane += [uid, uid] if kind == "repeat" else [uid]
            if kind == "spoil":
                self.corrupt.append(uid)
            if client in self.held_back:
                self.lane.append(self.held_back.pop(client))
        if kind == "invent":
            self.done[kind][-1] = f"{client}-{10**6 + self.written}"
            self.lane.append(self.done[kind][-1])
        self.newest[client] = int(seq)

    def last(self, client: str) -> int | None:
        self.read += 1
        known = self.newest.get(client)
        if known and known > 20 and self.read in self.stale_turns:
            self.done["stale"].append(f"{client}-{known // 4}")
            return known // 4
        if self.read in self.stale_turns:  # nothing to be stale about yet: the next read will do
            self.stale_turns.add(next(t for t in itertools.count(self.read + 1) if t not in self.stale_turns))
        return known


async def serve(store: Store) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := (await reader.readline()).decode().split():
            answer: object = None
            match line:
                case ["write", uid]:
                    store.write(uid)
                case ["last", run, client]:
                    answer = store.last(f"{run}-{client}")
                case ["all"]:
                    answer = [store.lane + list(store.held_back.values()), store.corrupt]
                case ["done"]:
                    answer = store.done
            writer.write(json.dumps(answer).encode() + b"\n")
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0, limit=1 << 26)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(Store(Defects(**json.loads(sys.argv[1])))))
