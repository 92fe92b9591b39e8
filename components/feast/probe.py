"""The feature store as a client sees it. Runs in the clients' image: standard library only."""

from __future__ import annotations

import base64
import http.client
import json
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, TypeVar

from components.kit.asking import Line, Place, given, places
from components.kit.probing import Check, Held, Target, Writer, attempt

PROTOCOL = "feast"  # of the endpoint whose name leads to every replica
JSON = "application/json"
VIEW, KEY = "apadana_probe", "probe_key"  # definitions/probe.yaml
QUESTION, PUSH, HISTORY = "/get-online-features", "/push", "/history"
MOST_CLIENTS = 64  # of one audit
AT_ONCE = 500  # keys of one question

T = TypeVar("T")
Json = dict[str, Any]
Found = tuple[bool, str, Mapping[str, object]]


class RefusedError(Exception):
    """The server answered, and it was no."""

    def __init__(self, status: int, content: bytes) -> None:
        super().__init__(f"{status} {content[:200].decode(errors='replace')}")
        self.status = status


class Api:
    """One connection to one replica; after an error the next call opens another."""

    def __init__(self, target: Target, place: Place, word: str | None = None) -> None:
        self.name = f"{place[0]}:{place[1]}"
        connect_s = target.within(given(target, "timeouts", "connect_seconds", 2))
        self._line = Line(place, target.ca_file, connect_s, given(target, "timeouts", "read_seconds", 10))
        self._login = login(target, word)

    def send(self, method: str, path: str, body: object = None) -> bytes:
        """The answer's body; RefusedError for any status but 200."""
        text = None if body is None else json.dumps(body).encode()
        heads = {"Authorization": self._login} if self._login else {}
        try:
            self._line.request(method, path, text, {**heads, "Content-Type": JSON})
            answer = self._line.getresponse()
            content = answer.read()
        except Exception:
            self._line.close()
            raise
        if answer.status != http.client.OK:
            raise RefusedError(answer.status, content)
        return content

    def push(self, rows: Mapping[str, int], at: datetime) -> str:
        """A number for each key, of that moment. Returns when two hosts have it: the moment from which it is known."""
        columns = {
            KEY: list(rows),
            "number": list(rows.values()),
            "share": [0.5] * len(rows),
            "word": ["probe"] * len(rows),
            "event_time": [at.isoformat()] * len(rows),
        }
        told: Json = json.loads(self.send("POST", PUSH, {"view": VIEW, "rows": columns}))
        return str(told["known_from"])

    def known(self, key: str, moments: Sequence[str]) -> list[int | None]:
        """What was known of the key at each of them."""
        asked = {"features": [f"{VIEW}:number"], "entities": {KEY: [key] * len(moments), "event_time": list(moments)}}
        told: Json = json.loads(self.send("POST", HISTORY, asked))
        return [None if value is None else int(value) for value in told["rows"]["number"]]

    def numbers(self, keys: Sequence[str]) -> list[int | None]:
        """What is online for each key; None: nothing."""
        found: list[int | None] = []
        for start in range(0, len(keys), AT_ONCE):
            found += self._numbers(keys[start : start + AT_ONCE])
        return found

    def _numbers(self, keys: Sequence[str]) -> list[int | None]:
        asked = {"features": [f"{VIEW}:number"], "entities": {KEY: list(keys)}}
        told: Json = json.loads(self.send("POST", QUESTION, asked))
        where = told["metadata"]["feature_names"].index("number")
        return [None if value is None else int(value) for value in told["results"][where]["values"]]

    def close(self) -> None:
        """Let go."""
        self._line.close()


def login(target: Target, word: str | None = None) -> str:
    """The header's content; `word` in place of the password; "" for both: none."""
    password = target.password if word is None else word
    if not password:
        return ""
    return "Basic " + base64.b64encode(f"{target.username}:{password}".encode()).decode()


def clients(target: Target) -> list[Api]:
    """One for each replica."""
    return [Api(target, place) for place in places(target, PROTOCOL)]


