"""The gateway's own controller and Envoy before models that break, on loopback: only where a bundle was built.

The controller reads its objects from a file, says what Envoy is to do, and is killed before anything breaks.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import gettempdir
from typing import Any

import pytest
from filelock import FileLock

from components.gateway.controller import CONTROLLER
from components.kit.webs import ENVOY_API, GATEWAY, GATEWAY_API
from components.models.keeper.objects import ENVOY, GRPC, REST, WAYS, Manifest
from tests.engine import mirroring
from tests.engine.built import built
from tests.ports import HOST, free_port
from tests.unit.test_models_wish import PLACE
from validate.ground.kubectl import wait_for

XDS_PORT = 18000  # the controller's own, whatever it is told
ONE = Path(gettempdir()) / "apadana-gateway-controller.lock"  # so tests beside each other take turns
ASKED = f"POST /v2/models/iris/infer HTTP/1.1\r\nHost: {PLACE.host}\r\nConnection: close\r\nContent-Length: "
POLICIES = ("BackendTrafficPolicy", "SecurityPolicy")
VERSION = "1.40.0"  # a name: what lies there notes what it is started with

#: Told by POST /mode: of every so many questions one is answered with this status, after so many seconds.
MODEL = """
import json, sys, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
mode, asked = {"every": 1, "status": 200, "wait": 0}, 0
class Server(ThreadingHTTPServer):
    request_queue_size = 256
    daemon_threads = True
    def handle_error(self, *told): pass
class Model(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    def do_POST(self):
        global mode, asked
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/mode":
            mode = json.loads(body)
            return self.say(200)
        asked += 1
        wrong = asked % mode["every"] == 0
        time.sleep(mode["wait"] if wrong else 0)
        self.say(mode["status"] if wrong else 200, len(body))
    def say(self, status, size=0):
        body = json.dumps({"model_version": sys.argv[2], "size": size}).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *told): pass
