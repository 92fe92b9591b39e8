"""MLflow as a client sees it. Runs in the clients image: standard library only."""

from __future__ import annotations

import hashlib
import http.client
import json
import re
import time
import uuid
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

from components.kit.asking import Line, Place, given, places
from components.kit.probing import Check, Held, Target, Writer, attempt

API = "/api/2.0/mlflow/"
ARTEFACTS = "/api/2.0/mlflow-artifacts/artifacts"
JSON = "application/json"
PROTOCOL = "mlflow"  # of the endpoint whose name leads to every replica
SCHEME = "mlflow-artifacts:/"
#: Deleted experiments keep their names, so the probe has one that stays.
EXPERIMENT = "apadana-probe"
AUDIT, SMOKE = "audit", "smoke"  # tags of its runs
COMMIT = "mlflow.source.git.commit"

T = TypeVar("T")
Json = dict[str, Any]
Found = tuple[bool, str, Mapping[str, object]]


class RefusedError(Exception):
    """The server answered, and it was no."""

    def __init__(self, status: int, content: bytes) -> None:
        super().__init__(f"{status} {content[:200].decode(errors='replace')}")
        found = re.search(rb'"error_code": ?"(\w+)"', content)
        self.code = found[1].decode() if found else ""


class Api:
    """One connection to one replica; after an error the next call opens another."""

    def __init__(self, target: Target, place: Place) -> None:
        self.name = f"{place[0]}:{place[1]}"
        connect_s = target.within(given(target, "timeouts", "connect_seconds", 2))
        read_s = given(target, "timeouts", "read_seconds", 10)
        self._line = Line(place, target.ca_file, connect_s, read_s)

    def send(self, method: str, path: str, body: bytes | None = None, **head: str) -> bytes:
        """The answer's body; RefusedError for any status but 200."""
        heads = {key.replace("_", "-"): value for key, value in head.items()}
        try:
            self._line.request(method, path, body, heads)
            answer = self._line.getresponse()
            content = answer.read()
        except Exception:
            self._line.close()
            raise
        if answer.status != http.client.OK:
            raise RefusedError(answer.status, content)
        return content

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
            found = self.get("experiments/get-by-name", experiment_name=EXPERIMENT)
        except RefusedError as error:
            if error.code != "RESOURCE_DOES_NOT_EXIST":
                raise
            with suppress(RefusedError):  # another client was first
                self.post("experiments/create", name=EXPERIMENT)
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

    def runs(self, tag: str, value: str, *order: str) -> Iterator[Json]:
        """Every run of the probe's experiment with that tag."""
        asked: Json = {"filter": f"tags.{tag} = '{value}'", "order_by": order, "max_results": 100}
        token = ""
        while True:
            wish = {**asked, "experiment_ids": [self.experiment()], "page_token": token}
            found = self.post("runs/search", **wish)
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
        self._line.close()


def artefact(uri: str, name: str) -> str:
    """The path of an artefact below a run's `artifact_uri`."""
    if not uri.startswith(SCHEME):
        raise ValueError(f"artefacts are at {uri}, not behind the server ({SCHEME})")
    return f"{ARTEFACTS}/{quote(uri.removeprefix(SCHEME).strip('/'))}/{quote(name)}"


def clients(target: Target) -> list[Api]:
    """One for each replica."""
    return [Api(target, place) for place in places(target, PROTOCOL)]


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


@contextmanager
def _made(api: Api, what: str) -> Iterator[Json]:
    """A run of the probe's, which is taken away afterwards: its `info`."""
    info = api.run(f"smoke-{uuid.uuid4().hex[:8]}", SMOKE, what)
    try:
        yield info
    finally:
        api.post("runs/delete", run_id=info["run_id"])


def runs_are_shared(target: Target) -> Found:
    """What one replica writes, the next one reads: settings, result, code and data of a run."""
    wrong: list[str] = []
    data = {"name": "probe", "digest": "da7a", "source_type": "s3", "source": "s3://probe/da7a"}
    wanted = {("depth", "3"), ("auc", 0.75), (COMMIT, "c0de"), ("data", "da7a")}
    for api, other in _pairs(target):
        with _made(api, "run") as info:
            run, now = str(info["run_id"]), round(time.time() * 1000)
            api.post("runs/log-parameter", run_id=run, key="depth", value="3")
            api.log(run, "auc", 0.75, 1)
            api.post("runs/set-tag", run_id=run, key=COMMIT, value="c0de")
            api.post("runs/log-inputs", run_id=run, datasets=[{"dataset": data}])
            api.post("runs/update", run_id=run, status="FINISHED", end_time=now)
            seen = other.get("runs/get", run_id=run)["run"]
            kept = [each for part in ("params", "metrics", "tags") for each in seen["data"][part]]
            logged = {(each["key"], each["value"]) for each in kept}
            logged |= {("data", d["dataset"]["digest"]) for d in seen["inputs"]["dataset_inputs"]}
            if lost := wanted - logged:
                wrong.append(f"{other.name} does not show {sorted(map(str, lost))} of {api.name}'s")
    return not wrong, "; ".join(wrong) or "written by each replica, read by the next", {}