class FeastWriter:
    """One client; after a failure it goes to the next replica."""

    def __init__(self) -> None:
        self._target: Target | None = None
        self._clients: list[Api] = []
        self._turn = 0

    def open(self, target: Target) -> None:
        """No connection yet: the first write makes it."""
        self._target = target
        self._clients = clients(target)
        # Clients begin at different replicas, so that one host's death meets only some of them.
        self._turn = uuid.uuid4().int % len(self._clients)

    def write(self, uid: str) -> None:
        """The row, and that it is the newest of its client. Acknowledged is the answer 200."""
        of_client, _, seq = uid.rpartition("-")
        try:
            self._client().push({uid: int(seq), of_client: int(seq)}, datetime.now(UTC))
        except Exception:
            self._next()
            raise

    def read_all(self, run: str) -> set[str]:
        """Every uid of the run."""
        return set(self.read_back(run))

    def read_back(self, run: str) -> Held:
        """As a model is given it. A row that was pushed twice is one, so repeats don't show; each
        number is compared with its name."""
        return self._asked(lambda api: _held(api, run))

    def read_last(self, run: str, client: int) -> int | None:
        """The newest that a model would be given."""
        return self._asked(lambda api: api.numbers([f"{run}-{client}"]))[0]

    def settings(self) -> Mapping[str, object]:
        """What an acknowledgement is."""
        return {"acknowledged": "200 to POST /push; anything else: send it again", "login": "basic"}

    def close(self) -> None:
        """Drop the connections."""
        for api in self._clients:
            api.close()
        self._clients = []

    def _next(self) -> None:
        """The next replica; one that was made anew has another address."""
        self._turn += 1
        if self._target is not None:
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
            except (OSError, http.client.HTTPException, RefusedError) as error:
                problem = error
                self._next()
        raise ConnectionError(f"no replica could tell: {problem!r}") from problem


def _held(api: Api, run: str) -> Held:
    uids: list[str] = []
    wrong: list[str] = []
    for client, last in enumerate(api.numbers([f"{run}-{client}" for client in range(MOST_CLIENTS)])):
        asked = [f"{run}-{client}-{seq}" for seq in range(0 if last is None else last + 1)]
        there = [(uid, found) for uid, found in zip(asked, api.numbers(asked), strict=True) if found is not None]
        uids += [uid for uid, _ in there]
        wrong += [uid for uid, found in there if uid.rpartition("-")[2] != str(found)]
    return Held([uids], corrupt=wrong)


def writer() -> Writer:
    """One client thread."""
    return FeastWriter()


def _pairs(target: Target) -> list[tuple[Api, Api]]:
    """Each replica with the one that is asked after it."""
    apis = clients(target)
    return [(api, apis[(number + 1) % len(apis)]) for number, api in enumerate(apis)]


def _replicas(target: Target) -> Found:
    """Each one answers, and reaches both stores."""
    told: dict[str, str] = {}
    for api in clients(target):
        try:
            api.send("GET", "/-/healthy")
            api.push({f"whole-{uuid.uuid4().hex[:8]}": 1}, datetime.now(UTC))
            told[api.name] = "answers"
        except (OSError, http.client.HTTPException, RefusedError) as error:
            told[api.name] = f"{type(error).__name__}: {error}"
    wanted = 1 + int(given(target, "retries", "other_members_per_request", 0))
    sound = set(told.values()) == {"answers"} and len(told) >= wanted
    return sound, f"{', '.join(f'{name}: {said}' for name, said in told.items())}; there should be {wanted}", told


def _round_trip(target: Target) -> Found:
    """What one replica takes, the next one gives; a key that nobody wrote is nothing."""
    wrong = []
    for number, (api, other) in enumerate(_pairs(target)):
        key = f"smoke-{uuid.uuid4().hex[:8]}"
        api.push({key: number}, datetime.now(UTC))
        if (found := other.numbers([key, f"{key}-missing"])) != [number, None]:
            wrong.append(f"{other.name} gave {found} for {[number, None]}")
    return not wrong, "; ".join(wrong) or "pushed at one replica, asked at the other", {}


