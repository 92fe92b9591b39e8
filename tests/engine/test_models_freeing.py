"""Copies of versions go and come back: the keeper's own code on a real MinIO and a real MLflow."""

from __future__ import annotations

import json
import ssl
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest
from minio import Minio
from minio.versioningconfig import ENABLED, VersioningConfig

from components.models.keeper import registered
from components.models.keeper.artefacts import Registry
from components.models.keeper.copies import DAY, Rules
from components.models.keeper.freeing import FRESH_SECONDS, LOOK_SECONDS, SETTLE_SECONDS
from components.models.keeper.wish import Wish
from problems.tracking import Mlflow
from tests import ports
from tests.engine import registry as rooms
from tests.unit.test_models_freeing import Places, World

pytestmark = pytest.mark.engine
BUCKET = "models"


@pytest.fixture(scope="module")
def room() -> Iterator[rooms.Registry]:
    with rooms.registry() as found:
        found.bucket.make_bucket(BUCKET)
        found.bucket.set_bucket_versioning(BUCKET, VersioningConfig(ENABLED))
        for number in range(3):
            register(found.mlflow, b"a tree %d" % number)
        yield found


def register(mlflow: Mlflow, model: bytes) -> None:
    """A version of `iris`: two files, one of them in a folder."""
    run = mlflow.post("runs/create", experiment_id="0", run_name="r", start_time=1)["run"]
    place = mlflow.place(run)
    mlflow.put(f"{place}/model/model.joblib", model)
    mlflow.put(f"{place}/model/extra/notes.txt", b"of " + model)
    if not mlflow.versions("name = 'iris'"):
        mlflow.post("registered-models/create", name="iris")
    source = f"{run['info']['artifact_uri']}/model"
    mlflow.post("model-versions/create", name="iris", source=source, run_id=run["info"]["run_id"])


class Real(World):
    """A keeper on real stores; only the API server is in memory, and days pass when the test says so."""

    def __init__(self, room: rooms.Registry, rules: Rules) -> None:
        self.room = room
        super().__init__(rules)
        self.now = time.time()
        places = self.places = Places(room.bucket, self.registry())  # type: ignore[arg-type]
        self.one, self.two, self.three = (places.promote(f"models:/iris/{number}").digest for number in "123")
        self.begin(places)

    def registry(self) -> Registry:
        found = Registry([(ports.HOST, self.room.port)], str(self.room.ca))
        assert isinstance(found._trusted, ssl.SSLContext)
        return found

    def objects(self, digest: str) -> list[Any]:
        """All versions of all objects of a copy, marks of deletions, too."""
        prefix = digest.replace(":", "/")
        return list(self.room.bucket.list_objects(BUCKET, prefix=prefix, recursive=True, include_version=True))

    def tags(self, number: str) -> dict[str, str]:
        found = self.room.mlflow.get("model-versions/get", name="iris", version=number)["model_version"]
        return {tag["key"]: tag["value"] for tag in found.get("tags", [])}


@pytest.fixture
def world(room: rooms.Registry) -> World:
    return Real(room, Rules(days=30, back=1, obsolete_days=90))


def text(client: Minio, key: str) -> bytes:
    answer = client.get_object(BUCKET, key)
    try:
        return answer.read()
    finally:
        answer.close()
        answer.release_conn()


def test_what_is_named_stays_what_nobody_names_is_freed_and_its_digest_brings_it_back(world: Real) -> None:
    world.wish(Wish("iris", "models:/iris/1"))
    world.room.mlflow.post("registered-models/alias", name="iris", alias="best", version="2")
    begun = time.monotonic()
    world.days(31)
    took = time.monotonic() - begun
    assert world.objects(world.three) == [] and world.objects(world.one) and world.objects(world.two)
    assert world.copy(world.two)["named"] == ["an alias of the registry"]
    assert world.freeing.counted.freed == 1
    assert "nothing names it for 30 days" in world.tags("3")["freed"]
    # Nobody uses it, and it is not old enough to be obsolete.
    assert "retired" not in world.tags("3")
    sys.stdout.write(f"{world.freeing.counted.freed_bytes} bytes freed; a month's rounds took {took:.1f} s\n")
    world.wish(Wish("wine", world.three))
    world.passes(10)
    assert world.keeper.states["wine"]["phase"] == "serve"
    assert text(world.room.bucket, f"{world.three.replace(':', '/')}/extra/notes.txt") == b"of a tree 2"


def test_a_mark_reaches_no_object_that_was_written_after_it(world: Real) -> None:
    """The store's own versions: a copy that is written anew between mark and end is whole afterwards."""
    asked = json.dumps({"name": "iris", "alias": "best"}).encode()
    world.room.mlflow.ask("DELETE", "/api/2.0/mlflow/registered-models/alias", asked)
    before = {each.version_id for each in world.objects(world.one)}
    world.passes(FRESH_SECONDS + LOOK_SECONDS)
    world.ask(world.one)
    world.passes(LOOK_SECONDS)
    assert world.answer().startswith("it goes")
    assert world.places.known(world.one).digest == world.one  # written anew: what is marked is served no more
    world.passes(SETTLE_SECONDS + LOOK_SECONDS)
    after = {each.version_id for each in world.objects(world.one)}
    assert after and not after & before
    assert text(world.room.bucket, f"{world.one.replace(':', '/')}/model.joblib") == b"a tree 0"


def test_old_versions_that_nobody_uses_are_told_to_mlflow_and_used_again(world: Real) -> None:
    world.wish(Wish("iris", "models:/iris/1"))
    world.days(91)
    assert {"models:/iris/2", "models:/iris/3"} == set(world.told()["obsolete"]["versions"])
    assert "older than 90 days" in world.tags("2")["retired"] and "retired" not in world.tags("1")
    (told,) = (each for each in registered.versions(world.registry()) if each.reference == "models:/iris/2")
    assert told.retired and abs(told.made - time.time()) < 3600
    # What MLflow itself has of it is there.
    world.wish(Wish("wine", "models:/iris/2"))
    world.passes(LOOK_SECONDS)
    world.passes(LOOK_SECONDS)
    assert world.keeper.states["wine"]["phase"] == "serve" and "retired" not in world.tags("2")
    assert world.now > time.time() + 90 * DAY
