"""A release that sleeps, on loopback: a real API server, two keepers as their pods run them, the gateway's controller
and its Envoy. What KServe, Kubernetes' controllers and hosts would do with a Deployment is done here.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from components.kit import pki
from components.kit.manifests import manifest
from components.kit.webs import ENVOY_API
from components.models import settings as models
from components.models.judge import looking
from components.models.judge.counters import ANSWERS
from components.models.keeper import kubernetes, objects, sleep
from components.models.keeper.sleep import Stage
from components.models.keeper.wish import LABEL, STATE, WISH
from tests.engine import falling
from tests.ports import HOST, free_port
from tests.rendered.apiserver import ApiServer
from tests.unit.test_models_settings import SETTINGS, site
from tests.unit.test_models_wish import DIGESTS, PLACE, STABLE
from validate.ground.kubectl import wait_for

SLEEPS = replace(STABLE, quiet=600)
VERSION = "iris-1111111111"
SERVICE = objects.predictor(VERSION)
HOLDERS = "models"
#: Of each holder. A pod that is asked for is there after so many seconds, as this test's host has it.
LIMITS = {"questions": 100, "mib": 8, "seconds": 40, "answer_seconds": 20, "largest_mib": 4}
STARTS_S, WAIT_S = 3.0, 90
HELD = replace(PLACE, holder=HOLDERS, holder_port=8444, held_seconds=40, seconds=20)

#: The keeper's pod: arguments are its account's folder and its name.
KEEPER = """
import socket, sys
from pathlib import Path
from components.models.keeper import __main__ as main
from components.models.keeper import kubernetes
kubernetes.ACCOUNT = Path(sys.argv[1])
socket.gethostname = lambda: sys.argv[2]
main.main()
"""

#: A model's pod: its port. It counts what it answers.
POD = r"""
import json, sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
answered = 0
class Server(ThreadingHTTPServer):
    request_queue_size = 512
    daemon_threads = True
    def handle_error(self, *told): pass
