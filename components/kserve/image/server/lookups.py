"""A question that names whom it is about: what the feature store knows of them takes the place of the columns.

One question to the feature server for all entities of a question, over connections that are kept, with one deadline.
No value of a key reaches a log or an answer; rows are told by their numbers.
"""

from __future__ import annotations

import asyncio
import base64
import importlib
import json
import ssl
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import kserve
from fastapi.responses import JSONResponse
from kserve.errors import InvalidInput

from components.kserve.image.server import declared
from components.kserve.image.server.counters import AWAY, LATE, TOLD, Lookups
from components.kserve.image.server.declared import DEFAULT, FLAG, TEXT, Column, Declaration, fits

#: Of an answer: whether all that a row was asked with was known, so that no default stood in.
KNOWN, DEFAULTS = "known", "defaults"
QUESTION, HERE = "/get-online-features", "/-/front"
CONNECTIONS, KEPT_S = 8, 30  # the front ends idle ones after a minute
MOST_ENTITIES = 500
LONGEST_KEY = 200
SHOWN = 10  # rows that a refusal names
OK, DENIED, UNKNOWN, UNAVAILABLE = 200, 401, 422, 503
Rows = list[list[Any]]  # of each entity the features that were asked for, in their order; None: not known


class RefusedError(Exception):
    """A question that is right and can't be answered now: `status` is what its sender gets."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class AwayError(Exception):
    """The store tells nothing; `outcome` is LATE or AWAY."""

    def __init__(self, outcome: str, text: str) -> None:
        super().__init__(text)
        self.outcome = outcome


async def refused(request: Any, error: Exception) -> JSONResponse:
    """To the sender."""
    del request
    assert isinstance(error, RefusedError)
    return JSONResponse({"error": str(error)}, error.status)


class Store:
    """The feature server. `login`: a folder with username, password, ca.crt; `seconds`: the deadline of a look-up."""

    def __init__(self, address: str, login: Path, seconds: float) -> None:
        self._at, self._login, self._seconds = f"https://{address}", login, seconds
        self._http = importlib.import_module("aiohttp")
        self._session: Any = None
        self._word = ""

    async def rows(self, features: Sequence[str], key: str, keys: Sequence[Any]) -> Rows:
        """Raises AwayError."""
        asked = {"features": list(features), "entities": {key: list(keys)}, "full_feature_names": True}
        try:
            async with asyncio.timeout(self._seconds):
                status, text = await self._asked(json.dumps(asked).encode())
        except TimeoutError:
            raise AwayError(LATE, f"it did not answer within {self._seconds * 1000:.0f} ms") from None
        except (self._http.ClientError, OSError, ValueError) as error:
            raise AwayError(AWAY, type(error).__name__) from None
        if status != OK:
            raise AwayError(AWAY, f"it answers {status}")
        try:
            return _told(json.loads(text), features, len(keys))
        except (ValueError, TypeError, LookupError) as error:
            raise AwayError(AWAY, f"it answers what can't be read: {type(error).__name__}") from None

    async def warm(self) -> None:
        """A connection is there before somebody waits for it, and stays. A store that is away is no reason not to be
        ready."""
        with suppress(TimeoutError, OSError, ValueError, self._http.ClientError):
            async with asyncio.timeout(self._seconds), self._opened().get(self._at + HERE) as answer:
                await answer.read()

    async def _asked(self, body: bytes) -> tuple[int, bytes]:
        """Once more where the kept connection was ended from the other side, or the password is another one by now."""
        try:
            found = await self._once(body)
        except (self._http.ServerDisconnectedError, ConnectionError):
            found = await self._once(body)
        if found[0] == DENIED:
            self._word = ""
            found = await self._once(body)
        return found

    async def _once(self, body: bytes) -> tuple[int, bytes]:
        self._word = self._word or self._basic()
        heads = {"Authorization": self._word, "Content-Type": "application/json"}
        async with self._opened().post(self._at + QUESTION, data=body, headers=heads) as answer:
            return answer.status, await answer.read()

    def _basic(self) -> str:
        user, word = ((self._login / name).read_text(encoding="utf-8").strip() for name in ("username", "password"))
        return "Basic " + base64.b64encode(f"{user}:{word}".encode()).decode()

    def _opened(self) -> Any:
        """Made by the event loop that it belongs to."""
        if self._session is None:
            trusted = ssl.create_default_context(cafile=str(self._login / "ca.crt"))
            kept = self._http.TCPConnector(limit=CONNECTIONS, keepalive_timeout=KEPT_S, ssl=trusted)
            self._session = self._http.ClientSession(connector=kept)
        return self._session


def _told(answer: Mapping[str, Any], features: Sequence[str], count: int) -> Rows:
    """What is not there, and what is older than its view's time to live, is None alike."""
    names = list(answer["metadata"]["feature_names"])
    columns = []
    for feature in features:
        found = answer["results"][names.index(feature.replace(":", "__"))]
        values = [v if s == "PRESENT" else None for v, s in zip(found["values"], found["statuses"], strict=True)]
        if len(values) != count:
            raise ValueError(f"{len(values)} values for {count} entities")
        columns.append(values)
    return [list(row) for row in zip(*columns, strict=True)]


