"""The room `feast` as processes: its code in the Python and with the wheels of its image, on a real
PostgreSQL, and on a Valkey with a replica and a Sentinel, with TLS and the rights of a site."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import redis
import yaml

from components.feast import settings as room
from tests import bytecode, ports
from tests.engine import built, stores
from validate.ground.kubectl import wait_for
from validate.ground.site import REPOSITORY

CODE = REPOSITORY / "components" / "feast" / "image"
PYTHON = yaml.safe_load((REPOSITORY / "versions.yaml").read_text())["python"]["version"]
#: What a consumer may do at a primary and at a Sentinel: components/redis/chart/files.
AT_PRIMARY = (
    "resetkeys ~feast:* resetchannels -@all +@read +@write +@connection +@transaction -@dangerous +wait +info +role"
)
AT_SENTINEL = (
    "resetkeys &* -@all +@connection +ping +info +role +sentinel|get-master-addr-by-name +sentinel|master"
    " +sentinel|masters"
)


def installed() -> Path:
    """A Python of the images' version on this machine; pyenv's own command runs only what it was told to."""
    name = f"python{PYTHON}"
    found = [Path(shutil.which(name) or name), *Path.home().glob(f".pyenv/versions/{PYTHON}.*/bin/{name}")]
    for each in found:
        if each.is_absolute() and subprocess.run([each, "-V"], capture_output=True).returncode == 0:
            return each
    pytest.skip(f"no {name} is installed, which is the images'")


def interpreter(image: str = room.ROOM) -> Path:
    """A Python of the image's version with the image's wheels; made once for each lock."""
    wheels = built.built(f"wheels/{image}-*")
    target = built.CACHE / "venvs" / wheels.name
    python = target / "bin" / "python"
    if not (target / "whole").exists():
        uv = Path(sys.executable).with_name("uv")
        subprocess.run([uv, "venv", "-q", "--clear", "--offline", "--python", installed(), target], check=True)
        files = sorted(wheels.glob("*.whl"))
        subprocess.run([uv, "pip", "install", "-q", "--offline", "--no-deps", "--python", python, *files], check=True)
        for archive in wheels.glob("*.tar.gz"):  # what is served as source alone, unpacked as the image does
            into = ["--directory", str(target / "lib" / f"python{PYTHON}" / "site-packages"), "--strip-components", "1"]
            named = f"*/{archive.name.partition('_')[0]}/*"
            subprocess.run(["tar", "-xzf", archive, *into, "--wildcards", named], check=True)
        (target / "whole").touch()
    return python


def client(made: stores.Platform, port: int, user: str = "probe", password: str | None = None) -> Any:
    return redis.Redis(
        host=ports.HOST,
        port=port,
        username=user,
        password=password or made.password,
        ssl=True,
        ssl_ca_certs=str(made.state / "pki" / "ca.crt"),
        socket_timeout=5,
    )


#: The room's commands and pieces of code, one after another in one process.
WORKER = """
import contextlib, io, json, sys, traceback
from apadana_feast import __main__ as room
for line in sys.stdin:
    asked, said = json.loads(line), io.StringIO()
    names, code = {"given": asked.get("given"), "answer": None}, 0
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
        try:
            if "command" in asked:
                sys.argv = ["apadana_feast", asked["command"]]
                code = room.main()
            else:
                exec(asked["text"], names)
        except Exception:
            traceback.print_exc()
            code = 1
    print(json.dumps({"returncode": code, "stderr": said.getvalue(), "answer": names["answer"]}), flush=True)
