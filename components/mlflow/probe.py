"""MLflow as a client sees it. Runs in the clients image: standard library only."""

from __future__ import annotations

import hashlib
import http.client
import json
import re
import socket
import ssl
import time
import uuid
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

from components.kit.probing import Check, Held, Target, Writer, attempt

API = "/api/2.0/mlflow/"
ARTEFACTS = "/api/2.0/mlflow-artifacts/artifacts"
JSON = "application/json"
SCHEME = "mlflow-artifacts:/"
#: Deleted experiments keep their names, so the probe has one that stays.
EXPERIMENT = "apadana-probe"
AUDIT, SMOKE = "audit", "smoke"  # tags of its runs

T = TypeVar("T")
Json = dict[str, Any]
Place = tuple[str, int, str]  # address, port, name
Found = tuple[bool, str, Mapping[str, object]]


class RefusedError(Exception):
    """The server answered, and it was no."""

    def __init__(self, status: int, content: bytes) -> None:
        super().__init__(f"{status} {content[:200].decode(errors='replace')}")
        found = re.search(rb'"error_code": ?"(\w+)"', content)
        self.code = found[1].decode() if found else ""


def given(target: Target, group: str, key: str, default: float) -> float:
    """A number of the contract's `client`."""
    found = target.client.get(group)
    return float(found.get(key, default)) if isinstance(found, Mapping) else default


class Api:
    """One connection to one replica; after an error the next call opens another."""

    def __init__(self, target: Target, place: Place) -> None:
        self._place = address, port, host = place
        self.name = f"{address}:{port}"
        self._connect_seconds = given(target, "timeouts", "connect_seconds", 2)
        self._read_seconds = given(target, "timeouts", "read_seconds", 10)
        self._tls = ssl.create_default_context(cafile=target.ca_file)
        self._connection = http.client.HTTPSConnection(host, port, context=self._tls)

    def send(self, method: str, path: str, body: bytes | None = None, **head: str) -> bytes:
        """The answer's body; RefusedError for any status but 200."""
        heads = {key.replace("_", "-"): value for key, value in head.items()}
        try:
            if self._connection.sock is None:
                self._connect()
            self._connection.request(method, path, body, heads)
            answer = self._connection.getresponse()
            content = answer.read()
        except Exception:
            self._connection.close()
            raise
        if answer.status != http.client.OK:
            raise RefusedError(answer.status, content)
        return content

    def _connect(self) -> None:
        """To this replica's own address, under the name that all of them have."""
        address, port, host = self._place
        plain = socket.create_connection((address, port), self._connect_seconds)
        self._connection.sock = self._tls.wrap_socket(plain, server_hostname=host)
        self._connection.sock.settimeout(self._read_seconds)

    def get(self, what: str, **query: str | int) -> Json:
        """One method of the interface that reads."""
        found: Json = json.loads(self.send("GET", f"{API}{what}?{urlencode(query)}"))
        return found

    def post(self, what: str, method: str = "POST", **fields: Any) -> Json:
        """One method that takes fields."""
        answer = self.send(method, API + what, json.dumps(fields).encode(), content_type=JSON)
        found: Json = json.loads(answer or b"{}")
        return found

    def experiment(self) -> str:
        """The id of the probe's experiment, made by whoever comes first."""
        try:
            return self._experiment()
        except RefusedError as error:
            if error.code != "RESOURCE_DOES_NOT_EXIST":
                raise
        with suppress(RefusedError):  # another client was first
            self.post("experiments/create", name=EXPERIMENT)
        return self._experiment()

    def _experiment(self) -> str:
        found = self.get("experiments/get-by-name", experiment_name=EXPERIMENT)
        return str(found["experiment"]["experiment_id"])

    def run(self, name: str, tag: str, value: str) -> Json:
        """A new run of the probe's experiment: its `info`."""
        info: Json = self.post(
            "runs/create",
            experiment_id=self.experiment(),
            run_name=name,
            start_time=round(time.time() * 1000),
            tags=[{"key": tag, "value": value}],
        )["run"]["info"]
        return info

    def log(self, run: str, key: str, value: float, step: int) -> None:
        """One value of a metric."""
        now = round(time.time() * 1000)
        self.post("runs/log-metric", run_id=run, key=key, value=value, timestamp=now, step=step)

    def runs(self, tag: str, value: str) -> Iterator[Json]:
        """Every run of the probe's experiment with that tag."""
        token = ""
        while True:
            found = self.post(
                "runs/search",
                experiment_ids=[self.experiment()],
                filter=f"tags.{tag} = '{value}'",
                max_results=100,
                page_token=token,
            )
            yield from found.get("runs", [])
            token = found.get("next_page_token", "")
            if not token:
                return

    def history(self, run: str, key: str) -> list[Json]:
        """Every value of a metric, in one answer."""
        found: list[Json] = self.get("metrics/get-history", run_id=run, metric_key=key)["metrics"]
        return found

    def close(self) -> None:
        """Let go."""
        self._connection.close()


