"""From an answer of the image's model server to figures: two replicas on a real PostgreSQL, with TLS."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import ssl
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import psycopg
import pytest

from components.kit.driving import Job
from components.kit.probing import Endpoint, Target
from components.models.keeper import page as keepers
from components.outcomes import load, probe
from components.outcomes.server.database import Where
from components.outcomes.server.keeping import Kept
from components.outcomes.server.predictions import Prediction
from components.outcomes.server.told import Outcome
from problems import asking, erasing
from tests import ports
from tests.engine import modelserving, stores
from tests.engine.modelserving import Server, Wanted
from validate.ground.kubectl import wait_for
from validate.ground.site import REPOSITORY

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(os.geteuid() != 0, reason="PostgreSQL refuses to run as root: it gets its own user here"),
]
ROWS = [[0.0], [1.0], [2.0]]
TREE = """
from sklearn.tree import DecisionTreeClassifier
model = DecisionTreeClassifier().fit([[0.0], [1.0], [2.0]], ["low", "high", "high"])
"""
LINE = """
from sklearn.linear_model import LinearRegression
model = LinearRegression().fit([[0.0], [1.0]], [0.0, 1.0])
"""


@dataclass
class World:
    """Model servers, what keepers say of them, a database, and replicas."""

    models: dict[str, Server]
    where: Where
    ports: list[int]
    trusted: ssl.SSLContext

    def call(self, method: str, path: str, body: object = None, replica: int = 0) -> tuple[int, Any]:
        """Status, and JSON or text."""
        line = http.client.HTTPSConnection("localhost", self.ports[replica], timeout=30, context=self.trusted)
        try:
            line.request(method, path, None if body is None else json.dumps(body).encode())
            answer = line.getresponse()
            text = answer.read().decode()
            return answer.status, json.loads(text) if answer.getheader("Content-Type") == "application/json" else text
        finally:
            line.close()

    def known(self, model: str, name: str, replica: int = 0) -> dict[str, Any] | None:
        """What is kept of a question; None: no answer of it yet."""
        status, found = self.call("GET", f"/outcomes?model={model}&id={name}", replica=replica)
        assert status == 200, found
        return found if found["predictions"] else None

    def tell(self, model: str, name: str, *actual: object, replica: int = 0, **more: str) -> tuple[int, Any]:
        """What was true."""
        item = {"model": model, "id": name, "actual": actual, **more}
        return self.call("POST", "/outcomes", {"outcomes": [item]}, replica)

    def figures(self, model: str, replica: int = 0) -> dict[str, Any]:
        """Of today: one version's."""
        status, found = self.call("GET", f"/report?model={model}&days=2", replica=replica)
        assert status == 200, found
        (one,) = found["figures"]
        assert isinstance(one, dict)
        return one


def told_keepers(made: stores.Platform, models: dict[str, Server]) -> keepers.Server:
    """The keepers' own page: `shade` is a shadow of `tree`."""
    tree, line = (f"{ports.HOST}:{models[name].port}" for name in ("tree", "line"))
    states = {name: {"phase": "serve", "answering": ["0000000001"]} for name in ("tree", "line")}
    states["shade"] = {"phase": "shadow", "answering": []}
    pods = [
        {"targets": [address], "labels": {"release": release, "version": "0000000001"}}
        for release, address in (("tree", tree), ("line", line), ("shade", line))
    ]
    facts = keepers.Told("test", lambda: states, lambda: True, lambda: True, lambda: pods)
    server = keepers.Server(facts, ports.free_port(), made.state / "tls")
    server.start()
    return server


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    wanted = {
        name: Wanted({"": make}, [f"--model_name={name}", "--model_version=0000000001"])
        for name, make in (("tree", TREE), ("line", LINE))
    }
    with stores.platform() as made, modelserving.started(tmp_path_factory.mktemp("models"), wanted) as models:
        stores.add_postgres(made)
        mounts = made.state
        (mounts / "tls").mkdir()
        for source, name in ((made.leaf.certificate, "tls.crt"), (made.leaf.key, "tls.key")):
            shutil.copy(source, mounts / "tls" / name)
        shutil.copy(mounts / "pki" / "ca.crt", mounts / "tls")
        folder = mounts / "secrets" / "postgres"
        shutil.copytree(folder, mounts / "database")
        address = made.component("postgres").endpoints_in[0].address
        port = told_keepers(made, models).server_address[1]
        told = {
            "site": "test",
            "days": 7,
            "keep_days": 30,
            "keep_rows": 10_000,
            "wrong_share_allowed": 0.2,
            "keepers": [["localhost", port]],
            "database": {"address": address, "name": "postgres", "connect_seconds": 5},
        }
        (mounts / "outcomes.json").write_text(json.dumps(told))
        served = [ports.free_port() for _ in range(2)]
        running = []
        for port in served:
            given = {**os.environ, "APADANA_MOUNTS": str(mounts), "PORT": str(port), "PYTHONPATH": str(REPOSITORY)}
            with (mounts / f"{port}.log").open("wb") as log:
                command = [sys.executable, "-m", "components.outcomes.server"]
                running.append(subprocess.Popen(command, stdout=log, stderr=log, env=given))
        try:
            where = Where(address, "postgres", 5, mounts / "database", "outcomes")
            found = World(models, where, served, ssl.create_default_context(cafile=str(mounts / "pki" / "ca.crt")))
            for replica in range(2):
                wait_for(f"replica {replica}", partial(_well, found, replica), timeout=60, swallow=(OSError,))
            yield found
        finally:
            for each in running:
                each.terminate()
            for each in running:
                each.wait(30)


