"""One Valkey (or Redis) on the machine at hand, for tests that cut its power."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from components.kit.probing import Held, Target, Writer
from components.kit.servers import Promise, program
from components.redis.settings import Settings

PACKAGE = "valkey-tools or redis-tools"
#: Debian's *-tools hold the server itself under this name: it starts as one when called so. The
#: packages of that name would only add a service, which starts at once.
PROGRAMS = {
    "valkey-server": "valkey-server",
    "valkey-check-rdb": "valkey-server",
    "redis-server": "redis-server",
    "redis-check-rdb": "redis-server",
}
#: everysec: a second between two fsyncs, and up to one more while one of them is slow (aof.c
#: delays the write to the file for at most two). It counts that second by the time of day: while
#: the clock is behind where it was, nothing is synced (7.0 to 9; found by the clock's own trial).
WINDOWS = {"always": 0.0, "everysec": 2.0}


class RedisServer:
    """As the room's chart sets the append-only file."""

    def __init__(self, settings: Mapping[str, str], promised: str) -> None:
        self.settings = settings
        self._program = program(PROGRAMS, PACKAGE)
        window = WINDOWS[promised]
        lost = "no write"
        if window:
            lost = f"the last {window:g} s of writes, or those since the clock was set back"
        words = f"power lost on all hosts: at most {lost}"
        self.promise = Promise("all hosts", window, words, since_set_back=window > 0)

    def version(self) -> str:
        """As the program tells it."""
        words = [PROGRAMS[self._program.name], "--version"]
        done = subprocess.run(words, executable=self._program, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    def prepare(self, data: Path) -> list[str]:
        """An empty folder is an empty store."""
        return []

    def command(self, data: Path, run: Path) -> list[str]:
        """A socket in `run`, no port."""
        wish = {
            **self.settings,
            "dir": str(data),
            "port": "0",
            "save": "",
            "appendonly": "yes",
            "unixsocket": str(run / "redis.sock"),
            "aof-use-rdb-preamble": "yes",
        }
        options = [word for name, value in wish.items() for word in (f"--{name}", value)]
        name = PROGRAMS[self._program.name]
        return ["bash", "-c", f'exec -a {name} "$0" "$@"', str(self._program), *options]

    def client(self, run: Path) -> Writer:
        """A lone server has no replica to wait for."""
        return LocalWriter(run)

    def now(self, run: Path) -> float:
        """Its answer to TIME."""
        seconds, micros = _connected(run).time()
        return float(seconds) + float(micros) / 1e6

    def exercise(self, run: Path) -> None:
        """A rewrite of the append-only file: new files, renames, an exchange of the manifest."""
        _connected(run).bgrewriteaof()


class LocalWriter:
    """A list for each run: what was acknowledged, in its order."""

    def __init__(self, run: Path) -> None:
        self._run_folder = run
        self._connection: Any = None

    def open(self, target: Target | None) -> None:
        """Connect."""
        self._connection = _connected(self._run_folder)
        self._connection.ping()

    def write(self, uid: str) -> None:
        """Acknowledged is the answer to RPUSH: with `appendfsync always` it comes after fsync."""
        self._connection.rpush(f"audit:{uid.rsplit('-', 2)[0]}", uid)

    def read_all(self, run: str) -> set[str]:
        """Every uid of the run."""
        return set(self.read_back(run))

    def read_back(self, run: str) -> Held:
        """In the list's order."""
        found = self._connection.lrange(f"audit:{run}", 0, -1)
        return Held([[uid.decode(errors="replace") for uid in found]], repeats=True, ordered=True)

    def close(self) -> None:
        """Let go."""
        if self._connection is not None:
            self._connection.close()


def _connected(run: Path) -> Any:
    return redis.Redis(unix_socket_path=str(run / "redis.sock"), socket_timeout=5, retry=Retry(NoBackoff(), 0))


def server(settings: Mapping[str, str] | None = None, *, loss: str = "") -> RedisServer:
    """A site that set `fsync: always` promises more, in the words of settings.contract()."""
    promised = "always" if loss.endswith("at once: none") else Settings().fsync
    return RedisServer({"appendfsync": promised, **(settings or {})}, promised)
