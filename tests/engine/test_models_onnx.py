"""Graphs of ONNX in the image's own model server: texts and numbers, by REST and by gRPC, beside other models."""

from __future__ import annotations

import base64
import json
import re
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from components.kserve.image.server.drift import SEEN
from components.models.judge import scrape
from tests.engine import calling, mirroring, modelserving
from tests.engine.calling import Client
from tests.engine.modelserving import Server, Wanted
from tests.engine.test_model_floor import TREE
from tests.engine.test_model_grpc import codes, first, long, raw, typed, words
from tests.engine.test_models_together import SAYS, refused

pytestmark = pytest.mark.engine

NAMED = ["--model_name=words", "--model_version=v1"]
GRAPH = """
from tests.graphing import *
files = {{"model.onnx": {}}}
"""
#: As MLflow leaves it.
LOGGED = (
    GRAPH.format("words()")
    + """
about = "flavors: {onnx: {data: model.onnx, providers: [CUDAExecutionProvider], onnx_version: 1.23.2}}"
files["MLmodel"] = about.encode()
files["requirements.txt"] = b"onnxruntime"
"""
)
#: Several inputs, of several kinds: how old, of which site, and what was written.
TABLE = """
from tests.graphing import *
inputs = [Port("age", FLOAT, ("n", 1)), Port("site", INT64, ("n", 1)), Port("note", STRING, ("n", 1))]
nodes = [
    Node("Cast", ["site"], ["place"], "", {"to": FLOAT}),
    Node("Add", ["age", "place"], ["sum"]),
    Node("Identity", ["note"], ["heard"]),
]
files = {"model.onnx": written(inputs, [Port("sum", FLOAT, ("n", 1)), Port("heard", STRING, ("n", 1))], nodes)}
half = {"edges": [50.0], "shares": [0.5, 0.5]}
reference = {"inputs": ["age", "site", None], "measures": {"age": half, "site": half, "answer": half}}
"""
#: Weights in a file of their own, as MLflow saves large ones, for two columns that may be looked up.
BESIDE = """
from tests.graphing import *
weights = Constant("weights", FLOAT, (2, 1), beside={file!r})
ports = [Port("x", FLOAT, ("n", 2))], [Port("y", FLOAT, ("n", 1))]
files = {{
    "model.onnx": written(*ports, [Node("MatMul", ["x", "weights"], ["y"])], [weights]),
    "weights.bin": numpy.array([1, 10], "<f4").tobytes(),
}}
columns = [{{"name": name, "type": "float64", "feature": f"people:{{name}}"}} for name in {columns}]
features = {{"key": "person", "key_type": "int64", "columns": columns}}
"""
#: Says how sure it is by numbers that are no probabilities.
SCORES = """
from tests.graphing import *
ports = [Port("x", FLOAT, ("n", 2))], [Port("label", INT64, ("n",)), Port("scores", FLOAT, ("n", 2))]
nodes = [
    Node("ArgMax", ["x"], ["label"], "", {"axis": 1, "keepdims": 0}),
    Node("Identity", ["x"], ["scores"]),
]
files = {"model.onnx": written(*ports, nodes)}
"""
CUSTOM = GRAPH.format(
    'written([Port("t", STRING, ("n",))], [Port("y", STRING, ("n",))], [Node("Bert", ["t"], ["y"], "ai.onnx.contrib")])'
)
LISTS = GRAPH.format(
    'written([Port("x", FLOAT, ("n",))], [Port("y", FLOAT, sequence=True)], [Node("SequenceConstruct", ["x"], ["y"])])'
)
CUT = GRAPH.format("words()[:-9]")
SERVERS = {
    "words": Wanted({"": LOGGED}, NAMED),
    "floor": Wanted({"": LOGGED}, [*NAMED, "--floor=0.8"]),
    "maps": Wanted({"": GRAPH.format("words((7, 9), maps=True, flat=True)")}, [*NAMED, "--floor=0.8"]),
    "free": Wanted({"": GRAPH.format("words(maps=True)")}, NAMED),
    "table": Wanted({"": TABLE}, ["--model_name=table", "--model_version=v1"]),
    "reads": Wanted({"": GRAPH.format("echo(STRING, to=FLOAT)")}, ["--model_name=reads"]),
    "half": Wanted({"": GRAPH.format("echo(FLOAT16)")}, ["--model_name=half"]),
    "beside": Wanted({"": BESIDE.format(file="weights.bin", columns=["a", "b"])}, ["--model_name=beside"]),
    "scores": Wanted({"": SCORES}, ["--model_name=scores", "--floor=0.8"]),
    "tree": Wanted({"": TREE.replace("{classes}", "[7, 9]")}, ["--model_name=tree", "--model_version=v1"]),
    "shared": Wanted(
        {"tree": SAYS.format(4, 4), "words": LOGGED, "cut": CUT},
        ["--model_name=tree", "--model_version=1", "--beside=words=2", "--beside=cut=3"],
    ),
    "cut": Wanted({"": CUT}, NAMED),
    "custom": Wanted({"": CUSTOM}, NAMED),
    "lists": Wanted({"": LISTS}, NAMED),
    "away": Wanted({"": BESIDE.format(file="../weights.bin", columns=["a", "b"])}, NAMED),
    "columns": Wanted({"": BESIDE.format(file="weights.bin", columns=["a", "b", "c"])}, NAMED),
    "no chances": Wanted({"": GRAPH.format("echo(STRING)")}, [*NAMED, "--floor=0.8"]),
}
FAILS = {
    "cut": "words: model.onnx is no graph that runs here: InvalidProtobuf: Load model from ",
    "custom": "No opset import for domain 'ai.onnx.contrib'",
    "lists": "model.onnx can't be served: output 'y' is seq(tensor(float)); allowed: tensors of numbers, flags",
    "away": "words: model.onnx is no graph that runs here: ",
    "columns": "words: features.json: its inputs are x (FP32 [any, 2]); allowed: one of [any, 3]",
    "no chances": "no floor of 0.8 is possible: its outputs are said (BYTES [any, 1]); allowed: first a label [rows]",
}
GOOD, BAD, NEITHER = "ÄLL GOOD and good", "bad", "nobody knows"
#: Of a person.
SECRET = "Mrs Miller of ward 7"


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Server]]:
    with modelserving.started(tmp_path_factory.mktemp("onnx"), SERVERS, list(FAILS)) as found:
        yield found


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    with calling.client(tmp_path_factory.mktemp("client")) as found:
        yield found