Server(("127.0.0.1", int(sys.argv[1])), Model).serve_forever()
"""


@dataclass
class Model:
    """One pod of a version."""

    version: str
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.process = subprocess.Popen([sys.executable, "-c", MODEL, str(self.port), self.version])
        wait_for(f"the model {self.version}", self.answers, timeout=60, every=0.1, swallow=(OSError,))

    def answers(self) -> bool:
        self.say()
        return True

    def say(self, every: int = 1, status: int = 200, wait: float = 0) -> None:
        """From now on."""
        line = http.client.HTTPConnection(HOST, self.port, timeout=10)
        line.request("POST", "/mode", json.dumps({"every": every, "status": status, "wait": wait}))
        line.getresponse().read()
        line.close()

    def send(self, number: signal.Signals) -> None:
        assert self.process
        self.process.send_signal(number)

    def stop(self) -> None:
        if self.process:
            self.process.kill()
            self.process.wait()


@dataclass(frozen=True)
class Answer:
    """To one question; `asked` and `came`: seconds since the first was due."""

    asked: float
    came: float
    status: int
    version: str
    size: int

    @property
    def took(self) -> float:
        return self.came - self.asked


@dataclass
class Asking:
    """Open-loop: a question is due whether or not the others were answered, and its time begins then."""

    port: int
    rate: int
    body: bytes = b"{}"
    patience: float = 10  # seconds that one waits for its answer
    answers: list[Answer] = field(default_factory=list)
    late: float = 0.0  # how long after its time a question was sent, at most

    def run(self, seconds: float, events: Mapping[float, Callable[[], object]]) -> list[Answer]:
        """`events`: what happens so many seconds after the beginning."""
        asyncio.run(self._all(seconds, events))
        return sorted(self.answers, key=lambda each: each.asked)

    async def _all(self, seconds: float, events: Mapping[float, Callable[[], object]]) -> None:
        began = time.monotonic()

        async def happens(at: float, what: Callable[[], object]) -> None:
            await asyncio.sleep(at)
            await asyncio.to_thread(what)

        async with asyncio.TaskGroup() as group:
            for at, what in events.items():
                group.create_task(happens(at, what))
            for number in range(int(self.rate * seconds)):
                due = number / self.rate
                await asyncio.sleep(max(0.0, began + due - time.monotonic()))
                self.late = max(self.late, time.monotonic() - began - due)
                group.create_task(self._one(due, began))

    async def _one(self, due: float, began: float) -> None:
        said = b""
        with suppress(OSError, TimeoutError):
            reader, writer = await asyncio.open_connection(HOST, self.port)
            writer.write(f"{ASKED}{len(self.body)}\r\n\r\n".encode() + self.body)
            said = await asyncio.wait_for(reader.read(), self.patience)
            writer.close()
        status = int(said.split()[1]) if said else 0
        found = re.search(rb'"model_version": "(\w+)", "size": (\d+)', said)
        version, size = (found[1].decode(), int(found[2])) if found else ("", 0)
        self.answers.append(Answer(due, time.monotonic() - began, status, version, size))


def names(
    port: int, objects: Sequence[Manifest], pods: Mapping[str, Sequence[int]], calls: Mapping[str, Sequence[int]]
) -> list[Manifest]:
    """What the controller reads. By files it knows neither Services nor labels: `pods`, the ports behind the name of
    each Service, become a Backend of that name, `calls`, those of gRPC, one more, and policies name their routes."""
    routes = [each for each in objects if each["kind"] == "HTTPRoute"]
    for rule in (rule for route in routes for rule in route["spec"]["rules"]):
        copied = [each["requestMirror"]["backendRef"] for each in rule["filters"] if "requestMirror" in each]
        for ref in (*rule["backendRefs"], *copied):
            _name(ref)
    for each in objects:
        for chosen in each["spec"].pop("targetSelectors", ()):
            named = [route["metadata"]["name"] for route in routes if _is_chosen(route, chosen)]
            each["spec"]["targetRefs"] = [{"group": GATEWAY_API, "kind": "HTTPRoute", "name": name} for name in named]
    form = {"group": ENVOY, "kind": "EnvoyProxy", "name": GATEWAY, "namespace": PLACE.platform}
    listener = {"name": "https", "port": port, "protocol": "HTTP", "allowedRoutes": {"namespaces": {"from": "Same"}}}
    host = {"concurrency": 1, "provider": {"type": "Host", "host": {"envoyVersion": VERSION}}}
    made = [
        ("v1", "Namespace", PLACE.platform, {}),
        (f"{GATEWAY_API}/v1", "GatewayClass", GATEWAY, {"controllerName": CONTROLLER, "parametersRef": form}),
        (f"{GATEWAY_API}/v1", "Gateway", GATEWAY, {"gatewayClassName": GATEWAY, "listeners": [listener]}),
        (ENVOY_API, "EnvoyProxy", GATEWAY, host),
    ]
    for way, behind in ((REST, pods), (GRPC, calls)):
        more = {"appProtocols": list(way.protocols)} if way.protocols else {}
        for name, ports in behind.items():
            ends = [{"ip": {"address": HOST, "port": each}} for each in ports]
            made.append((ENVOY_API, "Backend", name + way.suffix, {"endpoints": ends, **more}))
    told = [
        {"apiVersion": api, "kind": kind, "metadata": {"name": name, "namespace": PLACE.platform}, "spec": spec}
        for api, kind, name, spec in made
    ]
    return [*told, *(each for each in objects if each["kind"] not in POLICIES or each["spec"]["targetRefs"])]


def _name(ref: dict[str, Any]) -> None:
    """What is a Service's becomes a Backend's."""
    if ref.pop("namespace", ""):
        way = next(way for way in WAYS if way.port == ref["port"])
        ref |= {"group": ENVOY, "kind": "Backend", "name": ref["name"] + way.suffix}
        del ref["port"]


def _is_chosen(route: Manifest, chosen: Mapping[str, Any]) -> bool:
    marks = route["metadata"]["labels"]
    asked = [(marks.get(each["key"]) in each["values"]) == (each["operator"] == "In") for each in _more(chosen)]
    return chosen["matchLabels"].items() <= marks.items() and all(asked)


def _more(chosen: Mapping[str, Any]) -> list[dict[str, Any]]:
    return list(chosen.get("matchExpressions", ()))


def arguments(folder: Path, objects: Sequence[Manifest], stack: ExitStack) -> list[str]:
    """What the controller starts its Envoy with; it goes on, and answers Envoy, until `stack` ends."""
    program = str(built("bin/*/envoy-gateway"))
    started, read = folder / "data" / "envoy-versions" / VERSION / "bin" / "envoy", folder / "objects"
    for each in (started.parent, read):
        each.mkdir(parents=True)
    noted = folder / "arguments"
    started.write_text(f'#!/bin/sh\nprintf "%s\\0" "$@" >{noted}.new && mv {noted}.new {noted}\nexec sleep 3600\n')
    started.chmod(0o755)
    write(folder, objects)
    homes = {f"{home}Home": str(folder / home) for home in ("config", "data", "state")}
    settings = {
        "apiVersion": ENVOY_API,
        "kind": "EnvoyGateway",
        "gateway": {"controllerName": CONTROLLER},
        "provider": {
            "type": "Custom",
            "custom": {
                "resource": {"type": "File", "file": {"paths": [str(read)]}},
                "infrastructure": {"type": "Host", "host": {**homes, "runtimeDir": str(folder / "run")}},
            },
        },
        "extensionApis": {"enableBackend": True},
    }
    (folder / "controller.json").write_text(json.dumps(settings))
    certificates = [program, "certgen", "--local", "--config-home", homes["configHome"]]
    subprocess.run(certificates, check=True, capture_output=True, timeout=60)
    stack.enter_context(FileLock(ONE, timeout=900))  # one that lives on has it for minutes
    free()
    log = stack.enter_context((folder / "controller.log").open("wb"))
    command = [program, "server", "--config-path", str(folder / "controller.json")]
    controller = subprocess.Popen(command, stdout=log, stderr=log)
    stack.callback(controller.wait)
    stack.callback(controller.kill)
    look = mirroring.alive(controller, folder / "controller.log", lambda: noted.is_file() or None)
    wait_for("the controller", look, timeout=120, every=0.1)
    return noted.read_text().split("\0")[:-1]


def write(folder: Path, objects: Sequence[Manifest]) -> None:
    """What the controller reads, and reads again when it changes."""
    fresh = folder / "fresh.yaml"
    fresh.write_text("\n---\n".join(json.dumps(each) for each in objects))
    fresh.rename(folder / "objects" / "all.yaml")


@contextmanager
def gateway(
    folder: Path,
    objects: Sequence[Manifest],
    pods: Mapping[str, Sequence[int]],
    calls: Mapping[str, Sequence[int]] | None = None,
) -> Iterator[int]:
    """Envoy as the controller made it, and no controller any more. Its port; the one of its own pages lies in the file
    `admin`."""
    port = free_port()
    with running(folder, port, names(port, objects, pods, calls or {})) as stack:
        stack.close()  # the controller is dead
        yield port


@contextmanager
def running(folder: Path, port: int, objects: Sequence[Manifest]) -> Iterator[ExitStack]:
    """Envoy with its route at that port, and its controller, which ends with what is given."""
    admin = folder / "admin"
    program = mirroring.envoy()
    with (folder / "envoy.log").open("wb") as log, ExitStack() as stack:
        told = arguments(folder, objects, stack)
        told = told[: told.index("--")]  # what follows is for who starts it
        told[told.index("--admin-address-path") + 1] = str(admin)
        envoy = subprocess.Popen([program, *told, "--use-dynamic-base-id"], stdout=log, stderr=log)
        try:
            look = mirroring.alive(envoy, folder / "envoy.log", lambda: asked(port) or None)
            wait_for("Envoy with its route", look, timeout=120, every=0.2, swallow=(OSError,))
            yield stack
        finally:
            envoy.kill()
            envoy.wait()


def asked(port: int) -> bool:
    """Whether a question is answered, or a token asked for."""
    line = http.client.HTTPConnection(HOST, port, timeout=5)
    try:
        line.request("POST", "/v2/models/iris/infer", "{}", {"Host": PLACE.host})
        return line.getresponse().status in (http.client.OK, http.client.UNAUTHORIZED)
    finally:
        line.close()


def free(port: int = XDS_PORT) -> None:
    """The controller's port can't be chosen; where somebody else has it the test is skipped."""
    with suppress(OSError):
        http.client.HTTPConnection(HOST, port, timeout=1).connect()
        pytest.skip(f"port {port} is in use: another controller of gateways runs on this machine")
