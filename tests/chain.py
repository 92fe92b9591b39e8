"""A platform in memory for the logic of the integration suite, and ways to sabotage any platform.

The live run uses the real stores; here only the verdicts are tried.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from components.kit import contract
from validate.core.errors import ClusterError
from validate.ground.site import Site
from validate.pod.integration import serving, verbs
from validate.pod.integration.features import FeatureRow
from validate.pod.integration.ports import Message, MissingError, Position, Sent, Stores

ZERO = "sha256:" + "0" * 64


class MemoryLog:
    """Two partitions; `spoil` may change what is kept of the acknowledged records."""

    def __init__(self) -> None:
        self.kept: list[list[tuple[str, bytes, str]]] = [[], []]
        self.spoil: Callable[[list[tuple[str, bytes]]], list[tuple[str, bytes]]] = lambda x: x

    def end(self) -> Position:
        return {number: len(part) for number, part in enumerate(self.kept)}

    def send(self, run: str, items: Iterable[tuple[str, bytes]], rate: float | None) -> Sent:
        listed = list(items)
        for key, value in self.spoil(listed):
            self.kept[sum(key.encode()) % 2].append((key, value, run))
        return Sent(len(listed), 0)

    def read(self, start: Position) -> Iterator[Sequence[Message]]:
        spots = dict(start)
        while True:
            found: list[Message] = []
            for part, at in spots.items():
                for number, (key, value, run) in enumerate(self.kept[part][at : at + 200], at):
                    found.append(Message(part, number, key, value, run))
                spots[part] = at + sum(m.partition == part for m in found)
            yield found


class MemoryTable:
    """Rows by run and id; `spoil` may change what a transaction keeps."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str], FeatureRow] = {}
        self.at: dict[str, Position] = {}
        self.spoil: Callable[[Sequence[FeatureRow]], Sequence[FeatureRow]] = lambda rows: rows

    def put(self, run: str, rows: Sequence[FeatureRow], position: Position) -> None:
        for row in self.spoil(rows):
            self.kept.setdefault((run, row.id), row)
        self.at[run] = dict(position)

    def rows(self, run: str) -> list[FeatureRow]:
        return [row for (of, _), row in self.kept.items() if of == run]

    def position(self, run: str) -> Position:
        return self.at.get(run, {})

    def remove(self, run: str) -> int:
        self.kept.clear()
        self.at.clear()
        return 0


class MemoryObjects:
    """`hide` may make a read miss; `forgets` says whether removing works."""

    def __init__(self) -> None:
        self.kept: dict[str, list[bytes]] = {}
        self.hide: Callable[[str], bool] = lambda key: False
        self.version: Callable[[str], int] = lambda key: -1
        self.forgets = True

    def put(self, key: str, data: bytes) -> None:
        self.kept.setdefault(key, []).append(data)

    def get(self, key: str) -> bytes:
        if key not in self.kept or self.hide(key):
            raise MissingError(f"no object {key}")
        return self.kept[key][self.version(key)]

    def names(self, prefix: str) -> list[str]:
        return sorted(k for k in self.kept if k.startswith(prefix) and not self.hide(k))

    def remove(self, prefix: str) -> int:
        if self.forgets:
            self.kept = {k: v for k, v in self.kept.items() if not k.startswith(prefix)}
        return len([k for k in self.kept if k.startswith(prefix)])


class MemoryOnline:
    """`spoil` may change what is kept."""

    def __init__(self) -> None:
        self.kept: dict[str, str] = {}
        self.spoil: Callable[[dict[str, str]], dict[str, str]] = lambda values: values

    def put(self, values: Mapping[str, str]) -> None:
        self.kept.update(self.spoil(dict(values)))

    def get(self, keys: Sequence[str]) -> dict[str, str]:
        return {key: self.kept[key] for key in keys if key in self.kept}

    def remove(self, keys: Sequence[str]) -> int:
        for key in keys:
            self.kept.pop(key, None)
        return 0


@dataclass
class Memory:
    """A platform and its one server of models."""

    folder: Path
    log: MemoryLog = field(default_factory=MemoryLog)
    table: MemoryTable = field(default_factory=MemoryTable)
    objects: MemoryObjects = field(default_factory=MemoryObjects)
    online: MemoryOnline = field(default_factory=MemoryOnline)
    make: Callable[..., serving.Service] = serving.Service
    server: serving.Server | None = None

    def stores(self, given: Iterable[str]) -> Stores:
        """As a pod: what it wasn't given, it can't reach."""
        ports = {"kafka": "log", "postgres": "table", "minio": "objects", "redis": "online"}
        return Stores(**{ports[name]: getattr(self, ports[name]) for name in given})


