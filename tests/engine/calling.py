"""A client of the Open Inference Protocol by gRPC: gRPC's own library, made from the file that clients are given."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.engine import mirroring
from tests.unit.test_models_wish import PLACE
from validate.ground.site import REPOSITORY

PROTO = REPOSITORY / "components" / "kserve" / "inference.proto"

#: A line of JSON for each set of calls, and one of answers. Messages are protobuf's own JSON.
CLIENT = """
import importlib, json, sys
from concurrent.futures import ThreadPoolExecutor
import grpc
from google.protobuf import json_format
from grpc_tools import protoc
out = sys.argv[1]
from pathlib import Path
proto = Path(sys.argv[2])
told = ["", f"-I{proto.parent}", f"--python_out={out}", f"--grpc_python_out={out}", f"--descriptor_set_out={out}/set"]
assert protoc.main([*told, proto.name]) == 0
sys.path.insert(0, out)
messages, services = importlib.import_module("inference_pb2"), importlib.import_module("inference_pb2_grpc")
channels = {}
host, *trusted = sys.argv[3:]
def channel(port):
    told = {"max_send_message_length": -1, "max_receive_message_length": -1, "default_authority": host}
    options = [(f"grpc.{name}", value) for name, value in told.items()]
    if not trusted:
        return grpc.insecure_channel(f"127.0.0.1:{port}", options=options)
    known = grpc.ssl_channel_credentials(Path(trusted[0]).read_bytes())
    return grpc.secure_channel(port, known, options=[*options, ("grpc.ssl_target_name_override", host)])
def called(port, method, message, metadata, seconds, gzip, raw):
    if raw is None:
        stub = getattr(services.GRPCInferenceServiceStub(channels[port]), method)
        asked = json_format.ParseDict(message, getattr(messages, f"{method}Request")())
    else:
        stub = channels[port].unary_unary(f"/inference.GRPCInferenceService/{method}")
        asked = bytes.fromhex(raw)
    how = {"compression": grpc.Compression.Gzip} if gzip else {}
    try:
        found = stub(asked, metadata=[tuple(each) for each in metadata], timeout=seconds, **how)
    except grpc.RpcError as error:
        return error.code().name, error.details(), {}
    said = {} if raw is not None else json_format.MessageToDict(found, preserving_proto_field_name=True)
    return "OK", "", said
print(json.dumps("ready"), flush=True)
with ThreadPoolExecutor(4) as pool:
    for line in sys.stdin:
        calls = json.loads(line)
        for port in {each["port"] for each in calls} - channels.keys():
            channels[port] = channel(port)
        print(json.dumps(list(pool.map(lambda each: called(**each), calls))), flush=True)
"""


@dataclass(frozen=True)
class Said:
    """One answer: the status' name, its reason, and the message as protobuf's JSON."""

    code: str
    why: str
    told: dict[str, Any]


class Client:
    """A process that calls."""

    def __init__(self, process: subprocess.Popen[str], folder: Path, log: Path) -> None:
        self._process, self.folder, self._log = process, folder, log

    def read(self) -> Any:
        """What it says next."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, self._log.read_text()[-800:]
        return json.loads(line)

    def all(
        self,
        port: int | str,
        method: str,
        messages: Sequence[Mapping[str, Any]],
        metadata: Mapping[str, str] | None = None,
    ) -> list[Said]:
        """Calls, four at a time over one connection."""
        head = list((metadata or {}).items())
        return self._asked([_call(port, method, each, head) for each in messages])

    def call(self, port: int | str, method: str, message: Mapping[str, Any] | None = None, **metadata: str) -> Said:
        """One call."""
        return self.all(port, method, [message or {}], {k.replace("_", "-"): v for k, v in metadata.items()})[0]

    def bytes(self, port: int | str, method: str, body: bytes) -> Said:
        """One call with these bytes in place of a message."""
        return self._asked([_call(port, method, {}, [], raw=body.hex())])[0]

    def packed(self, port: int | str, method: str, message: Mapping[str, Any]) -> Said:
        """One call whose message is compressed."""
        return self._asked([_call(port, method, message, [], gzip=True)])[0]

    def _asked(self, calls: list[dict[str, Any]]) -> list[Said]:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(calls) + "\n")
        self._process.stdin.flush()
        return [Said(*each) for each in self.read()]


def _call(
    port: int | str,
    method: str,
    message: Mapping[str, Any],
    metadata: Sequence[object],
    *,
    gzip: bool = False,
    raw: Any = None,
) -> dict[str, Any]:
    told = {"port": port, "method": method, "message": message, "metadata": metadata}
    return {**told, "seconds": 30, "gzip": gzip, "raw": raw}


@contextmanager
def client(folder: Path, host: str = PLACE.host, trusted: Path | None = None) -> Iterator[Client]:
    """`folder`: an empty one, for what is made of the protocol's file. `host`: what is asked for. With `trusted`, a
    file of authorities, it speaks TLS, and is told `address:port` in place of a port of this machine."""
    command, variables = mirroring.python()
    log = folder / "client.log"
    with log.open("w") as errors:
        process = subprocess.Popen(
            [*command, "-c", CLIENT, str(folder), str(PROTO), host, *([str(trusted)] if trusted else [])],
            env=variables,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    try:
        found = Client(process, folder, log)
        assert found.read() == "ready"
        yield found
    finally:
        process.kill()
        process.wait()


def question(model: str, rows: Sequence[Sequence[float]], **more: Any) -> dict[str, Any]:
    """A ModelInferRequest with numbers."""
    data = [value for row in rows for value in row]
    tensor = {"name": "x", "datatype": "FP64", "shape": [len(rows), len(rows[0])], "contents": {"fp64_contents": data}}
    return {"model_name": model, "inputs": [tensor], **more}
