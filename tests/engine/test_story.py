"""The story over what runs here for real: Kafka, the stream's worker, the feature store behind its front, the steps of
the problem. Registry, release and outcomes are in memory; the model's look-ups go by its own declaration."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import joblib
import pytest

from components.feast import settings as room
from components.feast.image.apadana_feast import definitions
from components.kit.probing import Check, Verdict
from components.kserve.image.server import declared
from components.streaming import settings as streaming_room
from problems import cluster, store
from problems.archive import sha256
from tests.engine import keying, streaming
from tests.engine.streaming import World
from tests.storied import Memory, Row
from validate.core import causes
from validate.ground.site import REPOSITORY
from validate.pod.story.records import FIRST, KEY, LEARNT, Story
from validate.suites.story import chain, links
from validate.suites.story.chain import Found

pytestmark = pytest.mark.engine
USER, WORD = "problems", "a-problem"
TRAINING = ("prepare", "validate", "features", "tune", "train")
SETTINGS = {"trials": 1, "folds": 2}


@dataclass
class Place:
    """All that runs, and what a client of it has."""

    world: World
    front: keying.Front
    work: Path

    def call(self, verb: str, story: Story, **wish: Any) -> Found:
        """The pod's own program, here."""
        asked = json.dumps({"story": asdict(story), **wish})
        command = [sys.executable, "-m", "validate.pod", "story", "--act", verb, "--wish", asked]
        given = os.environ | {"APADANA_WORK": str(self.work)}
        done = subprocess.run(command, env=given, cwd=REPOSITORY, capture_output=True, text=True, check=True)
        told: Found = json.loads(done.stdout.splitlines()[-1])
        assert "found" in told, told
        found: Found = told["found"]
        return found

    def described(self, port: int) -> None:
        """What the ground tells a pod."""
        log, ca = self.world.target, Path(self.world.trusted_file).read_text()
        logins = {
            "kafka": (log.username, log.password, log.endpoint("kafka").address, {}),
            "streaming": ("", "", f"localhost:{port}", {"topic": streaming_room.RECORDS}),
            "feast": (room.PROBE, keying.WORDS[room.PROBE], self.front.address, {}),
        }
        told = []
        for name, (user, word, address, required) in logins.items():
            mounted = self.work / name
            mounted.mkdir(parents=True)
            for file, content in (("username", user), ("password", word), ("ca.crt", ca)):
                (mounted / file).write_text(content)
            one = {"name": name, "endpoints": [{"protocol": name, "address": address}], "members": []}
            told.append({**one, "client": {"required": required}, "mounted": str(mounted)})
        (self.work / "targets.json").write_text(json.dumps(told))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with streaming.world() as world:
        front = keying.Front(world.feast, "front")
        front.start(keying.WORDS | {USER: WORD})
        made = Place(world, front, tmp_path_factory.mktemp("work"))
        port = world.start()
        made.described(port)
        world.reads(port)
        yield made
        world.end()