def asked(server: Server, model: str, *inputs: dict[str, Any], **more: Any) -> tuple[int, dict[str, Any]]:
    status, text = server.call("POST", f"/v2/models/{model}/infer", json.dumps({"inputs": inputs} | more).encode())
    return status, json.loads(text)


def texts(*data: str, shape: list[int] | None = None, name: str = "text") -> dict[str, Any]:
    return {"name": name, "shape": shape or [len(data), 1], "datatype": "BYTES", "data": list(data)}


def numbers(name: str, kind: str, shape: list[int], data: list[Any]) -> dict[str, Any]:
    return {"name": name, "shape": shape, "datatype": kind, "data": data}


FIELDS = {"FP32": "fp32_contents", "INT64": "int64_contents", "BYTES": "bytes_contents"}


def message(model: str, *inputs: dict[str, Any], **more: Any) -> dict[str, Any]:
    """The same question by gRPC."""
    made = []
    for each in inputs:
        data = each["data"] if each["datatype"] != "BYTES" else words(*each["data"])
        about = {key: each[key] for key in ("name", "shape", "datatype")}
        made.append(about | {"contents": {FIELDS[each["datatype"]]: data}})
    return {"model_name": model, "inputs": made, **more}


@pytest.mark.parametrize("shape", [[3, 1], [3]])
@pytest.mark.parametrize("name", ["words", "free"])
def test_texts_get_labels_and_how_probable_each_is(servers: dict[str, Server], name: str, shape: list[int]) -> None:
    status, told = asked(servers[name], "words", texts(GOOD, BAD, NEITHER, shape=shape, name="any name"))
    assert status == 200, told
    label, chances = told["outputs"]
    assert (label["name"], label["datatype"], label["shape"]) == ("label", "BYTES", [3])
    assert label["data"] == ["yes", "no", "no"]
    assert (chances["name"], chances["datatype"], chances["shape"]) == ("probabilities", "FP32", [3, 2])
    assert chances["data"] == pytest.approx([0.018, 0.982, 0.881, 0.119, 0.5, 0.5], abs=0.001)
    # What a map's keys would say.
    assert chances.get("parameters") == ({"classes": '["no", "yes"]'} if name == "free" else None)
    assert told["model_version"] == "v1"