"""


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    returncode: int
    stderr: str
    answer: Any


@dataclass
class Feast:
    """Everything that a pod of the room has, on this machine."""

    made: stores.Platform
    python: Path
    definitions: Mapping[str, str]
    password: str = field(default_factory=lambda: secrets.token_hex(12))
    worker: subprocess.Popen[str] | None = None

    def __post_init__(self) -> None:
        self.port = ports.free_port()
        self.mounts = self.made.state / "mounts"
        for store, user, word in (("database", "probe", self.made.password), ("online", room.ROOM, self.password)):
            (self.mounts / store).mkdir(parents=True)
            (self.mounts / store / "username").write_text(user)
            (self.mounts / store / "password").write_text(word)
            shutil.copy(self.made.state / "pki" / "ca.crt", self.mounts / store / "ca.crt")
        self.define(self.definitions)
        for name in ("redis-0", "redis-1"):
            self.admit(name)
        self.sentinel.execute_command("ACL", "SETUSER", room.ROOM, "on", f">{self.password}", *AT_SENTINEL.split())

    def define(self, files: Mapping[str, str]) -> None:
        """Other definitions from now on."""
        shutil.rmtree(self.mounts / "definitions", ignore_errors=True)
        (self.mounts / "definitions").mkdir()
        for name, text in files.items():
            (self.mounts / "definitions" / name).write_text(text)

    def admit(self, name: str) -> None:
        """The room's user, as the store makes it from the need; a server that was started anew has forgotten it."""
        line = self.server(name)
        line.execute_command("ACL", "SETUSER", room.ROOM, "on", f">{self.password}", *AT_PRIMARY.split())

    def restart(self, name: str) -> None:
        """A server that was killed, as a new process on what it had."""
        self.made.start("redis", name, [str(word) for word in self.made.processes[name].args])  # type: ignore[union-attr]  # a list it was
        line = self.server(name)
        wait_for(f"{name} again", lambda: line.ping() or None, timeout=30, every=0.1, swallow=(redis.RedisError,))
        self.admit(name)

    def server(self, name: str) -> Any:
        text = (self.made.state / name / "server.conf").read_text()
        port = next(line.split()[1] for line in text.splitlines() if line.startswith("tls-port"))
        return client(self.made, int(port))

    @property
    def sentinel(self) -> Any:
        return client(self.made, int(self.address("redis").rpartition(":")[2]))

    def primary(self) -> str:
        """The member that the Sentinel names."""
        _, port = self.sentinel.sentinel_get_master_addr_by_name("redis")
        for name in ("redis-0", "redis-1"):
            if f"tls-port {port}\n" in (self.made.state / name / "server.conf").read_text():
                return name
        raise LookupError(f"nobody listens on {port}")

    def address(self, store: str) -> str:
        """Of a store's first endpoint."""
        return self.made.component(store).endpoints_in[0].address

    def environment(self) -> dict[str, str]:
        """As the chart gives it to the pods."""
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.made.state),
            "PYTHONPATH": str(CODE),
            **bytecode.KEPT,
            "APADANA_MOUNTS": str(self.mounts),
            "DATABASE_ADDRESS": self.address("postgres"),
            "DATABASE_NAME": "postgres",
            "DATABASE_CONNECT_SECONDS": "15",  # other tests may be at work beside it
            "ONLINE_ADDRESSES": self.address("redis"),
            "ONLINE_SERVICE_NAME": "redis",
            "ONLINE_PREFIX": room.ROOM,
            "PORT": str(self.port),
            "CONNECTIONS": "2",
        }

    def run(self, command: str) -> Done:
        """One of the room's own commands."""
        return self._worker(command=command)

    def script(self, text: str, given: object) -> Any:
        """A piece of code in the image's Python: it finds `given`, and leaves its `answer`."""
        done = self._worker(text=text, given=given)
        assert done.returncode == 0, done.stderr[-3000:]
        return done.answer

    def _worker(self, **asked: object) -> Done:
        """Feast takes some seconds of processor time to be imported: once is enough."""
        if self.worker is None:
            self.worker = subprocess.Popen(
                [self.python, "-c", WORKER],
                env=self.environment(),
                cwd=self.mounts,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            self.made.processes["feast-worker"] = self.worker  # type: ignore[assignment]  # it is ended alike
        assert self.worker.stdin and self.worker.stdout
        self.worker.stdin.write(json.dumps(asked) + "\n")
        self.worker.stdin.flush()
        return Done(**json.loads(self.worker.stdout.readline()))

    def sql(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """As the offline store's owner, by a client of our own."""
        import psycopg

        host, _, port = self.address("postgres").rpartition(":")
        with psycopg.connect(
            host=host,
            port=port,
            user="probe",
            password=self.made.password,
            dbname="postgres",
            sslmode="verify-full",
            sslrootcert=str(self.made.state / "pki" / "ca.crt"),
        ) as line:
            cursor = line.execute(query.encode(), values)
            return cursor.fetchall() if cursor.description else []

    def serve(self) -> subprocess.Popen[bytes]:
        """A feature server, as a plain process; it has answered once when this returns."""
        with (self.made.state / "feast.log").open("ab") as log:
            process = subprocess.Popen(
                [self.python, "-m", "apadana_feast", "serve"],
                env=self.environment(),
                cwd=self.mounts,
                stdout=log,
                stderr=log,
            )
        self.made.processes[f"feast-{self.port}"] = process
        # On a busy machine its imports alone take a minute.
        self.made.listens(f"feast-{self.port}", self.port, tls=False, timeout=240)
        return process


def follow(feast: Feast) -> None:
    """Until a replica has what the primary has; on a busy machine the Sentinel may choose another one meanwhile."""

    def followed() -> bool | None:
        line = feast.server(feast.primary())
        line.set("feast:ping", "x")
        return int(line.execute_command("WAIT", 1, 500)) > 0 or None

    wait_for("a replica to follow", followed, timeout=60, every=0.2, swallow=(redis.RedisError,))


@contextmanager
def feast(definitions: Mapping[str, str]) -> Iterator[Feast]:
    """On stores of its own, applied and served."""
    with stores.platform() as made:
        stores.add_redis(made)
        stores.add_postgres(made)
        room_ = Feast(made, interpreter(), definitions)
        assert (done := room_.run("apply")).returncode == 0, done.stderr
        room_.serve()
        yield room_
