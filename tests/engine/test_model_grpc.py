"""The Open Inference Protocol by gRPC: the image's own model server, asked by gRPC's own client beside REST."""

from __future__ import annotations

import base64
import json
import os
import signal
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from components.kserve.image.server.counters import ANSWERS
from components.models.judge import scrape
from components.models.judge.counters import NOT_SURE, ROWS
from tests.engine import calling, mirroring, modelserving
from tests.engine.calling import Client, Said, question
from tests.engine.modelserving import Server, Wanted
from tests.engine.test_model_floor import LOWEST, ROWS_ASKED, TREE
from tests.engine.test_models_together import RAISES, SAYS
from validate.ground.kubectl import wait_for

pytestmark = pytest.mark.engine

#: Says what it hears.
ECHO = """
import operator, types
model = types.SimpleNamespace(predict=operator.methodcaller("copy"))
"""
#: A fault of the model's own, whatever it is asked.
BREAKS = ECHO.replace('methodcaller("copy")', 'attrgetter("nothing")')
WORDS = """
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.pipeline import make_pipeline
from sklearn.tree import DecisionTreeClassifier
model = make_pipeline(CountVectorizer(), DecisionTreeClassifier()).fit(["good", "bad"], ["yes", "no"])
"""
#: Each message's fields, and each call, of the file that clients are given and of what KServe brings.
COMPARE = """
import json, sys
from google.protobuf import descriptor_pb2
from kserve.protocol.grpc import grpc_predict_v2_pb2 as theirs
own, known = descriptor_pb2.FileDescriptorSet(), descriptor_pb2.FileDescriptorProto()
own.ParseFromString(open(sys.argv[1], "rb").read())
theirs.DESCRIPTOR.CopyToProto(known)
def fields(messages):
    for each in messages:
        found = [(f.number, f.name, f.type, f.label, f.type_name, f.HasField("oneof_index")) for f in each.field]
        yield each.name, [sorted(found), [one.name for one in each.oneof_decl], sorted(fields(each.nested_type))]
for file in (own.file[0], known):
    (service,) = file.service
    calls = [(each.name, [file.package, service.name, each.input_type, each.output_type]) for each in service.method]
    print(json.dumps([*fields(file.message_type), *calls]))
"""
LARGEST = 4 << 20
LABELS = TREE.replace("{classes}", "[7, 9]")
SERVERS = {
    "echo": Wanted({"": ECHO}, ["--model_name=echo", "--model_version=v1"]),
    "breaks": Wanted({"": BREAKS}, ["--model_name=breaks", "--model_version=v1"]),
    "words": Wanted({"": WORDS}, ["--model_name=words", "--model_version=v1"]),
    "floor": Wanted({"": LABELS}, ["--model_name=tree", "--model_version=v1", "--floor=0.8"]),
    "together": Wanted(
        {"one": SAYS.format(1, 1), "bad": RAISES}, ["--model_name=one", "--model_version=v1", "--beside=bad=v2"]
    ),
}


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Server]]:
    with modelserving.started(tmp_path_factory.mktemp("grpc"), SERVERS) as found:
        yield found


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    with calling.client(tmp_path_factory.mktemp("client")) as found:
        yield found


def typed(model: str, kind: str, field: str, shape: list[int], data: list[Any], **more: Any) -> dict[str, Any]:
    tensor = {"name": "x", "datatype": kind, "shape": shape, "contents": {field: data} if data else {}}
    return {"model_name": model, "inputs": [tensor], **more}


def raw(model: str, kind: str, shape: list[int], data: bytes) -> dict[str, Any]:
    tensor = {"name": "x", "datatype": kind, "shape": shape}
    return {"model_name": model, "inputs": [tensor], "raw_input_contents": [base64.b64encode(data).decode()]}


def words(*texts: str) -> list[str]:
    return [base64.b64encode(text.encode()).decode() for text in texts]


def long(*texts: bytes) -> bytes:
    return b"".join(struct.pack("<I", len(text)) + text for text in texts)


def first(said: Said) -> dict[str, Any]:
    assert said.code == "OK", said
    found: dict[str, Any] = said.told["outputs"][0]
    return found