class Pod(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    def do_GET(self):
        page = "%s{code=\"200\",model=\"iris\"} %d\n" % (sys.argv[2], answered)
        self.say(page.encode() if self.path == "/metrics" else b"{}")
    def do_POST(self):
        global answered
        body = self.rfile.read(int(self.headers["Content-Length"]))
        answered += 1
        self.say(json.dumps({"model_version": "iris", "size": len(body)}).encode())
    def say(self, body):
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *told): pass
Server(("0.0.0.0", int(sys.argv[1])), Pod).serve_forever()
"""


@dataclass
class Keeper:
    """One of two."""

    name: str
    folder: Path  # what its pod mounts
    account: Path
    api: int
    port: int = field(default_factory=free_port)
    holds: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        told = {"APADANA_MOUNTS": str(self.folder), "PORT": str(self.port), "HOLD_PORT": str(self.holds)}
        told |= {"KUBERNETES_SERVICE_HOST": HOST, "KUBERNETES_SERVICE_PORT": str(self.api)}
        with (self.folder / f"{self.name}.log").open("ab") as log:
            command = [sys.executable, "-c", KEEPER, str(self.account), self.name]
            self.process = subprocess.Popen(command, env=os.environ | told, stdout=log, stderr=log)
        wait_for(f"keeper {self.name}", lambda: self.numbers() is not None, timeout=WAIT_S, swallow=(OSError,))

    def numbers(self) -> dict[str, float]:
        """What it counts, by name and labels."""
        context = ssl.create_default_context(cafile=str(self.folder / "tls" / "ca.crt"))
        line = http.client.HTTPSConnection("localhost", self.port, timeout=10, context=context)
        line.request("GET", "/metrics")
        text = line.getresponse().read().decode()
        line.close()
        return {m[1]: float(m[2]) for m in re.finditer(r"^([^# ]\S*) (\S+)$", text, re.MULTILINE)}

    def holding(self) -> float:
        return self.numbers().get('apadana_models_held{release="iris"}', 0.0)

    def leads(self) -> bool:
        return self.numbers()["apadana_models_leads"] == 1

    def end(self, number: signal.Signals = signal.SIGKILL) -> None:
        if self.process:
            self.process.send_signal(number)
            self.process.wait(WAIT_S)
            self.process = None


@dataclass
class Hosts:
    """What makes pods of a Deployment: two, each a process and a line in an EndpointSlice."""

    server: ApiServer
    address: str
    ports: tuple[int, int]
    starts: float = STARTS_S
    broken: bool = False  # no pod comes up
    pods: list[subprocess.Popen[bytes]] = field(default_factory=list)
    ends: threading.Event = field(default_factory=threading.Event)
    due: float | None = None

    def run(self) -> None:
        while not self.ends.wait(0.1):
            self.look(self.wanted())
        self.look(0)

    def wanted(self) -> int:
        status, answer = called(self.server, "GET", kubernetes.place("Deployment", PLACE.work, SERVICE))
        return int(json.loads(answer)["spec"]["replicas"]) if status == http.client.OK else 0

    def look(self, wanted: int) -> None:
        if not wanted:
            self.due = None
            self.down()
        elif not self.pods and not self.broken:
            self.due = time.monotonic() + self.starts if self.due is None else self.due
            if time.monotonic() >= self.due:
                self.up()

    def up(self) -> None:
        command = [sys.executable, "-c", POD]
        self.pods = [subprocess.Popen([*command, str(port), ANSWERS]) for port in self.ports]
        for port in self.ports:
            wait_for("a pod", lambda port=port: _there(port), timeout=WAIT_S, every=0.05)  # type: ignore[misc]
            self.slice(port, ready=True)

    def down(self) -> None:
        """As a pod goes: first nobody is led there, then what it was asked is answered, then it ends."""
        for port in self.ports if self.pods else ():
            self.slice(port, ready=False)
        if self.pods:
            self.ends.wait(1.0)
        for pod in self.pods:
            pod.kill()
            pod.wait()
        self.pods = []

    def slice(self, port: int, *, ready: bool) -> None:
        target = {"kind": "Pod", "name": f"{VERSION}-{port}", "namespace": PLACE.work}
        end = {"addresses": [self.address], "conditions": {"ready": ready}, "targetRef": target}
        told = {"addressType": "IPv4", "endpoints": [end], "ports": [{"name": "", "port": port}]}
        name = f"{VERSION}-{port}"
        marks = {looking.SERVICE: SERVICE}
        place = kubernetes.place("EndpointSlice", PLACE.work, name)
        if called(self.server, "PATCH", place, {"endpoints": [end]})[0] == http.client.NOT_FOUND:
            made = manifest("discovery.k8s.io/v1", "EndpointSlice", name, namespace=PLACE.work, marks=marks, **told)
            self.server.make(made)


def called(server: ApiServer, verb: str, path: str, body: object = None) -> tuple[int, Any]:
    """As the admin. A busy machine's API server may take longer than one call has."""
    asked = partial(server.call, verb, path, body)
    return wait_for(f"{verb} {path}", asked, timeout=WAIT_S, swallow=(OSError,))


def _there(port: int) -> bool | None:
    with suppress(OSError):
        line = http.client.HTTPConnection(HOST, port, timeout=1)
        line.request("GET", "/v2/health/ready")
        return line.getresponse().status == http.client.OK or None
    return None


