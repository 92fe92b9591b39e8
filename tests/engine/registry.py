"""The room `mlflow` as processes: its own start.py in the Python and with the wheels of its image, on a real PostgreSQL
and a real MinIO, with TLS as on a site."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from minio import Minio
from minio.versioningconfig import ENABLED, VersioningConfig

from components.minio import probe as minio
from components.mlflow import settings as room
from problems import tracking
from problems.tracking import Mlflow
from tests import ports
from tests.engine import built, featuring, stores
from tests.engine.test_integration_stores import target
from validate.ground.kubectl import wait_for
from validate.ground.site import REPOSITORY

START = REPOSITORY / "components" / "mlflow" / "chart" / "files" / "start.py"


@dataclass
class Registry:
    """Everything that a pod of the room has, on this machine."""

    made: stores.Platform
    python: Path
    port: int

    @property
    def ca(self) -> Path:
        return self.made.state / "pki" / "ca.crt"

    @property
    def environment(self) -> dict[str, str]:
        """As the steps of a problem are given it."""
        return {tracking.URI: f"https://{ports.HOST}:{self.port}", tracking.CA: str(self.ca)}

    @property
    def mlflow(self) -> Mlflow:
        return Mlflow(self.environment[tracking.URI], str(self.ca))

    @property
    def bucket(self) -> Minio:
        given = target(self.made, "minio")
        return minio.connect(given, minio.addresses(given)[0])

    def keys(self, part: str = "") -> list[str]:
        """Names of the objects with that in them."""
        return sorted(
            str(each.object_name)
            for each in self.bucket.list_objects(room.ROOM, recursive=True)
            if part in str(each.object_name)
        )

    def mount(self) -> Path:
        mounts = self.made.state / "mlflow"
        for store in ("database", "artefacts"):
            (mounts / store).mkdir(parents=True)
            (mounts / store / "username").write_text("probe")
            (mounts / store / "password").write_text(self.made.password)
            shutil.copy(self.ca, mounts / store / "ca.crt")
        (mounts / "auth").mkdir()
        for key in ("session-key", "wrapping-key"):
            (mounts / "auth" / key).write_text(secrets.token_hex(16))
        (mounts / "tls").mkdir()
        shutil.copy(self.made.leaf.certificate, mounts / "tls" / "tls.crt")
        shutil.copy(self.made.leaf.key, mounts / "tls" / "tls.key")
        return mounts

    def start(self) -> None:
        """Tables, then a server that has answered once."""
        mounts = self.mount()
        said = self._said(mounts)
        done = subprocess.run([self.python, START, "migrate"], env=said, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-3000:]
        with (self.made.state / "mlflow.log").open("wb") as log:
            process = subprocess.Popen([self.python, START, "serve"], env=said, stdout=log, stderr=log)
        self.made.processes["mlflow"] = process
        wait_for(
            "MLflow to answer",
            lambda: self.mlflow.ask("GET", "/health", tries=1) or None,
            timeout=180,
            every=0.5,
            swallow=(OSError,),
        )

    def _said(self, mounts: Path) -> dict[str, str]:
        """As the chart says it to the container."""

        def address(store: str) -> str:
            return self.made.component(store).endpoints_in[0].address

        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.made.state),
            "APADANA_MOUNTS": str(mounts),
            "HOST": ports.HOST,
            "PORT": str(self.port),
            "DATABASE_ADDRESS": address("postgres"),
            "DATABASE_NAME": "postgres",
            "DATABASE_CONNECT_SECONDS": "15",  # other tests may be at work beside it
            "MLFLOW_SQLALCHEMYSTORE_POOL_SIZE": str(room.KEPT),
            "MLFLOW_SQLALCHEMYSTORE_MAX_OVERFLOW": str(room.BURST),
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "DO_NOT_TRACK": "true",
            "OPENBLAS_NUM_THREADS": "1",
            "MLFLOW_S3_ENDPOINT_URL": f"https://{address('minio')}",
            "ARTEFACTS": f"s3://{room.ROOM}/",
            "ARTEFACTS_CONNECT_SECONDS": "5",
            "AWS_DEFAULT_REGION": "us-east-1",
            "MLFLOW_SERVER_ALLOWED_HOSTS": f"{ports.HOST}:{self.port}",
            "MLFLOW_SERVER_CORS_ALLOWED_ORIGINS": "https://localhost",
        }


@contextmanager
def registry() -> Iterator[Registry]:
    """On stores of its own; its bucket keeps older versions, as on a site."""
    python = featuring.interpreter(room.ROOM)
    with stores.platform() as made:
        stores.add_postgres(made)
        built.add_minio(made)
        found = Registry(made, python, ports.free_port())
        wait_for("the bucket", lambda: _bucket(found.bucket), timeout=60, swallow=(Exception,))
        found.start()
        yield found


def _bucket(client: Minio) -> bool:
    client.make_bucket(room.ROOM)
    client.set_bucket_versioning(room.ROOM, VersioningConfig(ENABLED))
    return True