def runs_are_compared(target: Target) -> Found:
    """Of two runs the better one comes first, at the replica that wrote neither."""
    (api, other), mark = _pairs(target)[0], f"compare-{uuid.uuid4().hex[:8]}"
    with _made(api, mark) as poor, _made(api, mark) as good:
        for info, auc in ((poor, 0.75), (good, 0.85)):
            api.log(info["run_id"], "auc", auc, 1)
        order = [r["info"]["run_id"] for r in other.runs(SMOKE, mark, "metrics.auc DESC")]
    sound = order == [good["run_id"], poor["run_id"]]
    return sound, f"{len(order)} of 2 runs, the best {'first' if sound else 'not first'}", {}


def _artefacts(target: Target) -> Found:
    """Through one replica up, through the next one down; no client sees the store."""
    body = hashlib.sha256(uuid.uuid4().bytes).digest() * 8192  # 256 KiB
    wrong: list[str] = []
    for api, other in _pairs(target):
        with _made(api, "artefact") as info:
            path = artefact(str(info["artifact_uri"]), "model/weights.bin")
            try:
                api.send("PUT", path, body)
                if other.send("GET", path) != body:
                    wrong.append(f"other bytes came back from {other.name}")
            finally:
                with suppress(RefusedError):
                    other.send("DELETE", path)
    return not wrong, "; ".join(wrong) or f"{len(body)} bytes went up and came down", {}


def models_are_kept(target: Target) -> Found:
    """Versions with their run and tags; the alias is switched there and back at once for the next
    replica, too; a version that is retired is gone."""
    api, other = _pairs(target)[0]
    name, shown = f"smoke-{uuid.uuid4().hex[:8]}", []
    with _made(api, "model") as info:
        api.post("registered-models/create", name=name)
        try:
            one, two = (_version(api, name, info, auc) for auc in ("0.75", "0.85"))
            for version in (one, two, one):
                api.post("registered-models/alias", name=name, alias="champion", version=version)
                now = other.get("registered-models/alias", name=name, alias="champion")
                shown.append(_traced(now["model_version"]))
            api.post("model-versions/delete", "DELETE", name=name, version=two)
            left = other.get("model-versions/search", filter=f"name = '{name}'")["model_versions"]
        finally:
            api.post("registered-models/delete", "DELETE", name=name)
    wanted = [(one, info["run_id"], "0.75"), (two, info["run_id"], "0.85")]
    sound = shown == [*wanted, wanted[0]] and [_traced(each) for each in left] == wanted[:1]
    return sound, f"champions: {shown}; left after one was retired: {len(left)}", {}


def _version(api: Api, name: str, info: Json, auc: str) -> str:
    wish: Json = {"source": f"{info['artifact_uri']}/{auc}", "tags": [{"key": "auc", "value": auc}]}
    made = api.post("model-versions/create", name=name, run_id=info["run_id"], **wish)
    return str(made["model_version"]["version"])


def _traced(found: Json) -> tuple[str, str, str]:
    """A version, the run that it comes from, what its tag says."""
    tags = {each["key"]: each["value"] for each in found.get("tags", [])}
    return str(found["version"]), str(found["run_id"]), str(tags.get("auc"))


def smoke(target: Target) -> Iterator[Check]:
    """As a client; what it makes it takes away."""
    yield attempt("mlflow: every replica answers", lambda: _replicas(target))
    yield attempt("mlflow: runs are one replica's as the other's", lambda: runs_are_shared(target))
    yield attempt("mlflow: the better run comes first", lambda: runs_are_compared(target))
    yield attempt("mlflow: artefacts go through the server", lambda: _artefacts(target))
    yield attempt("mlflow: models, versions, aliases", lambda: models_are_kept(target))


def version(target: Target) -> Mapping[str, str]:
    """Each replica's line, as the contract names it."""
    told = {api.name: api.send("GET", "/version").decode() for api in clients(target)}
    return {name: text.rpartition(".")[0] for name, text in told.items()}


def bad_requests(target: Target) -> Iterator[tuple[str, Callable[[], object]]]:
    """What a page of somebody else's could make a browser send, and ways out of the bucket."""
    api, strange = clients(target)[0], "elsewhere.example"
    post = partial(api.send, "POST", f"{API}experiments/create", content_type=JSON)
    named = partial(post, body=b'{"name": "x"}')
    yield "a foreign host", partial(named, host=strange)
    yield "a foreign page's script", partial(named, origin=f"https://{strange}")
    out = f"{ARTEFACTS}/..%2F..%2Fetc%2Fpasswd"
    yield "a way out of the bucket", partial(api.send, "GET", out)
    yield "no JSON", partial(post, body=b"{")


def primary(_: Target) -> str | None:
    """MLflow has none: every replica serves every request."""
    return None


def whole(target: Target) -> Check:
    """Every replica is there and reaches what it needs."""
    return attempt("mlflow: whole", lambda: _replicas(target))