@dataclass
class World:
    """All of it."""

    server: ApiServer
    folder: Path
    hosts: Hosts
    keepers: tuple[Keeper, Keeper]
    port: int = field(default_factory=free_port)
    ends: threading.Event = field(default_factory=threading.Event)
    seen: str = ""

    def stands(self) -> None:
        """What KServe would have made of the wish, and what a keeper told of it: it answers."""
        state = {
            "versions": {STABLE.stable: {"digest": DIGESTS[STABLE.stable], "form": "sklearn"}},
            "ready": ["1" * 10],
        }
        marks, data = {LABEL: "iris"}, {WISH: SLEEPS.text(), STATE: json.dumps(state)}
        self.server.make(manifest("v1", "ConfigMap", "release-iris", namespace=PLACE.work, marks=marks, data=data))
        container = {"name": "kserve-container", "image": "none"}
        pods = {"app": SERVICE}
        template = {"metadata": {"labels": pods}, "spec": {"containers": [container]}}
        spec = {"replicas": 2, "selector": {"matchLabels": pods}, "template": template}
        self.server.make(manifest("apps/v1", "Deployment", SERVICE, namespace=PLACE.work, spec=spec))

    def get(self, kind: str, namespace: str, name: str) -> dict[str, Any]:
        status, answer = called(self.server, "GET", kubernetes.place(kind, namespace, name))
        return dict(json.loads(answer)) if status == http.client.OK else {}

    def route(self) -> dict[str, Any]:
        return self.get("HTTPRoute", PLACE.platform, "model-iris")

    def state(self) -> dict[str, Any]:
        item = self.get("ConfigMap", PLACE.work, "release-iris")
        return dict(json.loads(item["data"].get(STATE, "{}")))

    def asked(self) -> bool:
        """Whether a question ends this sleep, which its leader may not have seen yet."""
        item = self.get("ConfigMap", PLACE.work, "release-iris")
        return sleep.asked(item)[0] == sleep.stored(self.state()).number > 0

    def stage(self) -> Stage:
        return sleep.stored(self.state()).stage

    def until(self, stage: Stage, seconds: float = WAIT_S) -> None:
        wait_for(f"a release that is {stage}", lambda: self.stage() is stage or None, timeout=seconds, every=0.2)

    def leave(self) -> None:
        """The next sleep begins at once: as the leader writes it after so long without a question."""

        def left() -> bool | None:
            before = self.state()
            now = sleep.stored(before)
            # A keeper in the middle of a round writes what it knew before: then once more.
            if now.stage is Stage.AWAKE:
                after = replace(now, stage=Stage.LEAVING, number=now.number + 1, since=time.time())
                part = {"data": {STATE: json.dumps(before | {"sleep": after.plain()})}}
                called(self.server, "PATCH", kubernetes.place("ConfigMap", PLACE.work, "release-iris"), part)
            return self.route()["metadata"]["labels"][objects.ASLEEP] == objects.YES or None

        wait_for("its route to leave the pods", left, timeout=WAIT_S, every=1.0)

    def asleep(self) -> None:
        """It is, and Envoy knows it."""
        if self.asked() or self.stage() is not Stage.ASLEEP:
            self.until(Stage.AWAKE)  # what the last test woke; a new leader takes its time
            self.leave()
            self.until(Stage.ASLEEP)
        wait_for("no pods", lambda: not self.hosts.pods or None, timeout=WAIT_S)
        wait_for("Envoy at the holders", self.led, timeout=WAIT_S, swallow=(OSError,))

    def led(self) -> bool | None:
        """Whether Envoy leads to the holders: they say so to who looks."""
        line = http.client.HTTPConnection(HOST, self.port, timeout=5)
        line.request("GET", "/v2/models/iris/ready", headers={"Host": PLACE.host})
        answer = line.getresponse()
        return (answer.status == http.client.OK and b"asleep" in answer.read()) or None

    def follow(self) -> None:
        """The gateway's controller sees what the keepers write."""
        while not self.ends.wait(0.1):
            route = self.route()
            if route and (mark := json.dumps(route["spec"]) + json.dumps(route["metadata"]["labels"])) != self.seen:
                self.seen = mark
                falling.write(self.folder, self.read(route))

    def read(self, route: dict[str, Any]) -> list[objects.Manifest]:
        """What the gateway's controller is given of it."""
        told = {"name": route["metadata"]["name"], "namespace": PLACE.platform, "labels": route["metadata"]["labels"]}
        spec = {key: route["spec"][key] for key in ("parentRefs", "hostnames", "rules")}
        clean = {"apiVersion": route["apiVersion"], "kind": "HTTPRoute", "metadata": told, "spec": spec}
        for ref in [ref for rule in spec["rules"] for ref in rule["backendRefs"] if ref["name"] == HOLDERS]:
            ref |= {"group": objects.ENVOY, "kind": "Backend"}
            del ref["port"]
        pods = {SERVICE: self.hosts.ports}
        found = falling.names(self.port, [clean, *policies(self.hosts.ports[0])], pods, pods)
        ends = [{"ip": {"address": HOST, "port": keeper.holds}} for keeper in self.keepers]
        trusted = [{"group": "", "kind": "ConfigMap", "name": "site-ca"}]
        held = {"endpoints": ends, "tls": {"caCertificateRefs": trusted, "sni": "localhost"}}
        ca = {"ca.crt": (self.folder / "keeper" / "tls" / "ca.crt").read_text()}
        return [
            *found,
            manifest(ENVOY_API, "Backend", HOLDERS, namespace=PLACE.platform, spec=held),
            manifest("v1", "ConfigMap", "site-ca", namespace=PLACE.platform, data=ca),
        ]

    def ask(self, seconds: float, rate: int, events: dict[float, Callable[[], object]] | None = None) -> list[Any]:
        """Questions at a rate; each waits as long as a client of such a release should."""
        return falling.Asking(self.port, rate, patience=WAIT_S).run(seconds, events or {})