@dataclass
class MemoryClient:
    """Runs verbs here; the server in a thread, where a pod has a process."""

    name: str
    memory: Memory
    given: list[str]

    def run(self, *command: str, timeout: float = 20.0, stdin: bytes | None = None) -> str:
        raise ClusterError(command[0], "nothing but verbs runs here")

    def inside(self, *args: str, timeout: float) -> Iterator[dict[str, Any]]:
        verb, wish = args[2], json.loads(args[4])
        at = verbs.Place(self.memory.stores(self.given), self.memory.folder)
        if verb == "start":
            told = self._start(at, wish)
        elif verb == "stop":
            if self.memory.server is not None:
                self.memory.server.shutdown()
                self.memory.server.server_close()
            told = {"kind": "integration", "verb": verb, "found": {"stopped": True}}
        else:
            told = verbs.answer(verb, lambda: at, wish)
        yield json.loads(json.dumps(told))

    def checks(self, *args: str, timeout: float) -> Iterator[dict[str, Any]]:
        yield from ()

    def _start(self, at: verbs.Place, wish: dict[str, Any]) -> dict[str, Any]:
        service = self.memory.make(at.stores.objects, at.stores.online, wish["run"])
        service.look()
        server = self.memory.server = serving.Server(service)
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        told = {"port": server.port, "pid": os.getpid()}
        (at.folder / "server.json").write_text(json.dumps(told))
        return {"kind": "integration", "verb": "start", "found": {"model": wish["model"]}}


@dataclass
class MemoryGround:
    """As much of a ground as the suite asks for."""

    memory: Memory
    site: Site

    @contextmanager
    def client(self, components: Sequence[contract.Component], **wish: Any) -> Iterator[Any]:
        yield MemoryClient(wish["role"], self.memory, [c.name for c in components])


def ground(folder: Path, *names: str) -> MemoryGround:
    """A platform in memory with these components."""
    listed = [
        contract.Component(name=name, version="1", mode="managed")
        for name in names or ("kafka", "postgres", "minio", "redis")
    ]
    platform = contract.Platform(site="toy", deployer="pulumi", namespace="x", bundle_digest=ZERO, components=listed)
    return MemoryGround(Memory(folder), Site("toy", folder, folder, platform))


@dataclass
class Sabotaged:
    """Any ground, the live one too, whose pods do something else when asked for a verb.

    `how(verb, wish, ask)` returns the wish to ask with and a change of the answer.
    """

    ground: Any
    how: Callable[[str, dict[str, Any]], tuple[str, dict[str, Any], Callable[[Any], Any]]]

    @property
    def site(self) -> Site:
        site: Site = self.ground.site
        return site

    @contextmanager
    def client(self, components: Sequence[contract.Component], **wish: Any) -> Iterator[Any]:
        with self.ground.client(components, **wish) as real:
            yield SabotagedClient(real, self.how)


@dataclass
class SabotagedClient:
    real: Any
    how: Callable[[str, dict[str, Any]], tuple[str, dict[str, Any], Callable[[Any], Any]]]

    def inside(self, *args: str, timeout: float) -> Iterator[dict[str, Any]]:
        verb, wish, change = self.how(args[2], json.loads(args[4]))
        words = (args[0], args[1], verb, args[3], json.dumps(wish))
        for told in self.real.inside(*words, timeout=timeout):
            yield change(told)


class Retraining:
    """Ways in which a retraining is none. Each keeps what the first training was asked and said."""

    def __init__(self, way: str) -> None:
        self.way = way
        self.first: tuple[dict[str, Any], dict[str, Any]] | None = None
        self.second: dict[str, Any] = {}

    def __call__(self, verb: str, wish: dict[str, Any]) -> Any:
        if verb != "train":
            return verb, wish, lambda told: told
        if self.first is None:
            return verb, wish, lambda told: self._keep(wish, told)
        asked, said = self.first
        if self.way == "not trained again":
            return verb, wish, lambda _: said
        if self.way == "trained on the old data":
            return verb, wish | {"data": asked["data"], "seed": 1}, lambda told: told
        assert self.way == "trained on the old data, and lies about it"
        old = wish | {"data": asked["data"], "seed": 1}
        return verb, old, lambda told: self._lie(told, wish)

    def _keep(self, wish: dict[str, Any], told: dict[str, Any]) -> dict[str, Any]:
        self.first = (wish, told)
        return told

    def _lie(self, told: dict[str, Any], wish: dict[str, Any]) -> dict[str, Any]:
        return told | {"found": told["found"] | {"data_seen": wish["data"]}}