class Filled(kserve.InferRequest):  # type: ignore[misc]  # it has no types
    """A question whose columns the store told. `known`: of each row, whether no default stood in; None: none may."""

    known: list[bool] | None = None


@dataclass(frozen=True)
class Source:
    """What a pod has: its store, and what its release says of what is missing."""

    store: Store
    missing: str


class Looking:
    """The look-ups of one version."""

    def __init__(self, wanted: Declaration, source: Source | None, model: str, version: str) -> None:
        self.wanted, self._source = wanted, source
        self.counts = Lookups(model, version, on=source is not None)
        if source is not None and source.missing == DEFAULT and wanted.undefined:
            raise declared.DeclarationError(f"{declared.FILE}: no default of {', '.join(wanted.undefined)}")

    async def warm(self) -> None:
        """Before a question comes."""
        if self._source is not None:
            await self._source.store.warm()

    async def filled(self, payload: Any) -> Any:
        """The question with all its columns. One that brings them itself stays as it is. Raises InvalidInput for what
        is no question, RefusedError for one that can't be answered."""
        if not isinstance(payload, kserve.InferRequest) or (payload.parameters or {}).get("content_type") == "pd":
            return payload
        inputs = {each.name: each for each in payload.inputs}
        if self.wanted.key not in inputs:
            self._whole(payload.inputs)
            return payload
        if self._source is None:
            raise InvalidInput(f"{self.wanted.key} is not looked up here; bring the columns")
        keys = self._keys(_values(inputs.pop(self.wanted.key)))
        brought = self._brought(inputs, len(keys))
        asked = [each for each in self.wanted.known if each.name not in brought]
        rows = await self._told(asked, keys, self._source) if asked else [[] for _ in keys]
        return self._question(payload, brought, asked, rows)

    def _whole(self, inputs: Sequence[Any]) -> None:
        """A question without the key brings every column; what the model says of another one helps nobody."""
        names = [each.name for each in self.wanted.columns]
        widths = [(*each.shape, 1)[1] if each.shape else 0 for each in inputs]
        if widths != [len(names)]:
            shown = ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")
            raise InvalidInput(f"allowed: an input {self.wanted.key}, or one with the {len(names)} columns {shown}")

    def _keys(self, keys: list[Any]) -> list[Any]:
        if not 1 <= len(keys) <= MOST_ENTITIES:
            raise InvalidInput(f"{self.wanted.key} has {len(keys)} entities; allowed: 1 to {MOST_ENTITIES} at once")
        kind = self.wanted.key_type
        wrong = [at for at, key in enumerate(keys) if not fits(key, kind) or len(str(key)) > LONGEST_KEY]
        if wrong:
            raise InvalidInput(f"{self.wanted.key} in {_places(wrong)} is no {kind}")
        return keys

    def _brought(self, inputs: Mapping[str, Any], count: int) -> dict[str, list[Any]]:
        columns = {each.name: each for each in self.wanted.columns}
        if odd := sorted(inputs.keys() - columns.keys()):
            raise InvalidInput(f"inputs {', '.join(odd)[:200]} are not known; allowed: {', '.join(columns)[:1000]}")
        if lacking := [name for name, each in columns.items() if not each.feature and name not in inputs]:
            raise InvalidInput(f"{', '.join(lacking)}: nobody but the question knows; bring an input for each")
        found = {name: _values(each) for name, each in inputs.items()}
        for name, values in found.items():
            if len(values) != count:
                raise InvalidInput(f"{name} has {len(values)} values for {count} entities")
            if wrong := [at for at, value in enumerate(values) if not fits(value, columns[name].type)]:
                raise InvalidInput(f"{name} in {_places(wrong)} is no {columns[name].type}")
        return found

    async def _told(self, asked: Sequence[Column], keys: Sequence[Any], source: Source) -> Rows:
        began = time.perf_counter()
        try:
            rows = await source.store.rows([each.feature for each in asked], self.wanted.key, keys)
        except AwayError as error:
            self.counts.timed(error.outcome, time.perf_counter() - began)
            if source.missing != DEFAULT:
                text = f"the features of {self.wanted.key} can't be had now: {error}; ask again"
                raise RefusedError(UNAVAILABLE, text) from None
            rows = [[None] * len(asked) for _ in keys]
        else:
            self.counts.timed(TOLD, time.perf_counter() - began)
        rows = [[v if fits(v, c.type) else None for v, c in zip(row, asked, strict=True)] for row in rows]
        missing = [at for at, row in enumerate(rows) if None in row]
        self.counts.entities += Counter(no=len(missing), yes=len(rows) - len(missing))
        if missing and source.missing != DEFAULT:
            names = [each.name for at, each in enumerate(asked) if any(row[at] is None for row in rows)]
            why = f"of the {self.wanted.key} in {_places(missing)} nothing is known, or nothing that is new enough, as "
            raise RefusedError(UNKNOWN, why + ", ".join(names)[:1000])
        return rows

    def _question(self, payload: Any, brought: Mapping[str, list[Any]], asked: Sequence[Column], rows: Rows) -> Filled:
        at = {each.name: number for number, each in enumerate(asked)}

        def value(column: Column, row: int) -> Any:
            if column.name in brought:
                return brought[column.name][row]
            found = rows[row][at[column.name]]
            return column.default if found is None else found

        data = [value(column, row) for row in range(len(rows)) for column in self.wanted.columns]
        kind = _datatype(self.wanted.columns)
        made = kserve.InferInput("input-0", [len(rows), len(self.wanted.columns)], kind, data=data)
        question = Filled(payload.model_name, [made], payload.id, parameters=payload.parameters)
        if self._source is not None and self._source.missing == DEFAULT:
            question.known = [None not in row for row in rows]
        return question


