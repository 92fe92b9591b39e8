"""Several models in one process of the image's own model server, one of them broken."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from components.kserve.image.server.drift import EXPECTED, SEEN
from components.models.judge import reading, scrape
from components.models.judge.counters import READY, START
from components.models.keeper.beside import Asking
from components.models.keeper.objects import predictor, version
from components.models.keeper.wish import Wish
from tests.engine import modelserving
from tests.engine.mirroring import START_S
from tests.engine.modelserving import Server, Wanted
from tests.engine.test_model_floor import LINE
from tests.engine.test_models_shadow import slice_of
from tests.ports import HOST

pytestmark = pytest.mark.engine

#: Says the same of every row.
SAYS = "from sklearn.dummy import DummyClassifier as D; model = D(strategy='constant', constant={}).fit([[0]], [{}])"
#: Trained with numbers around 1, and always answered by 4.
TRAINED = (
    SAYS.format(4, 4)
    + """
low_and_high = {"edges": [1.0], "shares": [0.5, 0.5]}
reference = {"inputs": ["x"], "measures": {"x": low_and_high, "answer": low_and_high}}
"""
)
#: Reading it runs its code, which may do anything.
RAISES = """
class Raises:
    def __reduce__(self):
        return (int, ("none of our numbers",))
model = Raises()
"""
ONE, TWO, NONE, BAD = ((name, f"{at}" * 10) for at, name in enumerate(("one", "two", "none", "bad"), start=1))
ARGUMENTS = [f"--model_name={ONE[0]}", f"--model_version={ONE[1]}", *(f"--beside={n}={v}" for n, v in (TWO, NONE, BAD))]
ALONE = ["--model_name=none", "--model_version=1"]
SERVERS = {
    "shared": Wanted({"one": SAYS.format(1, 1), "two": SAYS.format(2, 2), "none": "", "bad": RAISES}, ARGUMENTS),
    # The first one is no better than the others.
    "first": Wanted({"none": "", "two": SAYS.format(2, 2)}, [*ALONE, "--beside=two=2"]),
    "floor": Wanted({"one": SAYS.format(1, 1), "line": LINE}, ["--model_name=one", "--beside=line=3", "--floor=0.5"]),
    "trained": Wanted(
        {"one": TRAINED, "two": TRAINED, "odd": TRAINED + "reference = []"},
        ["--model_name=one", "--beside=two=2", "--beside=odd=3"],
    ),
    "nobody": Wanted({"none": "", "bad": RAISES}, [*ALONE, "--beside=bad=2"]),
    "odd": Wanted({"": SAYS.format(1, 1)}, [*ALONE, "--beside=../etc=2"]),
}
FAILS = ["nobody", "odd"]


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Server]]:
    with modelserving.started(tmp_path_factory.mktemp("together"), SERVERS, FAILS) as found:
        yield found


def refused(server: Server, model: str, path: str = "ready") -> tuple[int, str]:
    method, body = ("GET", None) if path == "ready" else ("POST", b'{"inputs": []}')
    status, text = server.call(method, f"/v2/models/{model}/{path}", body)
    return status, str(json.loads(text)["error"])


def test_each_answers_by_its_own_name_and_names_its_version(servers: dict[str, Server]) -> None:
    for at, (name, digits) in enumerate((ONE, TWO), start=1):
        told = servers["shared"].ask(name, [[0.0], [5.0]])
        assert (told["model_name"], told["model_version"], told["outputs"][0]["data"]) == (name, digits, [at, at])
        assert servers["shared"].call("GET", f"/v2/models/{name}/ready")[0] == 200


@pytest.mark.parametrize(
    ("server", "model", "why"),
    [
        ("shared", "none", "one of *.joblib, *.pkl, *.skops, *.onnx is needed, found: none"),
        ("shared", "bad", "ValueError: invalid literal for int()"),
        ("first", "none", "one of *.joblib, *.pkl, *.skops, *.onnx is needed, found: none"),
        ("floor", "line", "no floor of 0.5 is possible: LinearRegression has no predict_proba"),
    ],
)
def test_one_that_can_not_be_read_says_why_and_the_others_answer(
    servers: dict[str, Server], server: str, model: str, why: str
) -> None:
    for path in ("ready", "infer"):
        status, told = refused(servers[server], model, path)
        assert status == 503
        assert told.startswith(f"Model with name {model} is not ready. ") and why in told, told
    other = "two" if server == "first" else "one"
    assert servers[server].ask(other, [[0.0]])["outputs"][0]["data"] == [2 if server == "first" else 1]
    assert servers[server].call("GET", "/v2/health/ready")[0] == 200


def test_a_model_that_is_not_here_is_not_found(servers: dict[str, Server]) -> None:
    assert refused(servers["shared"], "three") == (404, "Model with name three does not exist.")


def test_each_counts_for_itself(servers: dict[str, Server]) -> None:
    server = servers["shared"]

    def answered(name: str) -> tuple[int, int]:
        found = scrape.reading(server.metrics(), name)
        return found.answers, found.failed

    before = {name: answered(name) for name in ("one", "two", "none")}
    for _ in range(3):
        server.ask("two", [[0.0]])
    refused(server, "none", "infer")
    came = {name: tuple(n - b for n, b in zip(answered(name), was, strict=True)) for name, was in before.items()}
    assert came == {"one": (0, 0), "two": (3, 0), "none": (1, 1)}
    shown = scrape.lines(server.metrics())
    found = {labels["model"]: value for name, labels, value in shown if name == READY}
    assert found == {"one": 1, "two": 1, "none": 0, "bad": 0}


def test_each_server_says_once_what_its_start_took(servers: dict[str, Server]) -> None:
    told = [(labels, value) for name, labels, value in scrape.lines(servers["shared"].metrics()) if name == START]
    assert [labels for labels, _ in told] == [{"part": "import"}, {"part": "load"}]
    assert all(0 < seconds < START_S for _, seconds in told)


def test_only_the_first_ones_answers_are_compared(servers: dict[str, Server]) -> None:
    """Copies are made of its questions alone: the same question to another model is no half of a pair."""
    server = servers["shared"]
    server.ask("two", [[7.0]], mark="the same")
    before = server.kept()
    server.ask("one", [[7.0]], mark="the same")
    assert len(server.kept()) == len(before) + 1


def test_the_keeper_learns_which_model_does_not_answer(
    servers: dict[str, Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "SECONDS_OF_ALL", 30.0)  # the machine may be busy
    wish = Wish(ONE[0], "sha256:" + ONE[1], beside={name: "sha256:" + version for name, version in (TWO, BAD)})
    name = version(wish, wish.stable)
    (told,) = Asking().silent(wish, name, [slice_of(predictor(name), servers["shared"].port)])
    assert told.startswith("bad does not answer: 503 of /v2/models/bad/ready: ")
    assert "invalid literal" in told
    assert HOST not in told


def test_a_server_of_which_no_model_can_be_read_ends_and_says_why(servers: dict[str, Server]) -> None:
    code, line = servers["nobody"].ended()
    assert code == 1
    assert line.startswith("none: ") and "; bad: ValueError: invalid literal" in line
    code, line = servers["odd"].ended()
    assert code == 2 and "--beside" in line


def test_what_is_asked_and_answered_is_counted_by_what_each_was_trained_with(servers: dict[str, Server]) -> None:
    server = servers["trained"]
    server.ask("one", [[0.5], [1.0], [3.0]])
    server.ask("two", [[3.0]])
    found: dict[str, dict[tuple[str, ...], float]] = {SEEN: {}, EXPECTED: {}}
    for name, labels, value in scrape.lines(server.metrics()):
        if name in found:
            found[name][labels["model"], labels["measure"], labels["bucket"]] = value
    assert set(found[EXPECTED].values()) == {0.5}
    assert found[SEEN] == {
        ("one", "x", "0"): 2,
        ("one", "x", "1"): 1,
        ("one", "answer", "0"): 0,
        ("one", "answer", "1"): 3,
        ("two", "x", "0"): 0,
        ("two", "x", "1"): 1,
        ("two", "answer", "0"): 0,
        ("two", "answer", "1"): 1,
    }
    status, why = refused(server, "odd")
    assert status == 503
    assert "reference.json is no reference" in why
