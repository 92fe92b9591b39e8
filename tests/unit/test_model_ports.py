"""How a question becomes a graph's tensors, and what is refused with which words; what lies in a version's folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from components.kserve.image.server import forms
from components.kserve.image.server.forms import FormError
from components.kserve.image.server.graphs import cores
from components.kserve.image.server.ports import KINDS, LONGEST, Given, Port, QuestionError, accepted, taken

TEXT = Port("text", "BYTES", ("rows", 1))
FLAT = Port("text", "BYTES", ("rows",))
NUMBERS = Port("x", "FP32", ("", 2))
AGE, SITE = Port("age", "FP32", ("rows", 1)), Port("site", "INT32", ("rows", 1))
SECRET = "Mrs Miller, ward 7"


def asked(ports: Sequence[Port], *inputs: Given) -> dict[str, Any]:
    return taken(ports, SimpleNamespace(inputs=inputs))


@pytest.mark.parametrize(
    ("port", "shape", "data", "told"),
    [
        (TEXT, [2, 1], ["a", "b"], [["a"], ["b"]]),
        (TEXT, [2], ["a", "b"], [["a"], ["b"]]),
        (TEXT, [2, 1], [["a"], ["b"]], [["a"], ["b"]]),
        (FLAT, [2, 1], ["a", "b"], ["a", "b"]),
        (FLAT, [1], ["ä\0𝄞"], ["ä\0𝄞"]),
        (FLAT, [1], ["x" * LONGEST], ["x" * LONGEST]),
        (Port("text", "BYTES"), [1, 1, 1], ["a"], [[["a"]]]),
    ],
)
def test_texts_become_what_the_graph_takes(port: Port, shape: list[int], data: list[Any], told: list[Any]) -> None:
    (found,) = asked([port], Given("x", shape, "BYTES", data)).values()
    assert found.dtype == object and found.tolist() == told


@pytest.mark.parametrize(
    ("wanted", "came", "data", "told"),
    [
        ("FP32", "FP64", [1, 2.5], [1.0, 2.5]),
        ("FP32", "INT64", [1, 2], [1.0, 2.0]),
        ("FP32", "BOOL", [True, False], [1.0, 0.0]),
        ("FP64", "FP32", np.array([1, 2], np.float32), [1.0, 2.0]),
        ("INT32", "INT64", [1, -(2**31)], [1, -(2**31)]),
        ("UINT8", "UINT64", np.array([1, 255], np.uint64), [1, 255]),
        ("BOOL", "BOOL", [True, False], [True, False]),
    ],
)
def test_numbers_become_those_of_the_graph_where_it_holds_them(
    wanted: str, came: str, data: Any, told: list[Any]
) -> None:
    (found,) = asked([Port("x", wanted, ("",))], Given("x", [2], came, data)).values()
    assert (found.dtype, found.tolist()) == (np.dtype(KINDS[wanted]), told)


def test_what_is_not_known_is_no_number() -> None:
    (found,) = asked([NUMBERS], Given("x", [1, 2], "FP64", [None, 1.0])).values()
    assert np.isnan(found[0, 0]) and found[0, 1] == 1


def test_several_inputs_go_by_their_names_whatever_their_order() -> None:
    found = asked([AGE, SITE], Given("site", [2], "INT64", [1, 2]), Given("age", [2, 1], "FP32", [40, 50]))
    assert list(found) == ["age", "site"]
    assert [each.tolist() for each in found.values()] == [[[40.0], [50.0]], [[1], [2]]]


X = "input 'x'"
REFUSED = {
    "another datatype": (TEXT, Given("x", [1, 1], "FP32", [1.0]), "input 'text' is 'FP32'; allowed: BYTES"),
    "texts": (NUMBERS, Given("x", [1, 2], "BYTES", ["1", "2"]), f"{X} is 'BYTES'; allowed: FP32, BOOL, INT8"),
    "no datatype": (NUMBERS, Given("x", [1, 2], "FLOAT", [1, 2]), f"{X} is 'FLOAT'; allowed: FP32, BOOL"),
    "a point": (SITE, Given("site", [1], "FP64", [1.5]), "input 'site' is 'FP64'; allowed: INT32, BOOL, INT8, INT16"),
    "too wide": (NUMBERS, Given("x", [1, 3], "FP64", [1, 2, 3]), f"{X} has the shape [1, 3]; allowed: [any, 2]"),
    "too flat": (NUMBERS, Given("x", [2], "FP64", [1, 2]), f"{X} has the shape [2]; allowed: [any, 2]"),
    "two columns": (FLAT, Given("x", [1, 2], "BYTES", ["a", "b"]), "'text' has the shape [1, 2]; allowed: [any]"),
    "a fixed batch": (
        Port("x", "FP32", (1, 1)),
        Given("x", [2], "FP64", [1, 2]),
        f"{X} has the shape [2]; allowed: [1, 1]",
    ),
    "nothing": (NUMBERS, Given("x", [0, 2], "FP64", []), f"{X} has the shape [0, 2]; allowed: lengths of 1 or more"),
    "less than nothing": (NUMBERS, Given("x", [-1, 2], "FP64", [1, 2]), f"{X} has the shape [-1, 2]; allowed: lengths"),
    "too few": (NUMBERS, Given("x", [2, 2], "FP64", [1, 2, 3]), f"{X} has 3 values, its shape is [2, 2]"),
    "too long": (
        TEXT,
        Given("x", [2], "BYTES", ["a", SECRET * 5000]),
        "'text': value 1 is a text of 90000 letters; allowed: 65536",
    ),
    "no text": (TEXT, Given("x", [2], "BYTES", ["a", 7]), "input 'text': value 1 is no text; allowed: texts"),
    "null": (TEXT, Given("x", [1], "BYTES", [None]), "input 'text': value 0 is no text; allowed: texts"),
    "half a letter": (
        TEXT,
        Given("x", [1], "BYTES", [SECRET + "\ud800"]),
        "value 0 is no UTF-8; allowed: texts in UTF-8",
    ),
    "a text among numbers": (
        NUMBERS,
        Given("x", [1, 2], "FP64", [1, SECRET]),
        f"{X}: value 1 is no FP64; allowed: numbers, and",
    ),
    "true as a number": (NUMBERS, Given("x", [1, 2], "FP64", [1, True]), f"{X}: value 1 is no FP64; allowed: numbers"),
    "half a whole": (
        SITE,
        Given("site", [1], "INT64", [1.5]),
        "input 'site': value 0 is no INT64; allowed: whole numbers",
    ),
    "one for true": (
        Port("x", "BOOL", (1,)),
        Given("x", [1], "BOOL", [1]),
        f"{X}: value 0 is no BOOL; allowed: true and false",
    ),
    "ragged": (NUMBERS, Given("x", [1, 2], "FP64", [[1], [2, 3]]), f"{X}: value 0 is no FP64"),
    "beyond 32 bits": (SITE, Given("site", [2], "INT64", [1, 2**31]), "'site': value 1 is beyond what INT32 holds"),
    "beyond 64 bits": (SITE, Given("site", [1], "INT64", [2**63]), "'site': value 0 is beyond what INT32 holds"),
    "raw beyond": (
        SITE,
        Given("site", [1], "UINT64", np.array([2**63], np.uint64)),
        "value 0 is beyond what INT32 holds",
    ),
    "beyond a point": (NUMBERS, Given("x", [1, 2], "FP64", [1, 1e300]), f"{X}: value 1 is beyond what FP32 holds"),
    "said to be small": (NUMBERS, Given("x", [1, 2], "FP32", [1, 1e300]), f"{X}: value 1 is beyond what FP32 holds"),
    "beyond everything": (NUMBERS, Given("x", [1, 2], "FP64", [10**400, 1]), f"{X}: value 0 is beyond what FP32 holds"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_fit_is_refused_by_name_with_what_came_and_what_is_allowed(name: str) -> None:
    port, given, told = REFUSED[name]
    with pytest.raises(QuestionError) as error:
        asked([port], given)
    assert told in str(error.value)
    # It is written to the log.
    assert "Miller" not in str(error.value)


def test_all_mistakes_are_told_at_once() -> None:
    with pytest.raises(QuestionError) as error:
        asked([AGE, SITE], Given("site", [2], "FP32", [1, 2]), Given("age", [2, 2], "FP32", [1, 2, 3, 4]))
    assert str(error.value).startswith(
        "input 'age' has the shape [2, 2]; allowed: [any, 1]; input 'site' is 'FP32'; all"
    )
    with pytest.raises(QuestionError, match=r"input 'site' has 1 where input 'age' has 2; allowed: as many \(rows\)"):
        asked([AGE, SITE], Given("site", [1], "INT32", [1]), Given("age", [2], "FP32", [1, 2]))


@pytest.mark.parametrize(
    ("names", "told"),
    [
        ([], "missing is the input 'age', 'site'"),
        (["age"], "missing is the input 'site'"),
        (["age", "sites"], "there is no input 'sites'; missing is the input 'site'"),
        (["age", "site", "age"], "there is more than one input 'age'"),
    ],
)
def test_names_that_are_not_the_inputs_are_refused_with_those_that_are(names: list[str], told: str) -> None:
    with pytest.raises(QuestionError) as error:
        asked([AGE, SITE], *(Given(name, [1], "FP32", [1]) for name in names))
    assert str(error.value) == f"{told}; allowed: age (FP32 [any, 1]), site (INT32 [any, 1])"


@pytest.mark.parametrize(
    ("ports", "payload", "told"),
    [
        ([TEXT], {"instances": ["a", "b"]}, {"text": [["a"], ["b"]]}),
        ([TEXT], {"instances": [["a"]]}, {"text": [["a"]]}),
        ([TEXT], {"inputs": [{"text": "a"}]}, {"text": [["a"]]}),
        ([NUMBERS], {"instances": [[1, 2], [3, 4]]}, {"x": [[1, 2], [3, 4]]}),
        ([AGE, SITE], {"instances": [{"site": 1, "age": 2.5}]}, {"age": [[2.5]], "site": [[1]]}),
    ],
)
def test_version_1_has_rows(ports: list[Port], payload: dict[str, Any], told: dict[str, Any]) -> None:
    assert {name: each.tolist() for name, each in taken(ports, payload).items()} == told


@pytest.mark.parametrize(
    ("payload", "told"),
    [
        ({}, "the question has no instances"),
        ({"instances": []}, "the question has no instances"),
        ({"instances": "abc"}, "the question has no instances"),
        ({"instances": [[1, 2]]}, "an instance is no object; allowed: one with age (FP32 [any, 1]), site"),
        ({"instances": [{"age": 1, "site": 2}, 3]}, "an instance is no object"),
        ({"instances": [{"age": 1, "site": 2}, {"age": 1}]}, "site: not in every instance"),
        ({"instances": [{"age": 1, "place": 2}]}, "there is no input 'place'; missing is the input 'site'"),
        ({"instances": [{"age": SECRET, "site": 2}]}, "input 'age': value 0 is no FP32"),
    ],
)
def test_what_is_no_row_is_refused(payload: dict[str, Any], told: str) -> None:
    with pytest.raises(QuestionError) as error:
        taken([AGE, SITE], payload)
    assert told in str(error.value) and "Miller" not in str(error.value)


def test_no_number_of_one_kind_is_taken_for_another() -> None:
    for wanted, kind in KINDS.items():
        for came in accepted(wanted):
            assert (came == "BYTES") == (wanted == "BYTES")
            assert np.dtype(KINDS[came]).kind != "f" or np.dtype(kind).kind == "f"


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({"cpu.max": "150000 100000\n"}, 1),
        ({"cpu.max": "200000 100000\n"}, 2),
        ({"cpu.max": "20000 100000\n"}, 1),
        ({"cpu.max": "max 100000\n"}, 1),
        ({"cpu/cpu.cfs_quota_us": "300000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 3),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 1),
        ({}, 1),
    ],
)
def test_a_graph_has_as_many_threads_as_the_container_has_whole_cores(
    tmp_path: Path, files: dict[str, str], told: int
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert cores(tmp_path) == told


ONNX = (
    "flavors:\n  onnx: {data: model.onnx, providers: [CUDAExecutionProvider]}\n  python_function: {data: model.onnx}\n"
)


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({"MLmodel": ONNX, "model.onnx": "x", "model.onnx.data": "x"}, "model.onnx"),
        ({"model.onnx": "x", "reference.json": "{}"}, "model.onnx"),
        ({"MLmodel": "flavors: {sklearn: {pickled_model: data/model.pkl}}"}, "data/model.pkl"),
    ],
)
def test_the_file_that_is_the_model_is_found(tmp_path: Path, files: dict[str, str], told: str) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert forms.found(tmp_path) == tmp_path / told


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({}, "one of *.joblib, *.pkl, *.skops, *.onnx is needed, found: none"),
        ({"a.onnx": "x", "model.joblib": "x"}, "found: a.onnx, model.joblib"),
        (
            {"MLmodel": "flavors: {pytorch: {}, python_function: {}}"},
            "has the flavours pytorch, python_function; allowed",
        ),
        ({"MLmodel": "flavors: {onnx: {data: ../../etc/passwd}}"}, "leads out of"),
        ({"MLmodel": "flavors: {onnx: {data: model.bin}}"}, "is needed, found: model.bin"),
    ],
)
def test_a_folder_without_one_model_is_refused(tmp_path: Path, files: dict[str, str], told: str) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(FormError) as error:
        forms.found(tmp_path)
    assert told in str(error.value)