def artefact(uri: str, name: str) -> str:
    """The path of an artefact below a run's `artifact_uri`."""
    if not uri.startswith(SCHEME):
        raise ValueError(f"artefacts are at {uri}, not behind the server ({SCHEME})")
    return f"{ARTEFACTS}/{quote(uri.removeprefix(SCHEME).strip('/'))}/{quote(name)}"


def places(target: Target) -> list[Place]:
    """Every replica that the name server knows now."""
    endpoint = target.endpoint("mlflow")
    found: list[Place] = []
    for host, port in endpoint.hosts():
        asked = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        addresses = sorted({str(entry[4][0]) for entry in asked})
        found += [(address, port, endpoint.tls_server_name or host) for address in addresses]
    return found


def clients(target: Target) -> list[Api]:
    """One for each replica."""
    return [Api(target, place) for place in places(target)]


class MlflowWriter:
    """One client; after a failure it goes on with the next replica. Each write is one value of a
    metric: its step is the write's number, its value is made of the whole name."""

    _target: Target

    def __init__(self) -> None:
        self._clients: list[Api] = []
        self._turn = 0
        self._runs: dict[str, str] = {}  # of the audit -> of MLflow

    def open(self, target: Target) -> None:
        """No connection yet: the first write makes it."""
        self._target = target
        self._clients = clients(target)
        # Clients begin at different replicas, so that one host's death meets only some of them.
        self._turn = uuid.uuid4().int % len(self._clients)

    def write(self, uid: str) -> None:
        """Acknowledged is the answer 200, which follows PostgreSQL's commit."""
        run, client, seq = uid.rsplit("-", 2)
        try:
            if run not in self._runs:
                self._runs[run] = self._client().run(f"{run}-{client}", AUDIT, run)["run_id"]
            self._client().log(self._runs[run], f"client-{client}", value(uid), int(seq))
        except Exception:
            self._next()
            raise

    def read_all(self, run: str) -> set[str]:
        """Every uid of the run."""
        return set(self.read_back(run))

    def read_back(self, run: str) -> Held:
        """By the first replica that answers. A value that was written twice is one row, so
        repeats don't show; each value is compared with its name."""
        return self._asked(lambda api: _held(api, run))

    def read_last(self, run: str, client: int) -> int | None:
        """As the page shows it: the newest value of the client's metric."""
        return self._asked(lambda api: _last(api, run, client))

    def settings(self) -> Mapping[str, object]:
        """What an acknowledgement is."""
        return {"acknowledged": "log-metric answered 200"}

    def close(self) -> None:
        """Drop the connections."""
        for api in self._clients:
            api.close()
        self._clients = []

    def _next(self) -> None:
        """The next replica; one that was made anew has another address."""
        self._turn += 1
        with suppress(OSError):
            known = clients(self._target)
            self.close()
            self._clients = known

    def _client(self) -> Api:
        return self._clients[self._turn % len(self._clients)]

    def _asked(self, question: Callable[[Api], T]) -> T:
        problem: Exception | None = None
        for _ in range(max(1, len(self._clients))):
            try:
                return question(self._client())
            except (OSError, RefusedError) as error:
                problem = error
                self._next()
        raise ConnectionError(f"no replica could tell: {problem!r}") from problem


def value(uid: str) -> int:
    """What is stored for a uid: a whole number that a double holds exactly."""
    return zlib.crc32(uid.encode())


def _held(api: Api, run: str) -> Held:
    uids: list[str] = []
    wrong: list[str] = []
    for found in api.runs(AUDIT, run):
        for metric in found["data"].get("metrics", []):
            client = metric["key"].removeprefix("client-")
            for point in api.history(found["info"]["run_id"], metric["key"]):
                uid = f"{run}-{client}-{point['step']}"
                uids.append(uid)
                if point["value"] != value(uid):
                    wrong.append(uid)
    return Held([uids], corrupt=wrong)


def _last(api: Api, run: str, client: int) -> int | None:
    steps = [
        int(metric["step"])
        for found in api.runs(AUDIT, run)
        for metric in found["data"].get("metrics", [])
        if metric["key"] == f"client-{client}"
    ]
    return max(steps, default=None)


def writer() -> Writer:
    """One client thread."""
    return MlflowWriter()


def _pairs(target: Target) -> list[tuple[Api, Api]]:
    """Each replica with the one that is asked after it."""
    apis = clients(target)
    return [(api, apis[(number + 1) % len(apis)]) for number, api in enumerate(apis)]


