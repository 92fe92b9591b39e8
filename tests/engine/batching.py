"""Batches of the image's own model server, as the Job runs them, in processes that can be killed at any moment."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any

import psycopg
from minio import Minio
from psycopg import sql

from components.kserve.image.server.wished import Wish
from components.minio import probe as minio
from components.models.keeper.artefacts import MANIFEST, digest_of
from components.models.keeper.objects import folder
from tests.engine import built, modelserving, stores
from tests.engine.mirroring import python
from tests.engine.modelserving import Server, Wanted
from tests.engine.test_integration_stores import target
from tests.ports import HOST

#: Imported once, then a process for each batch. Who asks is told the process, and, once it is gone, how it ended.
BATCHES = """
import json, os, sys
from components.kserve.image.server import batch
for line in sys.stdin:
    told = json.loads(line)
    if "end" in told:
        print(os.waitstatus_to_exitcode(os.waitpid(told["end"], 0)[1]), flush=True)
        continue
    child = os.fork()
    if child == 0:
        os.environ.update(told["environment"])
        log = os.open(told["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(log, 1), os.dup2(log, 2)
        code = 1
        try:
            code = batch.main([told["wish"]])
        finally:
            sys.stdout.flush(), sys.stderr.flush()
            os._exit(code)
    print(child, flush=True)
"""

COLUMNS = ("a", "b", "c", "d")
#: Models as modelserving.py makes them.
DATA = """
from sklearn.linear_model import LinearRegression, LogisticRegression
chance = numpy.random.default_rng(7)
rows = chance.normal(size=(600, 4))
labels = (rows @ [1.0, -2.0, 0.5, 0.0] + chance.normal(size=600) > 0).astype(int) + (rows[:, 0] > 1)
"""
LINEAR = f"{DATA}model = LogisticRegression().fit(rows, labels)"
TREES = f"{DATA}import xgboost; model = xgboost.XGBClassifier(n_estimators=20).fit(rows, labels)"
FLOOR = 0.9
SEED = 20261130


@dataclass
class Batches:
    """The two stores, and who runs batches on them."""

    platform: stores.Platform
    process: subprocess.Popen[str]

    def __post_init__(self) -> None:
        given = target(self.platform, "minio")
        self.bucket = minio.bucket(given)
        self.s3: Minio = minio.connect(given, minio.addresses(given)[0])
        self.message = self.platform.state / "message"
        self.log = self.platform.state / "batch.log"
        login = self.platform.state / "login"
        login.mkdir()
        for name, text in (("username", "probe"), ("store-password", ""), ("database-password", "")):
            (login / name).write_text(text or self.platform.password)
        shutil.copy(self.platform.state / "pki" / "ca.crt", login / "ca.crt")
        self.environment = {
            "STORE_ADDRESS": self.platform.component("minio").endpoints_in[0].address,
            "DATABASE_ADDRESS": self.platform.component("postgres").endpoints_in[0].address,
            "DATABASE_NAME": "postgres",
            "BATCH_LOGIN": str(login),
            "BATCH_MESSAGE": str(self.message),
        }

    @property
    def port(self) -> int:
        """Of PostgreSQL."""
        return int(self.environment["DATABASE_ADDRESS"].rpartition(":")[2])

    def begin(self, wish: Wish, **environment: str) -> int:
        """Its process."""
        self.message.unlink(missing_ok=True)
        told = {"environment": self.environment | environment, "wish": wish.text(), "log": str(self.log)}
        return self._said(told)

    def end(self, process: int) -> int:
        """Its exit code, once it is gone."""
        return self._said({"end": process})

    def run(self, wish: Wish, **environment: str) -> int:
        """Both."""
        return self.end(self.begin(wish, **environment))

    def _said(self, asked: Mapping[str, Any]) -> int:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(f"{json.dumps(asked)}\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())

    def told(self) -> dict[str, Any]:
        """What the last one left in its container's message."""
        found: dict[str, Any] = json.loads(self.message.read_text())
        return found

    def done(self, wish: Wish) -> dict[str, Any]:
        """Run it to its end; what it says of itself."""
        code = self.run(wish)
        assert code == 0, self.log.read_text()[-2000:]
        return self.told()

    def put(self, name: str, content: bytes) -> None:
        self.s3.put_object(self.bucket, name, BytesIO(content), len(content))

    def files(self, place: str) -> dict[str, bytes]:
        """Those below a folder of the bucket, by their names in it."""
        found = {}
        for each in self.s3.list_objects(self.bucket, prefix=f"{place}/", recursive=True):
            answer = self.s3.get_object(self.bucket, each.object_name)
            found[each.object_name.removeprefix(f"{place}/")] = answer.read()
            answer.close()
            answer.release_conn()
        return found

    def model(self, made: Path) -> str:
        """Promote what lies in a folder: its digest."""
        contents = {file.name: file.read_bytes() for file in made.iterdir()}
        digest, text = digest_of({name: sha256(content).hexdigest() for name, content in contents.items()})
        for name, content in {**contents, MANIFEST: text}.items():
            self.put(f"{folder(digest)}/{name}", content)
        return digest

    def copied(self, table: str, file: Path) -> None:
        """A CSV file into a table."""
        where = f"host={HOST} port={self.port} user=probe dbname=postgres"
        said = sql.SQL("COPY {} FROM STDIN (FORMAT csv, HEADER)").format(sql.Identifier(table))
        with (
            psycopg.connect(where, password=self.platform.password) as line,
            line.cursor() as cursor,
            cursor.copy(said) as copy,
        ):
            copy.write(file.read_bytes())

    def sql(self, words: Any) -> list[Any]:
        return stores.sql(self.platform, self.port, words)


def rows(files: Mapping[str, bytes], kind: str) -> list[dict[str, Any]]:
    """Of all `answers` or `refused`, in their order."""
    named = sorted(name for name in files if name.startswith(kind))
    return [json.loads(line) for name in named for line in files[name].splitlines()]


@contextmanager
def begun() -> Iterator[Batches]:
    """Everything of it is gone afterwards."""
    command, variables = python()
    with stores.platform() as platform:
        built.add_minio(platform)
        built.make_bucket(target(platform, "minio"))
        stores.add_postgres(platform)
        process = subprocess.Popen(
            [*command, "-c", BATCHES],
            env=variables,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            yield Batches(platform, process)
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def place(made: Batches, name: str) -> str:
    """A folder of the bucket as a wish names it."""
    return f"s3://{made.bucket}/{name}"


@dataclass
class World:
    """Batches, and servers that have the same models."""

    batches: Batches
    servers: Mapping[str, Server]
    digests: Mapping[str, str]

    def wish(self, model: str, source: str, target: str, **more: Any) -> Wish:
        floor = FLOOR if model == "floored" else None
        return Wish(model, self.digests[model], source, target, floor=floor, bucket=self.batches.bucket, **more)

    def here(self, name: str) -> str:
        return place(self.batches, name)


@contextmanager
def world(at: Path, models: Mapping[str, str]) -> Iterator[World]:
    """Of these models; the one that is called `floored` has a floor."""
    wanted = {
        name: Wanted({"": make}, [f"--model_name={name}", *([f"--floor={FLOOR}"] if name == "floored" else [])])
        for name, make in models.items()
    }
    with modelserving.started(at, wanted) as servers, begun() as batches:
        yield World(batches, servers, {name: batches.model(at / name) for name in models})


def questions(count: int, seed: int = SEED) -> list[list[float]]:
    chance = random.Random(seed)
    return [[chance.gauss(0, 1.5) for _ in COLUMNS] for _ in range(count)]


def csv(asked: list[list[float]], first: int = 0) -> bytes:
    lines = [",".join(("id", *COLUMNS))]
    lines += [",".join((f"k{first + n}", *map(repr, row))) for n, row in enumerate(asked)]
    return "\n".join(lines).encode()


def jsonl(asked: list[list[float]], first: int = 0) -> bytes:
    told = [{"id": f"k{first + n}", **dict(zip(COLUMNS, row, strict=True))} for n, row in enumerate(asked)]
    return "".join(f"{json.dumps(each)}\n" for each in told).encode()