def _well(world: World, replica: int) -> bool | None:
    return world.call("GET", "/health", replica=replica)[0] == 200 or None


def answered(world: World, model: str, name: str, rows: list[list[float]]) -> dict[str, Any]:
    """Asked under this name, and kept."""
    world.models[model].ask(model, rows, id=name)
    return wait_for(f"{name} of {model}", lambda: world.known(model, name), timeout=30)


def test_what_was_answered_and_what_was_true_meet(world: World) -> None:
    found = answered(world, "tree", "q-1", ROWS)
    (said,) = found["predictions"]
    assert (said["version"], said["answers"], found["outcome"]) == ("0000000001", ["low", "high", "high"], None)
    assert world.tell("tree", "q-1", "low", "low", "high") == (200, {"kept": 1})
    told = world.known("tree", "q-1", replica=1)
    assert told is not None and told["outcome"]["actual"] == ["low", "low", "high"]
    figures = world.figures("tree", replica=1)
    assert (figures["predictions"], figures["known"], figures["labels"], figures["wrong"]) == (1, 1, 3, 1)
    assert figures["wrong_share"] == pytest.approx(1 / 3) and figures["absolute"] is None


def test_numbers_are_measured_by_how_far_they_are_off(world: World) -> None:
    answered(world, "line", "q-1", [[1.0], [2.0]])
    answered(world, "line", "q-2", [[3.0]])
    answered(world, "line", "q-3", [[3.0]])
    assert world.tell("line", "q-1", 2, 1.0)[0] == 200  # off by -1 and by 1
    assert world.tell("line", "q-2", 1)[0] == 200  # by 2
    figures = world.figures("line")
    assert (figures["predictions"], figures["known"], figures["numbers"], figures["labels"]) == (3, 2, 3, 0)
    assert figures["known_share"] == pytest.approx(2 / 3)
    assert figures["bias"] == pytest.approx(2 / 3) and figures["absolute"] == pytest.approx(4 / 3)
    assert figures["squared"] == pytest.approx((6 / 3) ** 0.5)


def test_who_gave_no_name_is_not_kept_and_a_shadow_s_answers_neither(world: World) -> None:
    world.models["tree"].ask("tree", ROWS)
    before = world.figures("tree")["predictions"]
    answered(world, "tree", "q-after", ROWS)
    assert world.figures("tree")["predictions"] == before + 1
    assert world.call("GET", "/report?model=shade&days=2") == (200, {"figures": []})


def test_an_outcome_may_come_first_and_the_latest_truth_holds(world: World) -> None:
    assert world.tell("tree", "early", "low", at="2026-01-02T00:00:00Z")[0] == 200
    assert world.tell("tree", "early", "high", at="2026-01-01T00:00:00Z")[0] == 200  # came late
    found = answered(world, "tree", "early", [[0.0]])
    assert found["outcome"] == {"at": "2026-01-02T00:00:00.000Z", "actual": ["low"]}
    assert world.tell("tree", "early", "high", at="2026-01-03T00:00:00Z")[0] == 200
    told = world.known("tree", "early", replica=1)
    assert told is not None and told["outcome"]["actual"] == ["high"]


def test_one_mistake_and_nothing_of_the_request_is_kept(world: World) -> None:
    good = {"model": "tree", "id": "whole", "actual": [1]}
    status, found = world.call("POST", "/outcomes", {"outcomes": [good, good | {"id": ""}]})
    assert status == 400 and found["errors"][0].startswith("outcomes[1].id is ''")
    assert world.call("GET", "/outcomes?model=tree&id=whole")[1]["outcome"] is None


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nowhere", 404),
        ("GET", "/outcomes", 400),
        ("GET", "/outcomes?model=tree", 400),
        ("GET", "/report?days=0", 400),
        ("GET", "/report?days=x", 400),
        ("POST", "/report", 405),
        ("DELETE", "/", 405),
        ("POST", "/outcomes", 400),
    ],
)
def test_what_is_not_there_is_told(world: World, method: str, path: str, status: int) -> None:
    assert world.call(method, path)[0] == status


