"""What every server of the toy is: a process with an address, users, perhaps TLS, and metrics."""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.toy import wire
from tests.toy.disk import Disk
from tests.toy.raft import NotLeader, Raft


@dataclass(frozen=True)
class Config:
    """Everything that a member is told; `options` is what a defect or a variation turns."""

    component: str
    name: str
    host: str  # the pretended host
    address: str
    port: int
    metrics_port: int
    folder: str  # its data
    version: str
    peers: dict[str, tuple[str, int]] = field(default_factory=dict)
    certificate: str = ""
    key: str = ""
    ca: str = ""
    users: dict[str, str] = field(default_factory=dict)  # name -> password
    allowed: tuple[str, ...] = ()  # source addresses that get through the host's fence; () all
    upstream: dict[str, Any] = field(default_factory=dict)  # how to reach what it depends on
    options: dict[str, Any] = field(default_factory=dict)


class Member:
    """Answers `login`, `version`, `status`; a store adds `op_<name>` methods."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.requests = 0
        self.began = time.time()

    # --- what a defect may replace

    def login(self, user: str, password: str) -> bool:
        return bool(user) and self.config.users.get(user) == password

    async def start(self) -> None:
        c = self.config
        tls = wire.server_tls(c.certificate, c.key) if c.certificate else None
        await asyncio.start_server(
            self._serve, c.address, c.port, ssl=tls, limit=wire.LONGEST, ssl_handshake_timeout=5 if tls else None
        )
        await asyncio.start_server(self._measure, c.address, c.metrics_port)

    async def settled(self) -> None:
        """Until it is of use to clients."""

    def measured(self) -> dict[str, float]:
        """The metrics, by name."""
        used = sum(f.stat().st_size for f in Path(self.config.folder).glob("*") if f.is_file())
        return {"toy_requests_total": self.requests, "toy_data_bytes": used, "toy_start_time_seconds": self.began}

    # --- the rest

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, ValueError, asyncio.IncompleteReadError):
            await self._converse(reader, writer)
        writer.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        user = ""
        running: set[asyncio.Task[None]] = set()
        while line := await reader.readline():
            request = self.parsed(line)
            if not isinstance(request, dict):
                writer.write(b'{"error": "not an object"}\n')
                return
            if request.get("op") == "login":
                name = str(request.get("user", ""))
                user = name if self.login(name, str(request.get("password", ""))) else ""
                writer.write(b"{}\n" if user else b'{"error": "wrong user or password"}\n')
                continue
            if not user and not self.open_to_all():
                writer.write(b'{"error": "log in first"}\n')
                return
            task = asyncio.create_task(self._answer(request, user, writer))
            running.add(task)
            task.add_done_callback(running.discard)

    def open_to_all(self) -> bool:
        return False

    def parsed(self, line: bytes) -> Any:
        return json.loads(line)

    async def _answer(self, request: dict[str, Any], user: str, writer: asyncio.StreamWriter) -> None:
        self.requests += 1
        answer = await self.handle(request, user)
        if "n" in request:
            answer = {**answer, "n": request["n"]}
        with suppress(OSError):
            writer.write(json.dumps(answer).encode() + b"\n")
            await writer.drain()

    async def handle(self, request: dict[str, Any], user: str) -> dict[str, Any]:
        method = getattr(self, f"op_{request.get('op')}", None)
        if method is None or (request["op"] in ("append", "vote") and user != "peer"):
            return {"error": f"unknown operation {str(request.get('op'))[:40]}"}
        try:
            found: dict[str, Any] = await method(request)
        except NotLeader as error:
            return {"error": str(error), "leader": error.leader}
        except TimeoutError:
            return {"error": "no majority answered in time"}
        except (OSError, KeyError, TypeError, ValueError) as error:
            return {"error": f"{type(error).__name__}: {error}"}
        return found

    async def op_version(self, _: dict[str, Any]) -> dict[str, Any]:
        return {"version": self.config.version}

    async def _measure(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Prometheus' text format."""
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            await reader.readuntil(b"\r\n\r\n")
            label = f'{{component="{self.config.component}",member="{self.config.name}"}}'
            body = "".join(f"{name}{label} {value}\n" for name, value in self.measured().items())
            head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\n"
            writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode())
            await writer.drain()
        writer.close()


class Store(Member):
    """A member whose state is a replicated log of commands; `apply` is the store's own."""

    raft_class: type[Raft] = Raft
    disk_class: type[Disk] = Disk

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.links: dict[str, wire.Link] = {}
        pace = float(config.options.get("pace", 0.1))
        self.raft = self.raft_class(
            config.name, list(config.peers), self.call, self.disk_class(Path(config.folder)), self.apply, pace
        )

    def apply(self, index: int, command: Any) -> Any:
        """The next command, the same on every member; the answer goes to whoever proposed it."""
        raise NotImplementedError

    async def start(self) -> None:
        tls = ssl.create_default_context(cafile=self.config.ca)
        login = {"user": "peer", "password": self.config.users["peer"]}
        for name, (host, port) in self.config.peers.items():
            self.links[name] = wire.Link(host, port, tls, login)
        await super().start()
        self.raft.start()

    async def settled(self) -> None:
        while not self.raft.leader:
            await asyncio.sleep(self.raft.pace)

    async def call(self, peer: str, message: dict[str, Any], timeout: float) -> dict[str, Any]:
        return await self.links[peer].call(message, timeout)

    async def op_vote(self, request: dict[str, Any]) -> dict[str, Any]:
        return self.raft.on_vote(request)

    async def op_append(self, request: dict[str, Any]) -> dict[str, Any]:
        return self.raft.on_append(request)

    async def op_index(self, _: dict[str, Any]) -> dict[str, Any]:
        return {"index": await self.raft.confirmed()}

    async def op_status(self, _: dict[str, Any]) -> dict[str, Any]:
        r = self.raft
        now = time.monotonic()
        near = [p for p, at in r.acked.items() if now - at < r.pace * 16]
        return {
            "role": r.role,
            "leader": r.leader,
            "term": r.term,
            "last": len(r.log),
            "commit": r.commit,
            "members": 1 + len(r.peers),
            "in_sync": 1 + sum(r.match[p] >= r.commit for p in near) if r.role == "leader" else 0,
        }

    async def fresh(self) -> None:
        """Until this member knows all that was acknowledged before: then it may answer a read."""
        if self.raft.role == "leader":
            index = await self.raft.confirmed()
        elif self.raft.leader:
            index = int((await self.call(self.raft.leader, {"op": "index"}, 2.0))["index"])
        else:
            raise NotLeader("")
        await self.raft.reached(index)

    def measured(self) -> dict[str, float]:
        found = super().measured()
        return {**found, "toy_commit_index": self.raft.commit, "toy_leader": float(self.raft.role == "leader")}
