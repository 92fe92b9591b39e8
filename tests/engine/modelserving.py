"""The image's own model server with models that a test makes, on loopback: only where a bundle was built."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from components.models.judge import answers
from tests.engine.mirroring import LOG, START_S, alive, forked
from tests.ports import HOST, free_port
from tests.serving import question
from validate.ground.kubectl import wait_for

#: Imported once, then a process for each server: reading KServe takes as long as all the rest. `make` is Python that
#: leaves an estimator as `model` or files by their names as `files`, and what it was trained with as `reference`, and
#: has to be told as `features`, if it likes; "" leaves the folder empty.
SERVERS = """
import json, os, sys
from pathlib import Path
import joblib, numpy
from components.kserve.image.server import serve
at, children = Path(sys.argv[1]), {}
for name, (models, arguments) in json.loads(sys.argv[2]).items():
    for below, make in models.items():
        folder = at / name / below
        folder.mkdir(parents=True)
        space = {"numpy": numpy}
        exec(make, space)
        if "model" in space:
            joblib.dump(space["model"], folder / "model.joblib")
        for file, content in space.get("files", {}).items():
            (folder / file).write_bytes(content)
        if "reference" in space:
            (folder / "reference.json").write_text(json.dumps(space["reference"]))
        if "features" in space:
            (folder / "features.json").write_text(json.dumps(space["features"]))
    child = os.fork()
    if child == 0:
        log = os.open(at / f"{name}.log", os.O_WRONLY | os.O_CREAT)
        os.dup2(log, 1), os.dup2(log, 2)
        sys.argv = ["serve.py", f"--model_dir={at / name}", *arguments]
        code = None
        try:
            serve.main()
        except SystemExit as end:
            code = end.code
        if isinstance(code, str):
            print(code, file=sys.stderr)
        sys.stderr.flush()
        # As Python ends, without taking all modules apart first: on a busy machine that takes minutes.
        os._exit(1 if isinstance(code, str) else code or 0)
    children[child] = name
    (at / f"{name}.pid").write_text(str(child))
while children:
    child, status = os.wait()
    (at / f"{children.pop(child)}.code").write_text(str(os.waitstatus_to_exitcode(status)))
"""


@dataclass(frozen=True)
class Wanted:
    """One server: its models by their folder below its own ("": its own), and arguments."""

    models: Mapping[str, str]
    arguments: Sequence[str]


@dataclass(frozen=True)
class Server:
    """One server, or what is left of it."""

    name: str
    place: Path
    port: int
    calls: int  # its port of gRPC

    def call(self, method: str, path: str, body: bytes | None = None, **head: str) -> tuple[int, str]:
        """Status and text."""
        line = http.client.HTTPConnection(HOST, self.port, timeout=60)
        try:
            line.request(method, path, body, {"Content-Type": "application/json", **head})
            answer = line.getresponse()
            return answer.status, answer.read().decode()
        finally:
            line.close()

    def ask(self, model: str, rows: list[list[float]], mark: str = "", **more: Any) -> dict[str, Any]:
        """One question by the protocol's version 2; `mark`: under this id."""
        body = json.dumps(json.loads(question(rows)) | more).encode()
        head = {"x-request-id": mark} if mark else {}
        status, text = self.call("POST", f"/v2/models/{model}/infer", body, **head)
        assert status == http.client.OK, text
        found: dict[str, Any] = json.loads(text)
        return found

    def kept(self) -> dict[str, str]:
        """All that it keeps of its answers, by their questions' marks."""
        began = self.call("GET", answers.PATH)[1].partition(".")[0]
        return answers.read(self.call("GET", f"{answers.PATH}?since={began}.0")[1])[1]

    def metrics(self) -> str:
        """As Prometheus reads them."""
        return self.call("GET", "/metrics")[1]

    def ended(self) -> tuple[int, str]:
        """Exit code and the last line that it wrote, once it is gone."""
        code = self.place / f"{self.name}.code"
        told = wait_for(f"the end of {self.name}", lambda: _text(code), timeout=START_S)
        return int(told), (self.place / f"{self.name}.log").read_text().strip().splitlines()[-1]


@contextmanager
def started(place: Path, wanted: Mapping[str, Wanted], fails: Sequence[str] = ()) -> Iterator[dict[str, Server]]:
    """Servers by their names, live but for those that fail."""
    found = {name: Server(name, place, free_port(), free_port()) for name in wanted}
    ports = {name: [f"--http_port={each.port}", f"--grpc_port={each.calls}"] for name, each in found.items()}
    told = {name: (dict(each.models), [*ports[name], *each.arguments]) for name, each in wanted.items()}
    with forked(place, SERVERS, told) as running:
        for name in wanted.keys() - set(fails):
            look = alive(running, place / LOG, partial(_lives, found[name]))
            wait_for(f"server {name}", look, timeout=START_S, swallow=(OSError,))
        yield found


def _lives(server: Server) -> bool | None:
    return server.call("GET", "/v2/health/live")[0] == http.client.OK or None


def _text(file: Path) -> str | None:
    return file.read_text() or None if file.exists() else None