def test_a_question_can_be_forgotten(world: World) -> None:
    answered(world, "tree", "forget", [[0.0]])
    world.tell("tree", "forget", "low")
    assert world.call("DELETE", "/outcomes?model=tree&id=forget", replica=1) == (200, {"gone": 2})
    assert world.known("tree", "forget") is None


def test_a_connection_that_broke_is_made_anew(world: World) -> None:
    with world.where.connect() as line:
        others = "FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND usename = user"
        assert line.execute(f"SELECT count(pg_terminate_backend(pid)) {others}".encode()).fetchone() != (0,)
    assert world.tell("tree", "after", "low")[0] == 200
    assert answered(world, "tree", "after", [[0.0]])["outcome"]["actual"] == ["low"]


def test_page_and_numbers_show_what_is_known(world: World) -> None:
    status, text = world.call("GET", "/")
    assert status == 200 and "<td>tree</td><td>0000000001</td>" in text
    status, text = world.call("GET", "/metrics")
    assert status == 200 and "apadana_outcomes_pods 2\n" in text
    assert "apadana_outcomes_wrong_share_allowed 0.2\n" in text


def test_the_probe_and_the_load_ask_every_replica(world: World) -> None:
    places = [f"{ports.HOST}:{port}" for port in world.ports]
    endpoint = Endpoint(probe.PROTOCOL, ",".join(places))
    ca = str(world.where.folder / "ca.crt")
    target = Target("outcomes", [endpoint], "", "", ca, {"required": {"replicas": 2}}, patience=20)
    said = [(check.name, str(check.verdict), check.detail) for check in probe.smoke(target)]
    assert len(said) == 3 and {verdict for _, verdict, _ in said} == {"PASS"}, said
    asker = load.driver(target, Job("look", "run-0", 0, 1))
    wire = asker.wires()().decode()
    assert wire.startswith("GET /outcomes?model=apadana-probe&id=run-0 HTTP/1.1\r\n")
    assert f"Host: {places[0]}" in wire
    assert [asker.place()[1] for _ in range(3)] == [*world.ports, world.ports[0]]


@pytest.fixture
def kept(world: World) -> Iterator[Kept]:
    """Tables of its own: what is cleared there is nobody's."""
    with world.where.connect() as line:
        line.execute("CREATE SCHEMA apart")

    def connect() -> psycopg.Connection[tuple[Any, ...]]:
        link = world.where.connect()
        link.execute("SET search_path = apart")
        link.commit()
        return link

    made = Kept(connect)
    made.found()
    yield made
    with world.where.connect() as line:
        line.execute("DROP SCHEMA apart CASCADE")


def test_what_is_old_goes_and_all_but_the_newest(kept: Kept) -> None:
    now = 1_900_000_000.0  # to come: so that days take none of these
    kept.predicted([Prediction("m", "v", f"q{n}", now + n, False, (n,)) for n in range(10)])
    kept.predicted([Prediction("m", "v", "old", 1_000_000_000.0, False, (1,))])
    kept.true([Outcome("m", "q9", now, (9,)), Outcome("m", "old", now, (1,))])
    assert kept.clear(30, 100) == 1
    assert kept.of("m", "old")["predictions"] == [] and kept.of("m", "q0")["predictions"]
    assert kept.clear(30, 4) == 6
    there = [bool(kept.of("m", f"q{n}")["predictions"]) for n in range(10)]
    assert there == [False] * 6 + [True] * 4
    assert kept.clear(30, 4) == 0


def test_what_is_kept_twice_is_kept_once(kept: Kept) -> None:
    one = Prediction("m", "v", "q", 1_900_000_000.0, True, (1.5, None))
    for _ in range(2):
        kept.predicted([one])
        kept.true([Outcome("m", "q", 1.0, (1.0, 2.0))])
    (found,) = kept.figures(24)
    assert (found.predictions, found.known, found.unsure, found.numbers) == (1, 1, 1, 1)
    assert found.absolute == pytest.approx(0.5)


def test_a_persons_questions_are_erased_by_the_command_of_problems(world: World) -> None:
    world.tell("tree", "of-a-person", "low")
    world.tell("tree", "of-another", "low")
    server = asking.Server(f"https://localhost:{world.ports[0]}", str(world.where.folder.parent / "pki" / "ca.crt"))
    store, who = erasing.Outcomes(server, "tree", ["of-a-person", "never asked?"]), erasing.Person("tabular", 17)
    (item,) = store.of(who)
    assert item.what == "outcomes: question of-a-person to tree: 0 predictions, an outcome"
    item.erase()
    assert not list(store.of(who))
    kept = [
        world.call("GET", f"/outcomes?model=tree&id={name}")[1]["outcome"] for name in ("of-a-person", "of-another")
    ]
    assert kept[0] is None and kept[1]["actual"] == ["low"]