def _order(target: Target) -> Found:
    """An older row that comes later replaces nothing; a correction of the same moment does."""
    api, other = _pairs(target)[0]
    key, now = f"smoke-{uuid.uuid4().hex[:8]}", datetime.now(UTC)
    seen: list[int | None] = []
    for number, at in ((2, now), (1, now - timedelta(minutes=1)), (3, now)):
        api.push({key: number}, at)
        seen += other.numbers([key])
    return seen == [2, 2, 3], f"newest, then after an older row, then after a correction: {seen}", {}


def _history(target: Target) -> Found:
    """A training set is what was known at its moment: a correction that came later is not in it."""
    api, other = _pairs(target)[0]
    key, at = f"smoke-{uuid.uuid4().hex[:8]}", datetime.now(UTC) - timedelta(minutes=1)
    first, second = api.push({key: 1}, at), api.push({key: 2}, at)
    found = other.known(key, [at.isoformat(), first, second])
    return found == [None, 1, 2], f"at the event, when it was told, when it was corrected: {found}", {}


def _refusals(target: Target) -> Found:
    """What the definitions don't allow is refused, and nothing of it is kept."""
    api = clients(target)[0]
    key = f"smoke-{uuid.uuid4().hex[:8]}"
    asked: dict[str, Callable[[], object]] = {
        "a number below its bound": partial(api.push, {key: -1}, datetime.now(UTC)),
        "a row of tomorrow": partial(api.push, {key: 1}, datetime.now(UTC) + timedelta(days=1)),
        "an unknown view": partial(api.send, "POST", PUSH, {"view": "nobody", "rows": {KEY: [key]}}),
    }
    told = {name: _status(act) for name, act in asked.items()}
    kept = api.numbers([key])
    sound = set(told.values()) == {422} and kept == [None]
    return sound, f"{', '.join(f'{name}: {status}' for name, status in told.items())}; kept: {kept}", told


def _closed(target: Target) -> Found:
    """Without a log-in nothing is answered, and Feast's own ways to change things are not there."""
    place = places(target, PROTOCOL)[0]
    api, nobody, stranger = Api(target, place), Api(target, place, ""), Api(target, place, "wrong")
    asked = {"features": [f"{VIEW}:number"], "entities": {KEY: ["x"]}}
    told = {
        "no log-in": _status(partial(nobody.send, "POST", QUESTION, asked)),
        "a wrong password": _status(partial(stranger.send, "POST", QUESTION, asked)),
        "materialise": _status(partial(api.send, "POST", "/materialize-incremental", {})),
        "write unchecked": _status(partial(api.send, "POST", "/write-to-online-store", {})),
    }
    sound = list(told.values()) == [401, 401, 404, 404]
    return sound, ", ".join(f"{name}: {status}" for name, status in told.items()), told


def _status(act: Callable[[], object]) -> int:
    try:
        act()
    except RefusedError as error:
        return error.status
    return http.client.OK


def smoke(target: Target) -> Iterator[Check]:
    """As a client; what it writes is old after some hours."""
    yield attempt("feast: every replica answers", lambda: _replicas(target))
    yield attempt("feast: features are one replica's as the other's", lambda: _round_trip(target))
    yield attempt("feast: the newest row wins", lambda: _order(target))
    yield attempt("feast: the history knows no future", lambda: _history(target))
    yield attempt("feast: unsound rows are refused", lambda: _refusals(target))
    yield attempt("feast: closed to strangers", lambda: _closed(target))


def bad_requests(target: Target) -> Iterator[tuple[str, Callable[[], object]]]:
    """What a careless or hostile client sends."""
    api = clients(target)[0]
    yield "no body", partial(api.send, "POST", PUSH)
    yield "no object", partial(api.send, "POST", PUSH, [1])
    yield (
        "columns of unlike length",
        partial(api.send, "POST", PUSH, {"view": VIEW, "rows": {KEY: ["a", "b"], "number": [1]}}),
    )
    yield (
        "a feature that is not there",
        partial(api.send, "POST", QUESTION, {"features": ["nobody:nothing"], "entities": {KEY: ["a"]}}),
    )


def primary(_: Target) -> str | None:
    """There is none: every replica serves every request."""
    return None


def whole(target: Target) -> Check:
    """Every replica is there and reaches what it needs."""
    return attempt("feast: whole", lambda: _replicas(target))