def marked(answer: Any, known: Sequence[bool]) -> None:
    """Which rows were answered with a default."""
    answer.outputs.append(kserve.InferOutput(KNOWN, [len(known)], "BOOL", data=list(known)))
    answer.parameters = {**(answer.parameters or {}), DEFAULTS: known.count(False)}


def _datatype(columns: Sequence[Column]) -> str:
    kinds = {each.type for each in columns}
    if kinds == {TEXT}:
        return "BYTES"
    return {frozenset({declared.INT}): "INT64", frozenset({FLAG}): "BOOL"}.get(frozenset(kinds), "FP64")


def _values(given: Any) -> list[Any]:
    """Of an input, one after the other, as the question has them: numpy would make 1 of 1.5."""
    try:
        data = given.as_numpy() if given.data is None else importlib.import_module("numpy").array(given.data, object)
        found = data.ravel().tolist()
    except (ValueError, TypeError, AttributeError, LookupError):
        raise InvalidInput(f"{given.name}: its data is not of its shape and datatype") from None
    return [each.decode("utf-8", "replace") if isinstance(each, bytes) else each for each in found]


def _places(rows: Sequence[int]) -> str:
    shown = ", ".join(str(each) for each in rows[:SHOWN])
    return f"row {shown}{', ...' if len(rows) > SHOWN else ''}"


def looking(folder: Path, source: Source | None, model: str, version: str) -> Looking | None:
    """Of a version's folder; None: it asks for nothing. Raises DeclarationError."""
    file = folder / declared.FILE
    if not file.is_file():
        return None
    return Looking(declared.read(file.read_bytes()), source, model, version)