class Partly(Memory):
    """Stream, stores and training are real."""

    within = 60.0  # seconds until what was sent has to be there

    def __init__(self, place: Place, story: Story, folder: Path) -> None:
        super().__init__(story)
        self.place, self.folder = place, folder
        (folder / "code.zip").write_bytes(cluster.code("machines"))

    def send(self, delivery: str) -> Found:
        return self.place.call("send", self.story, delivery=delivery)

    def look(self, delivery: str) -> Found:
        found = self.place.call("look", self.story, delivery=delivery, within=self.within)
        self.offline, self.online = found["offline"], found["online"]
        return found

    def train(self) -> Found:
        """Each step a process out of the ZIP file, as in its pod."""
        work = self.folder / str(len(self.versions))
        login = self.place.front.login(USER, WORD)
        wish = SETTINGS | {"machines": self.story.begin(LEARNT), "count": self.story.count(LEARNT)}
        given = {
            "PYTHONPATH": str(self.folder / "code.zip"),
            store.URI: f"https://{self.place.front.address}",
            store.CA: str(login / "ca.crt"),
            store.LOGIN: str(login),
        }
        for step in TRAINING:
            command = [sys.executable, "-m", "problems.steps", "machines", step, f"--work={work}"]
            command += [f"--out={work / step}", f"--settings={json.dumps(wish)}"]
            done = subprocess.run(command, cwd=self.folder, env=given, capture_output=True, text=True, check=False)
            if done.returncode:
                failed = {"version": "", "of_run": "", "named": "", "kept": "", "records": []}
                return {**failed, "run": "machines", "phase": "Failed", "said": done.stderr, "seconds": 1.0}
        told = self.register(self._kept(work), joblib.load(work / "train" / "model.joblib"))
        self.versions[-1]["features"] = declared.read((work / "train" / "features.json").read_text())
        return told

    def _kept(self, work: Path) -> list[dict[str, Any]]:
        """What the lineage names, as it does."""
        content = (work / "prepare" / "records.json").read_bytes()
        assert json.loads((work / "prepare" / "data.json").read_text())["sha256"] == sha256(content)
        found: list[dict[str, Any]] = json.loads(content)
        return found

    def row(self, key: str) -> Row:
        """By the columns that the model's own declaration names."""
        wanted: declared.Declaration = self.serving["features"]
        assert wanted.key == KEY
        return [dict(zip(("number", "share", "word"), self.online[key], strict=True))[c.name] for c in wanted.known]

    def trace(self, answered: str) -> Found:
        found = super().trace(answered)
        found.pop("features", None)
        return found

    def clean(self) -> Mapping[str, int]:
        super().clean()
        return self.place.call("forget_features", self.story)


def told(rooms: Memory) -> dict[str, Check]:
    found: list[Check] = []
    chain.run(rooms, rooms.story, lambda _: None, found.append)
    return {each.name: each for each in found}


def test_records_that_came_by_the_stream_are_learnt_from_and_turn_the_answers(place: Place, tmp_path: Path) -> None:
    rooms = Partly(place, Story("a1", 2026, learnt=16, asked=10), tmp_path)
    found = told(rooms)
    assert {each.name: (each.verdict, each.detail) for each in found.values() if each.verdict is not Verdict.PASS} == {}
    view = room.known(definitions.read(room.files(room.Settings())))
    assert list(declared.misfits(rooms.versions[-1]["features"], view)) == []  # type: ignore[arg-type]


class Lost(Partly):
    """The history loses one machine's row after it was acknowledged."""

    within = 2.0

    def send(self, delivery: str) -> Found:
        found = super().send(delivery)
        self.place.call("look", self.story, delivery=delivery, within=60.0)
        self.place.world.feast.sql("DELETE FROM apadana_probe WHERE probe_key = %s", self.story.keys(LEARNT)[3])
        return found


class HalfGone(Partly):
    """Between the look and the training the history loses half of it: the gate of the workflow says so."""

    def train(self) -> Found:
        part = f"{self.story.begin(LEARNT)}%"
        self.place.world.feast.sql("DELETE FROM apadana_probe WHERE probe_key LIKE %s AND share > 0.5", part)
        return super().train()


@pytest.mark.parametrize(
    ("kind", "link", "cause", "words"),
    [
        (Lost, links.of(FIRST, links.OFFLINE), causes.LOST_WRITES, "nothing is known of 1 of"),
        (HalfGone, links.FIRST_TRAINING, causes.ERRORS, "gate completeness is 0.5"),
    ],
)
def test_what_is_lost_on_the_way_is_told_where_it_is(
    place: Place, tmp_path: Path, kind: type[Partly], link: str, cause: str, words: str
) -> None:
    # A name of its own: what is sent again under an id of before changes nothing.
    found = told(kind(place, Story(kind.__name__.lower(), 7, learnt=4, asked=2), tmp_path))
    failed = {
        name: (each.evidence["cause"], each.detail) for name, each in found.items() if each.verdict is Verdict.FAIL
    }
    assert list(failed) == [link] and failed[link][0] == cause and words in failed[link][1], failed
    assert found[links.CLEAN].verdict is Verdict.PASS