def _replicas(target: Target) -> Found:
    """Each one answers, reaches the database and the artefacts, and is of the same version."""
    told: dict[str, str] = {}
    for api in clients(target):
        try:
            api.send("GET", "/health")
            api.experiment()
            api.send("GET", f"{ARTEFACTS}?path=")
            told[api.name] = api.send("GET", "/version").decode()
        except (OSError, RefusedError) as error:
            told[api.name] = f"{type(error).__name__}: {error}"
    wanted = 1 + int(given(target, "retries", "other_members_per_request", 0))
    same = len(set(told.values())) == 1 and next(iter(told.values()))[0].isdigit()
    detail = ", ".join(f"{name}: {said}" for name, said in told.items())
    return same and len(told) >= wanted, f"{detail}; there should be {wanted}", told


def _run(target: Target) -> Found:
    """What one replica writes, the next one reads."""
    wrong: list[str] = []
    for api, other in _pairs(target):
        info = api.run(f"smoke-{uuid.uuid4().hex[:8]}", SMOKE, "run")
        run = str(info["run_id"])
        try:
            api.post("runs/log-parameter", run_id=run, key="depth", value="3")
            api.log(run, "auc", 0.75, 1)
            api.post(
                "runs/update", run_id=run, status="FINISHED", end_time=round(time.time() * 1000)
            )
            seen = other.get("runs/get", run_id=run)["run"]["data"]
            logged = [(each["key"], each["value"]) for each in seen["params"] + seen["metrics"]]
            if logged != [("depth", "3"), ("auc", 0.75)]:
                wrong.append(f"{other.name} shows {seen} of {api.name}'s run")
        finally:
            api.post("runs/delete", run_id=run)
    return not wrong, "; ".join(wrong) or "written by each replica, read by the next", {}


def _artefacts(target: Target) -> Found:
    """Through one replica up, through the next one down; no client sees the store."""
    body = hashlib.sha256(uuid.uuid4().bytes).digest() * 8192  # 256 KiB
    wrong: list[str] = []
    for api, other in _pairs(target):
        info = api.run(f"smoke-{uuid.uuid4().hex[:8]}", SMOKE, "artefact")
        path = artefact(str(info["artifact_uri"]), "model/weights.bin")
        try:
            api.send("PUT", path, body)
            if other.send("GET", path) != body:
                wrong.append(f"other bytes came back from {other.name}")
        finally:
            with suppress(RefusedError):
                other.send("DELETE", path)
            api.post("runs/delete", run_id=info["run_id"])
    return not wrong, "; ".join(wrong) or f"{len(body)} bytes went up and came down", {}


def _models(target: Target) -> Found:
    """A version that one replica registers, the next one finds by its alias."""
    api, other = _pairs(target)[0]
    name = f"smoke-{uuid.uuid4().hex[:8]}"
    info = api.run(name, SMOKE, "model")
    api.post("registered-models/create", name=name)
    try:
        source = f"{info['artifact_uri']}/model"
        made = api.post("model-versions/create", name=name, source=source, run_id=info["run_id"])
        version = str(made["model_version"]["version"])
        api.post("registered-models/alias", name=name, alias="champion", version=version)
        found = other.get("registered-models/alias", name=name, alias="champion")["model_version"]
    finally:
        api.post("registered-models/delete", "DELETE", name=name)
        api.post("runs/delete", run_id=info["run_id"])
    same = str(found["version"]) == version and found["source"] == source
    return same, f"version {found['version']} is the champion, from {found['source']}", {}


def smoke(target: Target) -> Iterator[Check]:
    """As a client; what it makes it takes away."""
    yield attempt("mlflow: every replica answers", lambda: _replicas(target))
    yield attempt("mlflow: runs are one replica's as the other's", lambda: _run(target))
    yield attempt("mlflow: artefacts go through the server", lambda: _artefacts(target))
    yield attempt("mlflow: models, versions, aliases", lambda: _models(target))


def version(target: Target) -> Mapping[str, str]:
    """Each replica's line, as the contract names it."""
    told = {api.name: api.send("GET", "/version").decode() for api in clients(target)}
    return {name: text.rpartition(".")[0] for name, text in told.items()}


def bad_requests(target: Target) -> Iterator[tuple[str, Callable[[], object]]]:
    """What a page of somebody else's could make a browser send, and ways out of the bucket."""
    api, strange = clients(target)[0], "elsewhere.example"
    create, out = f"{API}experiments/create", f"{ARTEFACTS}/..%2F..%2Fetc%2Fpasswd"
    post = partial(api.send, "POST", create, content_type=JSON)
    yield "a foreign host", partial(post, body=b'{"name": "x"}', host=strange)
    yield (
        "a foreign page's script",
        partial(post, body=b'{"name": "x"}', origin=f"https://{strange}"),
    )
    yield "a way out of the bucket", partial(api.send, "GET", out)
    yield "no JSON", partial(post, body=b"{")


def primary(_: Target) -> str | None:
    """MLflow has none: every replica serves every request."""
    return None


def whole(target: Target) -> Check:
    """Every replica is there and reaches what it needs."""
    return attempt("mlflow: whole", lambda: _replicas(target))