def test_one_row_and_many_are_asked_alike(servers: dict[str, Server]) -> None:
    for count in (1, 500):
        _, told = asked(servers["words"], "words", texts(*[GOOD] * count))
        assert told["outputs"][0]["data"] == ["yes"] * count


def test_by_grpc_they_are_the_same_typed_and_raw(servers: dict[str, Server], client: Client) -> None:
    port = servers["free"].calls
    told = client.call(port, "ModelInfer", typed("words", "BYTES", "bytes_contents", [2, 1], words(GOOD, BAD)))
    label, chances = told.told["outputs"]
    assert label["contents"] == {"bytes_contents": words("yes", "no")}
    assert chances["contents"]["fp32_contents"] == pytest.approx([0.018, 0.982, 0.881, 0.119], abs=0.001)
    assert chances["parameters"] == {"classes": {"string_param": '["no", "yes"]'}}
    told = client.call(port, "ModelInfer", raw("words", "BYTES", [2], long(GOOD.encode(), BAD.encode())))
    assert [each["name"] for each in told.told["outputs"]] == ["label", "probabilities"]
    assert base64.b64decode(told.told["raw_output_contents"][0]) == long(b"yes", b"no")
    port = servers["half"].calls
    asked_for = typed("half", "FP32", "fp32_contents", [1], [0.5])
    assert first(client.call(port, "ModelInfer", asked_for))["contents"] == {"fp32_contents": [0.5]}


def test_it_says_what_it_takes_and_gives(servers: dict[str, Server], client: Client) -> None:
    about = json.loads(servers["table"].call("GET", "/v2/models/table")[1])
    assert about["inputs"] == [
        {"name": "age", "datatype": "FP32", "shape": [-1, 1]},
        {"name": "site", "datatype": "INT64", "shape": [-1, 1]},
        {"name": "note", "datatype": "BYTES", "shape": [-1, 1]},
    ]
    told = client.call(servers["words"].calls, "ModelMetadata", {"name": "words"}).told
    assert told["inputs"] == [{"name": "text", "datatype": "BYTES", "shape": ["-1", "1"]}]
    assert [each["name"] for each in told["outputs"]] == ["label", "probabilities"]
    told = client.call(servers["floor"].calls, "ModelMetadata", {"name": "words"}).told
    assert [each["name"] for each in told["outputs"]] == ["label"]


def test_version_1_gives_the_first_output(servers: dict[str, Server]) -> None:
    body = json.dumps({"instances": [GOOD, BAD]}).encode()
    assert servers["words"].call("POST", "/v1/models/words:predict", body) == (200, '{"predictions":["yes","no"]}')
    body = json.dumps({"instances": [{"age": 1, "site": 2, "note": "x"}]}).encode()
    assert servers["table"].call("POST", "/v1/models/table:predict", body) == (200, '{"predictions":[[3.0]]}')


def counted(server: Server) -> Counter[tuple[str, str]]:
    """Values by measure and bucket."""
    shown = scrape.lines(server.metrics())
    return Counter({(each["measure"], each["bucket"]): int(value) for name, each, value in shown if name == SEEN})


def test_several_inputs_are_named_and_only_numbers_of_them_are_counted(servers: dict[str, Server]) -> None:
    server = servers["table"]
    before = counted(server)
    assert {measure for measure, _ in before} == {"age", "site", "answer"}
    ages = numbers("age", "FP64", [2, 1], [40.5, 60.5])
    sites = numbers("site", "INT32", [2], [1, 2])
    status, told = asked(server, "table", texts(SECRET, "x", name="note"), sites, ages, id="order-7")
    assert status == 200, told
    assert {each["name"]: each["data"] for each in told["outputs"]} == {"sum": [41.5, 62.5], "heard": [SECRET, "x"]}
    once = [("age", "0"), ("age", "1"), ("answer", "0"), ("answer", "1")]
    assert counted(server) - before == {**dict.fromkeys(once, 1), ("site", "0"): 2}
    # What is kept of a question that has a name is the first output.
    (kept,) = (json.loads(line) for line in server.call("GET", "/predictions")[1].splitlines()[1:])
    assert (kept["name"], kept["answers"]) == ("order-7", [41.5, 62.5])


