"""A floor under a model's answers, in the image's own model server: what callers see, what is counted and compared."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from components.models.judge import scrape
from components.models.judge.counters import NOT_SURE, ROWS
from tests.engine import modelserving
from tests.engine.modelserving import Server, Wanted

pytestmark = pytest.mark.engine

#: Of ten rows each: at 0 all are of the first class, at 1 seven are, at 2 none is. So sure it is, too.
TREE = """
from sklearn.tree import DecisionTreeClassifier
rows = numpy.repeat([0.0, 1.0, 2.0], 10).reshape(-1, 1)
model = DecisionTreeClassifier().fit(rows, numpy.array({classes})[[0] * 10 + [0] * 7 + [1] * 3 + [1] * 10])
"""
#: The other class at 1, no surer.
OTHER = TREE.replace("[0] * 7 + [1] * 3", "[0] * 3 + [1] * 7")
LINE = """
from sklearn.linear_model import LinearRegression
model = LinearRegression().fit([[0.0], [1.0]], [0.0, 1.0])
"""
INTEGERS, TEXTS, FLOATS, FLAGS = "[7, 9]", "['no', 'certainly']", "[1.0, 2.0]", "[False, True]"
ROWS_ASKED = [[0.0], [1.0], [2.0]]
LOWEST = -(2**63)


def wanted(make: str, classes: str = INTEGERS, floor: str = "0.8") -> Wanted:
    arguments = ["--model_name=tree", "--model_version=v1", *([f"--floor={floor}"] if floor else [])]
    return Wanted({"": make.replace("{classes}", classes)}, arguments)


SERVERS = {
    "integers": wanted(TREE),
    "other": wanted(OTHER),
    "low": wanted(TREE, floor="0.7"),
    "texts": wanted(TREE, TEXTS),
    "floats": wanted(TREE, FLOATS),
    "free": wanted(TREE, TEXTS, floor=""),
    "line": wanted(LINE),
    "flags": wanted(TREE, FLAGS),
    "mark": wanted(TREE, f"[{LOWEST}, 1]"),
    "percent": wanted(TREE, floor="80"),
}
FAILS = {
    "line": (1, "tree: no floor of 0.8 is possible: LinearRegression has no predict_proba, so it does not say how"),
    "flags": (1, "its classes are bool, which has no value beside them (allowed: numbers or texts)"),
    "mark": (1, f"{LOWEST} is one of its classes, and stands for not sure"),
    "percent": (2, "--floor: invalid share value: '80'"),
}


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Server]]:
    with modelserving.started(tmp_path_factory.mktemp("floors"), SERVERS, list(FAILS)) as found:
        yield found


@pytest.mark.parametrize(
    ("name", "kind", "labels"),
    [
        ("integers", "INT64", [7, LOWEST, 9]),
        ("texts", "BYTES", ["no", "", "certainly"]),
        ("floats", "FP64", [1.0, None, 2.0]),  # NaN, as JSON has it
    ],
)
def test_a_row_below_the_floor_keeps_no_label(
    servers: dict[str, Server], name: str, kind: str, labels: list[object]
) -> None:
    told = servers[name].ask("tree", ROWS_ASKED)
    output, sure = told["outputs"]
    assert output == {"name": "output-0", "shape": [3], "datatype": kind, "parameters": None, "data": labels}
    assert (sure["name"], sure["shape"], sure["datatype"], sure["data"]) == ("sure", [3], "BOOL", [True, False, True])
    assert told["parameters"] == {"floor": 0.8, "not_sure": 1}
    assert told["model_version"] == "v1"


def test_as_sure_as_the_floor_is_sure(servers: dict[str, Server]) -> None:
    told = servers["low"].ask("tree", ROWS_ASKED)
    assert [each["data"] for each in told["outputs"]] == [[7, 7, 9], [True, True, True]]
    assert told["parameters"] == {"floor": 0.7, "not_sure": 0}


def test_without_a_floor_every_row_has_its_label_and_nothing_is_added(servers: dict[str, Server]) -> None:
    told = servers["free"].ask("tree", ROWS_ASKED)
    (output,) = told["outputs"]
    assert output["data"] == ["no", "no", "certainly"]
    assert not told["parameters"]


def test_whoever_asks_for_the_labels_alone_or_by_version_1_sees_no_other_ones(servers: dict[str, Server]) -> None:
    told = servers["integers"].ask("tree", ROWS_ASKED, outputs=[{"name": "output-0"}])
    assert [each["data"] for each in told["outputs"]] == [[7, LOWEST, 9]]
    body = json.dumps({"instances": ROWS_ASKED}).encode()
    status, text = servers["texts"].call("POST", "/v1/models/tree:predict", body)
    assert (status, json.loads(text)) == (200, {"predictions": ["no", None, "certainly"]})


def test_rows_and_those_without_a_label_are_counted_by_model_and_version(servers: dict[str, Server]) -> None:
    server = servers["integers"]

    def counted() -> list[int]:
        found = {name: value for name, labels, value in scrape.lines(server.metrics()) if "model" in labels}
        return [int(found[name]) for name in (ROWS, NOT_SURE)]

    before = counted()
    server.ask("tree", [[1.0], [1.0], [2.0]])
    server.ask("tree", [[0.0]])
    assert [now - then for now, then in zip(counted(), before, strict=True)] == [4, 2]
    # Not to be sure is no error and no invalid answer.
    reading = scrape.reading(server.metrics())
    assert (reading.errors, reading.invalid) == (0, 0)


def test_versions_that_are_both_not_sure_say_the_same_whatever_they_would_have_said(servers: dict[str, Server]) -> None:
    one, other, low = (servers[name] for name in ("integers", "other", "low"))
    for server in (one, other, low):
        server.ask("tree", [[1.0]], mark="hidden")
        server.ask("tree", [[2.0]], mark="shown")
    (first, second, third) = (server.kept() for server in (one, other, low))
    assert len(first) == 2 and first == second
    # Whoever gets a label from one of them and none from the other sees a difference.
    assert sum(first[mark] != third[mark] for mark in first) == 1


@pytest.mark.parametrize("name", FAILS)
def test_a_model_that_can_have_no_floor_is_not_served_and_the_last_line_says_why(
    servers: dict[str, Server], name: str
) -> None:
    code, line = servers[name].ended()
    assert (code, FAILS[name][1] in line) == (FAILS[name][0], True), line
