"""A driver of Spark as its pod starts it: the image's code, Python and jars, on a MinIO and a PostgreSQL with TLS."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from minio import Minio

from components.minio import probe as minio
from tests import bytecode, ports
from tests.engine import built, featuring, stores, test_integration_stores
from validate.ground.site import REPOSITORY

CODE = REPOSITORY / "components" / "spark" / "image"


@dataclass
class Spark:
    """Everything that a pod of a job has, on this machine."""

    made: stores.Platform
    python: Path
    jars: Path
    client: Minio
    bucket: str

    def __post_init__(self) -> None:
        self.login = self.made.state / "login"
        self.login.mkdir()
        (self.login / "username").write_text("probe")
        for word in ("store-password", "database-password", "pods-password"):
            (self.login / word).write_text(self.made.password)
        (self.login / "ca.crt").write_bytes((self.made.state / "pki" / "ca.crt").read_bytes())

    def address(self, store: str) -> str:
        """Of its first endpoint."""
        return self.made.component(store).endpoints_in[0].address

    def start(self, name: str, main: Path, *words: str) -> subprocess.Popen[bytes]:
        """A driver that works alone, in a process group of its own: to end it is to lose its pod."""
        told = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.made.state),
            "PYTHONPATH": str(CODE),
            **bytecode.KEPT,
            "APADANA_LOGIN": str(self.login),
            "APADANA_WORK": str(self.made.state / name),
            "SPARK_JARS": str(self.jars),
            # They start more than they work.
            "JAVA_TOOL_OPTIONS": "-XX:TieredStopAtLevel=1 -Xshare:auto",
            "JOB_NAME": name,
            "JOB_MAIN": str(main),
            "EXECUTORS": "0",
            "CORES": "2",
            "HEAP_MIB": "640",
            "CONNECT_PORT": str(ports.free_port()),
            "STORE_ADDRESS": self.address("minio"),
            "DATABASE_ADDRESS": self.address("postgres"),
            "LAKE": "postgres",
            "WAREHOUSE": f"s3a://{self.bucket}/tables",
            "EVENTS": f"s3a://{self.bucket}/events/",
            "AWS_REGION": "us-east-1",
        }
        command = [str(self.python), "-m", "apadana_spark", "job", *words]
        with (self.made.state / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(command, env=told, stdout=log, stderr=log, start_new_session=True)
        self.made.processes[f"spark-{name}"] = process
        return process

    def finish(self, name: str, main: Path, *words: str) -> None:
        """Until it has ended well."""
        code = self.start(name, main, *words).wait(timeout=900)
        assert code == 0, self.log(name)

    def log(self, name: str) -> str:
        """The end of what it wrote."""
        return (self.made.state / f"{name}.log").read_text()[-4000:]

    def lose(self, process: subprocess.Popen[bytes]) -> None:
        """Its whole pod at once, JVM and Python."""
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def objects(self, ends: str) -> list[str]:
        """What lies in the bucket."""
        found = self.client.list_objects(self.bucket, recursive=True)
        return [str(each.object_name) for each in found if str(each.object_name).endswith(ends)]

    def put(self, name: str, data: bytes) -> None:
        """An object."""
        self.client.put_object(self.bucket, name, BytesIO(data), len(data))


@contextmanager
def spark() -> Iterator[Spark]:
    """On stores of its own."""
    python, jars = featuring.interpreter("spark"), built.built("jars/spark-*")
    with stores.platform() as made:
        built.add_minio(made)
        stores.add_postgres(made)
        target = test_integration_stores.target(made, "minio")
        built.make_bucket(target)
        room = Spark(made, python, jars, minio.connect(target, minio.addresses(target)[0]), minio.bucket(target))
        room.put("events/.keep", b"")
        try:
            yield room
        finally:
            for name, process in made.processes.items():
                if name.startswith("spark-") and process.poll() is None:
                    room.lose(process)