def codes(server: Server) -> dict[str, int]:
    """Answers by their status, of all models."""
    found: dict[str, int] = {}
    for name, labels, value in scrape.lines(server.metrics()):
        if name == ANSWERS:
            found[labels["code"]] = found.get(labels["code"], 0) + int(value)
    return found


def test_the_file_that_clients_are_given_says_what_the_server_means(tmp_path: Path, client: Client) -> None:
    """`client`: it has compiled the file."""
    (descriptors,) = Path(client.folder).glob("set")
    command, variables = mirroring.python()
    done = subprocess.run(
        [*command, "-c", COMPARE, str(descriptors)], env=variables, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr[-2000:]
    # All that KServe's own service has more is to load and unload models.
    mine, theirs = (dict(json.loads(line)) for line in done.stdout.splitlines())
    assert {name for name in theirs if mine.get(name) != theirs[name]} == {
        f"RepositoryModel{what}{more}" for what in ("Load", "Unload") for more in ("", "Request", "Response")
    }
    assert mine.keys() < theirs.keys()


def test_it_is_alive_and_ready_and_says_which_models_it_has(servers: dict[str, Server], client: Client) -> None:
    port = servers["together"].calls
    assert client.call(port, "ServerLive").told == {"live": True}
    assert client.call(port, "ServerReady").told == {"ready": True}
    about = client.call(port, "ServerMetadata").told
    assert about["name"] == "kserve" and "extensions" not in about
    assert client.call(port, "ModelReady", {"name": "one"}).told == {"ready": True}
    assert client.call(port, "ModelReady", {"name": "bad"}) == Said("OK", "", {})  # false, as protobuf writes it
    assert client.call(port, "ModelMetadata", {"name": "bad"}).told == {"name": "bad", "versions": ["v2"]}


@pytest.mark.parametrize(
    ("kind", "field", "data", "form", "told"),
    [
        ("BOOL", "bool_contents", [True, False], "??", None),
        ("INT8", "int_contents", [-3, 4], "bb", None),
        ("INT32", "int_contents", [-3, 4], "ii", None),
        ("INT64", "int64_contents", [-(2**40), 4], "qq", [str(-(2**40)), "4"]),
        ("UINT8", "uint_contents", [3, 250], "BB", None),
        ("UINT64", "uint64_contents", [2**63, 4], "QQ", [str(2**63), "4"]),
        ("FP32", "fp32_contents", [0.5, -2.0], "ff", None),
        ("FP64", "fp64_contents", [0.1, -2.0], "dd", None),
    ],
)
def test_numbers_go_typed_and_raw_and_come_back_so(
    servers: dict[str, Server], client: Client, kind: str, field: str, data: list[Any], form: str, told: Any
) -> None:
    port = servers["echo"].calls
    output = first(client.call(port, "ModelInfer", typed("echo", kind, field, [1, 2], data)))
    about = {"name": "output-0", "datatype": kind, "shape": ["1", "2"]}
    assert output == about | {"contents": {field: told or data}}
    body = struct.pack(f"<{form}", *data)
    said = client.call(port, "ModelInfer", raw("echo", kind, [1, 2], body))
    assert first(said) == about
    assert [base64.b64decode(each) for each in said.told["raw_output_contents"]] == [body]


def test_texts_are_texts_for_the_model_as_they_are_by_rest(servers: dict[str, Server], client: Client) -> None:
    port = servers["words"].calls
    output = first(
        client.call(port, "ModelInfer", typed("words", "BYTES", "bytes_contents", [2], words("bad", "good")))
    )
    assert output["contents"] == {"bytes_contents": words("no", "yes")}
    said = client.call(port, "ModelInfer", raw("words", "BYTES", [2], long(b"bad", b"good")))
    assert [base64.b64decode(each) for each in said.told["raw_output_contents"]] == [long(b"no", b"yes")]
    body = {"inputs": [{"name": "x", "shape": [2], "datatype": "BYTES", "data": ["bad", "good"]}]}
    status, text = servers["words"].call("POST", "/v2/models/words/infer", json.dumps(body).encode())
    assert (status, json.loads(text)["outputs"][0]["data"]) == (200, ["no", "yes"])


def test_an_answer_says_which_model_and_version_and_keeps_the_questions_id(
    servers: dict[str, Server], client: Client
) -> None:
    server = servers["echo"]
    told = client.call(server.calls, "ModelInfer", question("echo", [[1.0]], id="order-7")).told
    assert (told["model_name"], told["model_version"], told["id"]) == ("echo", "v1", "order-7")
    kept = [json.loads(line) for line in server.call("GET", "/predictions")[1].splitlines()[1:]]
    assert [(each["name"], each["answers"]) for each in kept] == [("order-7", [1.0])]


def test_a_row_below_the_floor_keeps_no_label_and_is_counted(servers: dict[str, Server], client: Client) -> None:
    server = servers["floor"]

    def counted() -> list[int]:
        found = {name: value for name, _, value in scrape.lines(server.metrics()) if name in (ROWS, NOT_SURE)}
        return [int(found[name]) for name in (ROWS, NOT_SURE)]

    before = counted()
    told = client.call(server.calls, "ModelInfer", question("tree", ROWS_ASKED)).told
    labels, sure = told["outputs"]
    assert labels["contents"] == {"int64_contents": ["7", str(LOWEST), "9"]}
    assert (sure["name"], sure["contents"]) == ("sure", {"bool_contents": [True, False, True]})
    assert told["parameters"] == {"floor": {"string_param": "0.8"}, "not_sure": {"int64_param": "1"}}
    assert [now - then for now, then in zip(counted(), before, strict=True)] == [3, 1]
    # Whoever wants the labels alone gets them.
    asked = question("tree", ROWS_ASKED, outputs=[{"name": "output-0"}])
    assert [each["name"] for each in client.call(server.calls, "ModelInfer", asked).told["outputs"]] == ["output-0"]


def test_the_same_question_has_the_same_mark_for_two_versions_and_none_without_an_id(
    servers: dict[str, Server], client: Client
) -> None:
    """A shadow's copies are compared by it."""
    server = servers["floor"]
    asked = question("tree", [[2.0]])
    for _ in range(2):
        client.call(server.calls, "ModelInfer", asked, x_request_id="here")
    client.call(server.calls, "ModelInfer", asked, x_request_id="there")
    client.call(server.calls, "ModelInfer", question("tree", [[0.0]]), x_request_id="here")
    client.call(server.calls, "ModelInfer", asked)
    assert len(server.kept()) == 3


FP64 = ("FP64", "fp64_contents")
REFUSED = {
    "no input": ({"model_name": "echo"}, "the question has no input"),
    "too few": (typed("echo", *FP64, [1, 3], [1.0]), "input 'x' has 1 values, its shape is [1, 3]"),
    "another field": (
        typed("echo", "FP64", "fp32_contents", [1], [1.0]),
        "input 'x' is FP64 and has fp32_contents; allowed: fp64_contents",
    ),
    "no type": (typed("echo", "FP65", "fp64_contents", [1], [1.0]), "input 'x' has the datatype 'FP65'; allowed: BOOL"),
    "no field": (typed("echo", "FP16", "", [1], []), "input 'x' has the datatype 'FP16'; with raw_input_contents"),
    "raw too few": (raw("echo", "FP64", [1, 2], b"12345678"), "input 'x' has 8 raw bytes; FP64 of shape [1, 2] is 16"),
    "raw too many": (raw("echo", "FP64", [1], b"1" * 16), "input 'x' has 16 raw bytes; FP64 of shape [1] is 8"),
    "raw no type": (raw("echo", "TEXT", [1], b"1"), "input 'x' has the datatype 'TEXT'; allowed: BOOL"),
    "raw text": (raw("echo", "BYTES", [1], b"\xff\xff\xff\xffno"), "and a text in them ends behind them"),
    "raw end": (raw("echo", "BYTES", [2], long(b"a") + b"\0"), "and a text in them ends behind them"),
    "no UTF-8": (raw("echo", "BYTES", [1], long(b"\xff")), "input 'x' holds a text that is no UTF-8"),
    "fewer texts": (raw("echo", "BYTES", [2], long(b"a")), "input 'x' has 1 values, its shape is [2]"),
    "no shape": (raw("echo", "FP64", [-1], b"12345678"), "input 'x' has 8 raw bytes"),
    "both": (
        typed("echo", *FP64, [1], [1.0]) | {"raw_input_contents": [base64.b64encode(b"12345678").decode()]},
        "input 'x' has fp64_contents beside raw_input_contents; allowed: one of them",
    ),
    "more raw": (
        raw("echo", "FP64", [1], b"12345678") | {"raw_input_contents": ["MTIzNDU2Nzg="] * 2},
        "1 inputs and 2 raw_input_contents; allowed: as many, or none",
    ),
    "another output": (
        question("echo", [[1.0]], outputs=[{"name": "more"}]),
        "Unexpected inference output 'more' for model 'echo'",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_question_is_an_invalid_argument_with_the_reason(
    servers: dict[str, Server], client: Client, name: str
) -> None:
    asked, why = REFUSED[name]
    said = client.call(servers["echo"].calls, "ModelInfer", asked)
    assert (said.code, why in said.why) == ("INVALID_ARGUMENT", True), said


def test_each_way_to_fail_has_its_status_and_is_counted_as_by_rest(servers: dict[str, Server], client: Client) -> None:
    server = servers["together"]
    before = codes(server)
    one, gone, bad = (client.call(server.calls, "ModelInfer", question(name, [[0.0]])) for name in ("one", "x", "bad"))
    assert one.code == "OK"
    assert gone == Said("NOT_FOUND", "Model with name x does not exist.", {})
    assert (bad.code, bad.why.startswith("Model with name bad is not ready.")) == ("UNAVAILABLE", True)
    assert client.bytes(server.calls, "ModelInfer", b"\xff\xff").code == "INVALID_ARGUMENT"
    version = client.call(server.calls, "ModelInfer", question("one", [[0.0]], model_version="v1"))
    assert (version.code, "the release says which version answers" in version.why) == ("UNIMPLEMENTED", True)
    after = codes(server)
    assert {code: n - before.get(code, 0) for code, n in after.items()} == dict.fromkeys(
        ("200", "400", "404", "501", "503"), 1
    )
    broken = client.call(servers["breaks"].calls, "ModelInfer", question("breaks", [[0.0]]))
    assert (broken.code, broken.why.startswith("AttributeError : ")) == ("INTERNAL", True)
    assert codes(servers["breaks"]) == {"500": 1}
    body = json.dumps({"inputs": [{"name": "x", "shape": [1], "datatype": "FP64", "data": [1.0]}]}).encode()
    status, text = servers["breaks"].call("POST", "/v2/models/breaks/infer", body)
    assert (status, json.loads(text)["error"]) == (500, broken.why)


def test_nobody_unloads_a_model(servers: dict[str, Server], client: Client) -> None:
    """KServe's own service lets whoever asks do it."""
    server = servers["echo"]
    for method in ("RepositoryModelUnload", "RepositoryModelLoad"):
        assert client.bytes(server.calls, method, b"\x0a\x04echo").code == "UNIMPLEMENTED"
    assert client.call(server.calls, "ModelReady", {"name": "echo"}).told == {"ready": True}


def test_what_is_too_large_is_refused_also_if_it_is_small_while_it_travels(
    servers: dict[str, Server], client: Client
) -> None:
    server = servers["echo"]
    large = raw("echo", "UINT8", [LARGEST], bytes(LARGEST))
    for said in (client.call(server.calls, "ModelInfer", large), client.packed(server.calls, "ModelInfer", large)):
        assert (said.code, str(LARGEST) in said.why) == ("RESOURCE_EXHAUSTED", True), said
    fits = raw("echo", "UINT8", [LARGEST - 100], bytes(LARGEST - 100))
    assert client.call(server.calls, "ModelInfer", fits).code == "OK"


def test_it_ends_soon_when_it_is_told_to(tmp_path: Path, client: Client) -> None:
    wanted = {"echo": SERVERS["echo"]}
    with modelserving.started(tmp_path, wanted) as found:
        server = found["echo"]
        assert client.call(server.calls, "ModelInfer", question("echo", [[1.0]])).code == "OK"
        os.kill(int((tmp_path / "echo.pid").read_text()), signal.SIGTERM)
        code, _ = server.ended()
        assert code in (0, -signal.SIGTERM)
        wait_for("no answer", lambda: client.call(server.calls, "ServerLive").code == "UNAVAILABLE" or None, timeout=10)