def policies(pod: int) -> list[objects.Manifest]:
    """Of all routes of releases. `pod`: the port by which the pods' health is asked."""
    found = [each for each in models.way(SETTINGS, site()) if each["kind"] == "BackendTrafficPolicy"]
    for check in [each["spec"]["healthCheck"].get("active", {}) for each in found]:
        if "overrides" in check:
            check["overrides"]["port"] = pod
    return found


def mounts(folder: Path) -> Path:
    """What both pods of keepers mount."""
    made = folder / "keeper"
    (made / "tls").mkdir(parents=True)
    pki.ensure_ca(folder / "pki", "lab")
    for name, text in pki.ensure_leaf(folder / "pki", "holder", ["localhost"]).secret_data().items():
        (made / "tls" / name).write_text(text)
    told = {"site": "lab", "lease": "models", "place": asdict(HELD), "registry": [], "store": {}, "holding": LIMITS}
    told["copies"] = {"days": None, "back": 1, "obsolete_days": None}  # there is no bucket
    (made / "keeper.json").write_text(json.dumps(told))
    return made


@contextmanager
def world(server: ApiServer, account: Path, folder: Path, address: str) -> Iterator[World]:
    """An answer has come through Envoy when it is given."""
    mounted = mounts(folder)
    one, two = (Keeper(name, mounted, account, server.port) for name in ("one", "two"))
    found = World(server, folder, Hosts(server, address, (free_port(), free_port())), (one, two))
    found.stands()
    with ExitStack() as stack:
        stack.enter_context(meanwhile(found.hosts.run, found.hosts.ends))
        for keeper in found.keepers:
            stack.callback(keeper.end)
            keeper.start()
        route = wait_for("the route", lambda: found.route() or None, timeout=WAIT_S)
        stack.enter_context(falling.running(folder, found.port, found.read(route)))
        stack.enter_context(meanwhile(found.follow, found.ends))
        yield found


@contextmanager
def meanwhile(what: Callable[[], None], ends: threading.Event) -> Iterator[None]:
    """In a thread, until it is told to end."""
    thread = threading.Thread(target=what, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ends.set()
        thread.join()
