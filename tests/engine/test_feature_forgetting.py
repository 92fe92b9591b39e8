"""The feature store forgets one entity, on real stores: by a command in its pod, and nobody from outside."""

from __future__ import annotations

import http.client
import json
import subprocess
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from problems import erasing
from problems.tabular import features
from tests import ports
from tests.engine import featuring
from tests.engine.test_feature_store import FILES, activity, ask, now, online

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def feast() -> Iterator[featuring.Feast]:
    with featuring.feast(FILES) as made:
        yield made


def forgotten(feast: featuring.Feast, asked: object) -> subprocess.CompletedProcess[str]:
    """By the command that is run in the server's pod."""
    command = [str(feast.python), "-m", "apadana_feast.forget"]
    said = json.dumps(asked)
    return subprocess.run(command, env=feast.environment(), input=said, capture_output=True, text=True, check=False)


def test_one_entity_is_forgotten_in_history_and_online_and_no_other(feast: featuring.Feast) -> None:
    for customer in (70, 71):
        for minutes in (5, 4):
            assert ask(feast, "/push", activity(customer, customer, now(minutes=minutes)))[0] == 200
    one: dict[str, object] = {"entity": "customer", "key": 70}
    there, gone = {"history": 2, "online": 1}, {"history": 0, "online": 0}
    for really, found in ((False, there), (False, there), (True, there), (True, gone), (False, gone)):
        done = forgotten(feast, one | {"really": really})
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["activity"] == found
    assert online(feast, [70, 71]) == [None, 71]
    assert len(feast.sql("SELECT 1 FROM activity WHERE customer_id = 71")) == 2
    assert feast.run("materialise").returncode == 0
    assert online(feast, [70]) == [None], "nothing brings it back"


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ([], "is to be forgotten is"),
        ({"entity": "customer", "key": 70}, "is to be forgotten is"),
        ({"entity": "nobody", "key": 70, "really": True}, "no entity 'nobody'; there are: "),
        ({"entity": "customer", "key": "70", "really": True}, "of type int64"),
        ({"entity": "customer", "key": True, "really": True}, "of type int64"),
        ({"entity": "customer", "key": 70, "really": 1}, "really is true or false"),
    ],
)
def test_what_names_no_entity_is_not_forgotten(feast: featuring.Feast, asked: object, words: str) -> None:
    code, told = ask(feast, "/-/forget", asked)
    assert code == 422 and words in told["error"], told


@pytest.mark.parametrize("path", ["/%2D/forget", "/%2d/forget", "/-/f%6frget", "/-%2fforget", "//-/forget"])
def test_the_page_has_one_spelling_which_the_front_knows(feast: featuring.Feast, path: str) -> None:
    assert ask(feast, "/push", activity(75, 1, now(minutes=5)))[0] == 200
    line = http.client.HTTPConnection(ports.HOST, feast.port, timeout=10)
    line.request("POST", path, json.dumps({"entity": "customer", "key": 75, "really": True}))
    assert line.getresponse().status == 404
    line.close()
    assert online(feast, [75]) == [1]


def test_the_command_says_what_the_server_has_against_it(feast: featuring.Feast) -> None:
    done = forgotten(feast, {"entity": "nobody", "key": 1, "really": True})
    assert (done.returncode, done.stdout) == (2, "") and "no entity 'nobody'" in done.stderr


def test_a_persons_features_are_erased_by_the_command_of_problems(feast: featuring.Feast) -> None:
    """The pod is this machine."""

    class Here:
        def exec(self, namespace: str, pod: str, command: tuple[str, ...], **said: Any) -> str:
            assert (namespace, pod, said["container"]) == ("platform", "deploy/feast", "feast")
            words = [str(feast.python), *command[1:]]
            done = subprocess.run(words, env=feast.environment(), input=said["stdin"], capture_output=True, check=True)
            return str(done.stdout.decode())

    names = features.names()
    rows = {
        "record_id": [17, 18],
        "event_time": [now(minutes=5)] * 2,
        **{name: [features.COLUMNS[name].low] * 2 for name in names},
    }
    assert ask(feast, "/push", {"view": "tabular", "rows": rows})[0] == 200
    store = erasing.FeatureStore(
        cast(Any, SimpleNamespace(cluster=Here(), platform=SimpleNamespace(namespace="platform")))
    )
    who = erasing.person("tabular/17")
    (item,) = store.of(who)
    assert item.what == "feature store, view tabular: 1 rows of the history, 1 online"
    item.erase()
    assert not list(store.of(who)) and list(store.of(erasing.person("tabular/18")))
    assert feast.sql("SELECT record_id FROM tabular WHERE record_id IN (17, 18)") == [(18,)]
