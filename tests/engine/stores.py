"""Redis with a replica and a Sentinel, and PostgreSQL, as processes: a platform for tests of load.

Debian packages: redis-server (or valkey-server), postgresql. TLS, users and contract are as on a
site, so that the rooms' own clients run unchanged. Members are named in `local.json`.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import ssl
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, LiteralString

import psycopg
import pytest
import redis

from components.kit import contract, pki
from tests.ports import HOST, free_port
from validate.core.errors import ClusterError
from validate.ground.kubectl import wait_for
from validate.ground.local import LocalGround
from validate.ground.site import REPOSITORY, Site


def program(*names: str) -> str:
    """The first that is installed; without one the test says what to install and is skipped."""
    places = [*os.environ["PATH"].split(":"), *map(str, Path("/usr/lib/postgresql").glob("*/bin"))]
    for name in names:
        if found := shutil.which(name, path=":".join(places)):
            return found
    pytest.skip(f"none of {', '.join(names)} is installed (`make engine` installs them)")


@dataclass
class Platform:
    """Processes below one folder; `pids` by member."""

    state: Path
    password: str = field(default_factory=lambda: secrets.token_hex(12))
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    components: list[contract.Component] = field(default_factory=list)

    def start(
        self, component: str, name: str, command: Sequence[str], user: str | None = None
    ) -> subprocess.Popen[bytes]:
        with (self.state / f"{name}.log").open("wb") as log:
            made = subprocess.Popen(command, stdout=log, stderr=log, user=user)
        self.processes[name] = made
        (self.state / f"{name}.pid").write_text(str(made.pid))
        self.members.append(
            {
                "component": component,
                "name": name,
                "host": "here",
                "address": HOST,
                "pid_file": f"{name}.pid",
                "paths": {},
            }
        )
        return made

    @property
    def members(self) -> list[dict[str, object]]:
        return self._members

    def __post_init__(self) -> None:
        self._members: list[dict[str, object]] = []
        pki.ensure_ca(self.state / "pki", "test")
        self.leaf = pki.ensure_leaf(self.state / "pki", "server", ["localhost"], [HOST])

    def offer(self, name: str, protocol: str, ports: Sequence[int], **client: object) -> None:
        """Its part of the contract, and what a client is given."""
        address = ",".join(f"{HOST}:{port}" for port in ports)
        self.components.append(
            contract.Component.model_validate(
                {
                    "name": name,
                    "version": "1",
                    "mode": "managed",
                    "client": client,
                    "endpoints_in": [{"protocol": protocol, "address": address}],
                }
            )
        )
        given = self.state / "secrets" / name
        given.mkdir(parents=True)
        (given / "username").write_text("probe")
        (given / "password").write_text(self.password)
        shutil.copy(self.state / "pki" / "ca.crt", given / "ca.crt")

    def ground(self, rooms: Path = REPOSITORY / "components") -> LocalGround:
        told = {
            "rooms": str(rooms),
            "objects": "",
            "secrets": "secrets",
            "clients": {"client": []},
            "hosts": {"here": {"reach": []}},
            "members": self.members,
        }
        (self.state / "local.json").write_text(json.dumps(told))
        platform = contract.Platform(
            site="test",
            deployer="pulumi",
            namespace="platform",
            bundle_digest="sha256:" + "0" * 64,
            components=self.components,
        )
        return LocalGround(Site("test", self.state, self.state, platform))

    def component(self, name: str) -> contract.Component:
        return next(c for c in self.components if c.name == name)

    def listens(self, name: str, port: int, *, tls: bool = True, timeout: float = 60) -> None:
        """Until it answers; says what it wrote when it does not."""
        context = ssl.create_default_context(cafile=str(self.state / "pki" / "ca.crt"))

        def look() -> bool | None:
            if self.processes[name].poll() is not None:
                raise ClusterError(name, (self.state / f"{name}.log").read_text()[-800:])
            with socket.create_connection((HOST, port), timeout=2) as line:
                if tls:
                    with context.wrap_socket(line, server_hostname=HOST):
                        return True
            return True

        wait_for(f"{name} on {port}", look, timeout=timeout, every=0.1, swallow=(OSError,))


@contextmanager
def platform() -> Iterator[Platform]:
    """Everything of it is gone afterwards."""
    place = Path(tempfile.mkdtemp(prefix="load-stores-"))
    place.chmod(0o755)
    made = Platform(place)
    try:
        yield made
    finally:
        for process in made.processes.values():
            process.kill()
            process.wait()
        shutil.rmtree(place, ignore_errors=True)


def add_redis(made: Platform, *, users_in_files: bool = False) -> None:
    """A primary, a replica, a Sentinel; `users_in_files`: they keep the users that they are given later."""
    server = program("valkey-server", "redis-server")
    ports = {name: free_port() for name in ("redis-0", "redis-1", "redis-sentinel")}
    users = ["user default off", f"user probe on >{made.password} ~* &* +@all"]

    def known(name: str) -> str:
        if not users_in_files:
            return "".join(f"{line}\n" for line in users)
        file = made.state / f"{name}.acl"
        file.write_text("".join(f"{line}\n" for line in users))
        return f"aclfile {file}\n"

    tls = (
        f"port 0\ntls-replication yes\ntls-auth-clients no\nbind {HOST}\n"
        f"tls-cert-file {made.leaf.certificate}\ntls-key-file {made.leaf.key}\n"
        f"tls-ca-cert-file {made.state}/pki/ca.crt\n"
    )
    for name in ("redis-0", "redis-1"):
        folder = made.state / name
        folder.mkdir()
        text = f'{tls}{known(name)}tls-port {ports[name]}\ndir {folder}\nappendonly yes\nsave ""\n'
        text += f"masteruser probe\nmasterauth {made.password}\n"
        if name == "redis-1":
            text += f"replicaof {HOST} {ports['redis-0']}\n"
        (folder / "server.conf").write_text(text)
        made.start("redis", name, [server, str(folder / "server.conf")])
    file = made.state / "sentinel.conf"
    file.write_text(
        f"{tls}{known('redis-sentinel')}tls-port {ports['redis-sentinel']}\ndir {made.state}\n"
        f"sentinel monitor redis {HOST} {ports['redis-0']} 1\n"
        f"sentinel auth-user redis probe\nsentinel auth-pass redis {made.password}\n"
    )
    made.start("redis", "redis-sentinel", [server, str(file), "--sentinel"])
    for name, port in ports.items():
        made.listens(name, port)
    line: Any = redis.Redis(
        host=HOST,
        port=ports["redis-0"],
        username="probe",
        password=made.password,
        ssl=True,
        ssl_ca_certs=str(made.state / "pki" / "ca.crt"),
    )
    wait_for(
        "the replica to follow",
        lambda: int(line.execute_command("WAIT", 1, 500)) or None,
        timeout=30,
        every=0.1,
        swallow=(redis.RedisError,),
    )
    made.offer("redis", "redis-sentinel", [ports["redis-sentinel"]])


def add_postgres(made: Platform) -> None:
    """One server; nothing is replicated, so a commit waits for its disk alone."""
    initdb, server = program("initdb"), program("postgres")
    port, folder = free_port(), made.state / "postgres"
    folder.mkdir()
    shutil.chown(folder, "postgres")
    words = made.state / "pgpass"
    words.write_text(made.password)
    words.chmod(0o644)
    subprocess.run(
        [initdb, "-D", str(folder / "data"), "-U", "probe", "--pwfile", str(words), "-A", "scram-sha-256", "--no-sync"],
        user="postgres",
        check=True,
        capture_output=True,
    )
    for source, name in ((made.leaf.certificate, "tls.crt"), (made.leaf.key, "tls.key")):
        shutil.copy(source, folder / name)
        shutil.chown(folder / name, "postgres")
        (folder / name).chmod(0o600)
    options = {
        "listen_addresses": HOST,
        "port": port,
        "unix_socket_directories": "",
        "ssl": "on",
        "ssl_cert_file": folder / "tls.crt",
        "ssl_key_file": folder / "tls.key",
    }
    words_ = [part for key, value in options.items() for part in ("-c", f"{key}={value}")]
    made.start("postgres", "postgres-0", [server, "-D", str(folder / "data"), *words_], "postgres")
    made.listens("postgres-0", port, tls=False)
    # It listens before it takes anybody.
    wait_for(
        "postgres-0 to take a log-in",
        lambda: sql(made, port, "SELECT 1"),
        timeout=60,
        every=0.1,
        swallow=(psycopg.OperationalError,),
    )
    made.offer("postgres", "postgres", [port])
    given = made.state / "secrets" / "postgres"
    (given / "database").write_text("postgres")


def sql(made: Platform, port: int, words: LiteralString, database: str = "postgres") -> list[Any]:
    """What PostgreSQL answers to its superuser; nothing: []."""
    with psycopg.connect(
        host=HOST, port=port, user="probe", password=made.password, dbname=database, autocommit=True
    ) as line:
        found = line.execute(words)
        return found.fetchall() if found.description else []