REFUSED: dict[str, tuple[str, list[dict[str, Any]], str]] = {
    "numbers": ("words", [numbers("text", "FP32", [1, 1], [1.0])], "input 'text' is 'FP32'; allowed: BYTES"),
    "wide": ("words", [texts("a", "b", shape=[1, 2])], "input 'text' has the shape [1, 2]; allowed: [any, 1]"),
    "few": ("words", [texts("a", shape=[2, 1])], "input 'text' has 1 values, its shape is [2, 1]"),
    "long": ("words", [texts(SECRET * 4000)], "input 'text': value 0 is a text of 80000 letters; allowed: 65536"),
    "no text": ("words", [numbers("text", "BYTES", [1], [7])], "input 'text': value 0 is no text; allowed: texts"),
    "none": ("words", [], "missing is the input 'text'; allowed: text (BYTES [any, 1])"),
    "other": (
        "table",
        [texts(SECRET, name="remark"), numbers("age", "FP32", [1], [1])],
        "there is no input 'remark'; missing is the input 'site', 'note'; allowed: age (FP32 [any, 1]), site",
    ),
    "uneven": (
        "table",
        [texts(SECRET, name="note"), numbers("age", "FP32", [2], [1, 2]), numbers("site", "INT64", [1], [1])],
        "input 'site' has 1 where input 'age' has 2; allowed: as many (n)",
    ),
    "whole": (
        "table",
        [texts(SECRET, name="note"), numbers("age", "FP32", [1], [1]), numbers("site", "FP32", [1], [1.5])],
        "input 'site' is 'FP32'; allowed: INT64, BOOL",
    ),
    "within": ("reads", [texts(SECRET)], "can't take these values: RuntimeException in its node 'said' (Cast)"),
    "output": ("words", [texts(GOOD)], "Unexpected inference output 'more'"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_question_is_refused_with_the_reason_by_rest_and_by_grpc(
    servers: dict[str, Server], client: Client, name: str
) -> None:
    model, inputs, told = REFUSED[name]
    more = {"outputs": [{"name": "more"}]} if name == "output" else {}
    server = servers[model]
    before = codes(server).get("400", 0)
    status, answer = asked(server, model, *inputs, **more)
    assert (status, told in answer["error"]) == (400, True), answer
    assert codes(server)["400"] == before + 1
    if name not in ("none", "no text"):  # gRPC has no such question
        said = client.call(server.calls, "ModelInfer", message(model, *inputs, **more))
        assert said.code == "INVALID_ARGUMENT" and told in said.why, said


def test_a_body_that_is_too_large_is_refused_before_it_is_read(servers: dict[str, Server]) -> None:
    status, answer = asked(servers["words"], "words", texts(*["x" * 60_000] * 80))
    assert (status, "allowed" in answer["error"]) == (413, True)


def test_no_text_of_a_question_is_written_anywhere(servers: dict[str, Server]) -> None:
    server = servers["reads"]
    for shape in ([1, 1], [1, 2]):
        assert asked(server, "reads", texts(SECRET, shape=shape), id="order-7")[0] == 400
    # One that fits: the text is a number.
    assert asked(server, "reads", texts("4711.25"), id="order-8")[1]["outputs"][0]["data"] == [4711.25]
    asked(servers["words"], "words", texts(SECRET), id="order-9")
    for each in (server, servers["words"], servers["table"]):
        written = [(each.place / f"{each.name}.log").read_text(), each.metrics(), *each.kept().values()]
        assert not any("Miller" in text or SECRET in text for text in written)
        assert "Miller" not in each.call("GET", "/predictions")[1]


def test_a_floor_keeps_the_label_back_and_all_that_would_tell_it(servers: dict[str, Server], client: Client) -> None:
    status, told = asked(servers["floor"], "words", texts(GOOD, NEITHER, BAD))
    assert status == 200, told
    label, sure = told["outputs"]
    assert (label["name"], label["data"]) == ("label", ["yes", "", "no"])
    assert (sure["name"], sure["data"]) == ("sure", [True, False, True])
    assert told["parameters"] == {"floor": 0.8, "not_sure": 1}
    asked_for = [{"name": "probabilities"}]
    status, told = asked(servers["floor"], "words", texts(NEITHER), outputs=asked_for)
    assert (status, "Unexpected inference output 'probabilities'" in told["error"]) == (400, True)
    # Of the maps of ZipMap, too, and of labels that are numbers.
    question = typed("words", "BYTES", "bytes_contents", [2], words(GOOD, NEITHER))
    told = client.call(servers["maps"].calls, "ModelInfer", question).told
    assert [each["name"] for each in told["outputs"]] == ["label", "sure"]
    assert told["outputs"][0]["contents"] == {"int64_contents": ["9", str(-(2**63))]}


def test_a_floor_holds_for_probabilities_and_for_no_other_numbers(servers: dict[str, Server]) -> None:
    server = servers["scores"]
    status, told = asked(server, "scores", numbers("x", "FP32", [1, 2], [0.1, 0.9]))
    assert (status, told["outputs"][0]["data"]) == (200, [1])
    status, told = asked(server, "scores", numbers("x", "FP32", [1, 2], [-3.0, 4.0]))
    assert (status, "the output 'scores' is to be probabilities" in told["error"]) == (500, True)


def test_weights_may_lie_in_files_beside_it(servers: dict[str, Server]) -> None:
    """And a question brings the columns of a version that looks some up: here nobody tells them."""
    status, told = asked(servers["beside"], "beside", numbers("input-0", "FP64", [2, 2], [1, 2, 3, 4]))
    assert (status, told["outputs"][0]["data"]) == (200, [21.0, 43.0]), told


@pytest.mark.parametrize("name", FAILS)
def test_a_graph_that_can_not_be_served_ends_the_server_which_says_why(servers: dict[str, Server], name: str) -> None:
    code, line = servers[name].ended()
    assert (code, FAILS[name] in line) == (1, True), line


def test_beside_other_models_it_answers_and_takes_no_other_one_with_it(servers: dict[str, Server]) -> None:
    server = servers["shared"]
    assert server.ask("tree", [[0.0]])["outputs"][0]["data"] == [4]
    assert asked(server, "words", texts(GOOD))[1]["outputs"][0]["data"] == ["yes"]
    status, why = refused(server, "cut")
    assert status == 503
    assert "model.onnx is no graph that runs here: InvalidProtobuf" in why


def test_the_runtime_is_read_for_graphs_alone_and_has_no_threads_but_the_limits(servers: dict[str, Server]) -> None:
    def process(name: str, file: str) -> str:
        number = (servers[name].place / f"{name}.pid").read_text()
        return Path(f"/proc/{number}/{file}").read_text(encoding="utf-8")

    def threads(name: str) -> int:
        found = re.search(r"Threads:\s+(\d+)", process(name, "status"))
        assert found is not None
        return int(found[1])

    assert "onnxruntime" not in process("tree", "maps")
    assert "onnxruntime" in process("words", "maps")
    asked(servers["words"], "words", texts(GOOD))
    servers["tree"].ask("tree", [[0.0]])
    assert threads("words") <= threads("tree") + 1


#: A batch asks as the server does: column by column is another question.
BATCH = """
import sys
from pathlib import Path
from components.kserve.image.server.asking import Model
from components.kserve.image.server.rows import Row
from tests.graphing import words
folder = Path(sys.argv[1])
(folder / "model.onnx").write_bytes(words())
model = Model(folder, "words", 0.8, texts=True)
rows = [Row(str(at), at, (text,), 1) for at, text in enumerate(("good good", "x" * 70000, "bad good"))]
told = model.answers(rows)
print([getattr(each, "label", "") for each in told], told[1].reason)
"""


def test_a_batch_answers_texts_and_leaves_aside_what_is_none(tmp_path: Path) -> None:
    command, variables = mirroring.python()
    done = subprocess.run(
        [*command, "-c", BATCH, str(tmp_path)], env=variables, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-2000:]
    reason = "input 'text': value 0 is a text of 70000 letters; allowed: 65536"
    assert done.stdout.splitlines()[-1] == f"['yes', '', None] {reason}"
