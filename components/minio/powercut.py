"""One MinIO with one drive on the machine at hand, for tests that cut its power."""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from pathlib import Path

import urllib3
from minio import Minio

from components.kit.probing import Endpoint, Target, Writer
from components.kit.servers import Promise, built
from components.minio import probe
from components.minio import settings as room

HOST, USER = "127.0.0.1", "probe"
#: A static program: nothing can be put between it and the kernel's clock.
WRONG_CLOCK = False
LOSS = f"power lost on all hosts at once: {room.POWER_LOSS}"
PROMISE = Promise("all hosts", room.COMMIT_S + 1.0, LOSS, names_every_s=room.COMMIT_S)


class MinioServer:
    """What a site's member does on each of its drives, with no other member to help."""

    promise = PROMISE

    def __init__(self, settings: Mapping[str, str]) -> None:
        self.settings: Mapping[str, str] = {"drives": "1", **settings}
        self._program = built("minio")
        self._password = secrets.token_urlsafe(24)
        self._address = ""

    def version(self) -> str:
        """As the program tells it."""
        words = [str(self._program), "--version"]
        told = subprocess.run(words, capture_output=True, text=True, check=True).stdout
        return told.splitlines()[0]

    def prepare(self, data: Path) -> list[str]:
        """An empty folder is an empty drive."""
        return []

    def command(self, data: Path, run: Path) -> list[str]:
        """On a free port of the loopback: MinIO knows no socket file."""
        with socket.create_server((HOST, 0)) as taken:
            self._address = f"{HOST}:{taken.getsockname()[1]}"
        secret, owner = run / "password", run.stat()
        secret.write_text(self._password)
        os.chown(secret, owner.st_uid, owner.st_gid)
        secret.chmod(0o600)
        wish = {
            "HOME": str(run),
            "MINIO_ROOT_USER": USER,
            "MINIO_ROOT_PASSWORD_FILE": str(secret),
            "MINIO_BROWSER": "off",
            "MINIO_UPDATE": "off",
        }
        words = [f"{name}={value}" for name, value in wish.items()]
        return ["env", *words, str(self._program), "server", "--quiet", "--address", self._address, str(data)]

    def client(self, run: Path) -> Writer:
        """The room's own writer, without TLS."""
        return LocalWriter(self._address, self._password)

    def now(self, run: Path) -> float:
        """The Date of an answer, to a second."""
        answer = urllib3.request("GET", f"http://{self._address}/minio/health/live", timeout=5)
        return parsedate_to_datetime(answer.headers["Date"]).timestamp()

    def exercise(self, run: Path) -> None:
        """Each object is files of its own already: nothing is put off that could be asked for."""


class LocalWriter(probe.MinioWriter):
    """Makes its bucket if it is not there."""

    def __init__(self, address: str, password: str) -> None:
        super().__init__()
        self._given = Target("minio", [Endpoint("s3", address)], USER, password, "")

    def open(self, target: Target | None) -> None:
        """Connect."""
        self._target, self._turn = self._given, 0
        client = Minio(
            self._given.endpoint("s3").address,
            access_key=USER,
            secret_key=self._given.password,
            secure=False,
            region="us-east-1",
            http_client=urllib3.PoolManager(timeout=10.0, retries=False),
        )
        self._clients = [client]
        if not client.bucket_exists(probe.bucket(self._given)):
            client.make_bucket(probe.bucket(self._given))


def server(settings: Mapping[str, str] | None = None, *, loss: str = "") -> MinioServer:
    """The room has no setting of what is synced."""
    return MinioServer(settings or {})
