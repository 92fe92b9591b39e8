"""Serves one model, or several, by the Open Inference Protocol, v2: REST, and gRPC where it has a port.

A model's folder holds `model.joblib`, `model.pkl`, `model.skops` or `model.onnx`, or what MLflow's flavours `sklearn`
and `onnx` save: then its file MLmodel says which file is the model (forms.py). Reading an estimator runs its code; the
pod has no token, no Secret but its reader's, and no way out but to the store.

A body that is too large is refused before it is read: 413. What is no question for this model is
400, with the reason. Each answer names the version of the model that gave it, and is counted at
/metrics; one that holds NaN, an infinite number or nothing is counted as invalid, too. The last ones
can be compared with another version's: answers.py, or, by the name of the question, with what turned out to be true:
predictions.py. What a version was trained with may lie beside it:
drift.py. With a floor a row of which the model is not sure enough keeps no label: floors.py. A version may be asked by
the key of an entity, whose features a store tells: lookups.py. A model that can't be served ends the server with one
line that says why.

Of several models (`--beside`) each answers by its own name and counts for itself. One that can't be served
answers 503 with the reason, and takes no other one with it; the server ends if there is none that can.
"""

from __future__ import annotations

import argparse
import gc
import logging
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import kserve
from fastapi import HTTPException
from fastapi.responses import JSONResponse
from kserve.errors import InvalidInput, ModelNotReady
from kserve.utils.numpy_codec import from_np_dtype
from kserve.utils.utils import get_predict_response
from prometheus_client import REGISTRY
from prometheus_client.core import Metric

from components.kserve.image.server.answers import PATH as COMPARED
from components.kserve.image.server.answers import Answers, Marked
from components.kserve.image.server.calls import Server
from components.kserve.image.server.counters import (
    Counted,
    Counters,
    Lookups,
    Started,
    alive_seconds,
    memory_limit,
    together,
    whole,
)
from components.kserve.image.server.declared import FILE, REFUSE, WAYS, DeclarationError
from components.kserve.image.server.drift import BadReferenceError, Drift, trained_with
from components.kserve.image.server.floors import FLOOR, NOT_SURE, SURE, Floor, FloorError, Held, share
from components.kserve.image.server.forms import FormError, Model, read
from components.kserve.image.server.graphs import GraphError
from components.kserve.image.server.lookups import (
    Filled,
    Looking,
    RefusedError,
    Source,
    Store,
    looking,
    marked,
    refused,
)
from components.kserve.image.server.pages import Page
from components.kserve.image.server.ports import Output, QuestionError
from components.kserve.image.server.predictions import PATH as PREDICTED
from components.kserve.image.server.predictions import Predictions

#: Of one question. A row of a hundred numbers is some 2 KiB.
LARGEST = 4 << 20
LOGIN = "/etc/apadana/features"  # of a pod whose release needs the feature store


class Shown:
    """The counters as Prometheus' library asks for them."""

    def __init__(self, models: Iterable[Served], started: Started) -> None:
        self._models, self._started = tuple(models), started

    def collect(self) -> Iterator[Any]:
        """All of them."""
        shown = [(model.counters, model.seen, model.looked) for model in self._models]
        counted = (family for same in zip(*shown, strict=True) for family in together(same))
        for family in (*counted, *self._started.families()):
            metric = Metric(family.name, family.about, family.kind)
            for name, labels, value in family.samples:
                metric.add_sample(name, labels, value)
            yield metric


class Limited:
    """Between the network and the server: what is larger than `most` bytes goes no further."""

    def __init__(self, app: Any, most: int = LARGEST) -> None:
        self._app, self._most = app, most

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """One request. Its length is told beforehand, or counted while it comes."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        told = dict(scope["headers"]).get(b"content-length", b"0")
        if int(told) > self._most:  # the server has refused what is no number
            await JSONResponse({"error": self._reason(int(told))}, 413)(scope, receive, send)
            return
        seen = 0

        async def counted() -> Any:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self._most:
                raise HTTPException(413, self._reason(seen))
            return message

        await self._app(scope, counted, send)

    def _reason(self, seen: int) -> str:
        return f"the question has {seen} bytes or more, {self._most} are allowed; ask for fewer rows at once"


class Served(kserve.Model):  # type: ignore[misc]  # it has no types
    """One model. `answers`: what is compared with another version's; `predictions`: with what turned out to be true;
    `least`: its floor, if it has one; `source`: who tells features."""

    def __init__(
        self,
        folder: Path,
        counters: Counters,
        answers: Answers | None,
        predictions: Predictions,
        least: float | None,
        source: Source | None = None,
    ) -> None:
        super().__init__(counters.model)
        self.counters, self._answers, self._least = counters, answers, least
        self._predictions = predictions
        self.seen = Drift(counters.model)
        self._folder, self._source = folder, source
        self._looking: Looking | None = None
        self.why = ""  # it can't be served
        self._model: Model | None = None
        self._floor: Floor | None = None

    def load(self) -> bool:
        """Read it; the server is not ready before."""
        self.seen = trained_with(self._folder, self.name)
        self._looking = looking(self._folder, self._source, self.name, self.counters.version)
        model = read(self._folder)
        if self._looking and (why := model.unfit(len(self._looking.wanted.columns))):
            raise DeclarationError(f"{FILE}: {why}")
        self._floor = None if self._least is None else Floor(model, self._least)
        self._model = model
        self.ready = True
        return self.ready

    def tried(self) -> Served:
        """The same, read or with the reason why it can't be: what reading it runs may raise anything."""
        try:
            self.load()
        except Exception as error:
            told = str(error).strip().splitlines() or [type(error).__name__]
            known = isinstance(error, FloorError | FormError | GraphError | BadReferenceError | DeclarationError)
            self.why = told[0] if known else f"{type(error).__name__}: {told[0]}"
            self.counters.ready = False
            logging.getLogger("kserve").exception("%s can't be served", self.name)
        return self

    @property
    def looked(self) -> Lookups:
        """What is counted of its look-ups."""
        return self._looking.counts if self._looking else Lookups()

    async def healthy(self) -> bool:
        """Whether it answers. Raises ModelNotReady with the reason: who asks gets a 503."""
        if not self.ready:
            raise ModelNotReady(self.name, self.why)
        if self._looking:
            await self._looking.warm()
        return True

    async def preprocess(self, payload: Any, headers: Any = None) -> Any:
        """The question with all columns of the model."""
        del headers
        return await self._looking.filled(payload) if self._looking else payload

    def get_input_types(self) -> list[dict[str, Any]]:
        """What a graph takes; an estimator does not say."""
        return self._model.metadata[0] if self._model else []

    def get_output_types(self) -> list[dict[str, Any]]:
        """What it answers, beside `sure`."""
        shown = None if self._floor is None else 1
        return self._model.metadata[1][:shown] if self._model else []

    def predict(self, payload: Any, headers: Any = None, response_headers: Any = None) -> Any:
        """One answer for each row. What the model can't take is the caller's mistake."""
        del headers, response_headers
        assert self._model is not None
        try:
            rows = self._model.rows(payload)
            outputs = self._model.answers(rows)
        except (ValueError, TypeError, LookupError, ArithmeticError) as error:
            told = (str(error).strip().splitlines() or ["no reason given"])[0]
            raise InvalidInput(
                told if isinstance(error, QuestionError) else f"{type(error).__name__}: {told}"
            ) from None
        answers = outputs[0].values
        self.seen.asked(self._model.measured(rows))
        self.seen.answered(answers)
        held = self._floor.held(answers, self._model.chances(rows, outputs)) if self._floor else None
        if not all(whole(each.values) for each in outputs):
            self.counters.invalid += 1
        else:
            kept = held.plain if held else answers
            if self._answers is not None:
                self._answers.note(kept)
            self._predictions.note(self.name, self.counters.version, getattr(payload, "id", None), kept)
        return self._told(payload, outputs) if held is None else self._held(payload, held, outputs[0])

    def _told(self, payload: Any, outputs: Sequence[Output]) -> Any:
        """v1 has room for one."""
        answer = get_predict_response(payload, texts(outputs[0].values), self.name)
        if isinstance(answer, kserve.InferResponse):
            if outputs[0].name:
                answer.outputs = [tensor(each) for each in outputs]
            answer.model_version = self.counters.version or None
            if isinstance(payload, Filled) and payload.known is not None:
                marked(answer, payload.known)
        return answer

    def _held(self, payload: Any, held: Held, first: Output) -> Any:
        """v1 has no types: there a row that is not sure is null. What a graph says more would tell the label."""
        self.counters.rows += len(held.sure)
        self.counters.not_sure += held.unsure
        answer = self._told(payload, [replace(first, values=held.plain if isinstance(payload, dict) else held.labels)])
        if isinstance(answer, kserve.InferResponse):
            answer.outputs.append(kserve.InferOutput(SURE, list(held.sure.shape), "BOOL", data=held.sure))
            answer.parameters = {**(answer.parameters or {}), FLOOR: self._least, NOT_SURE: held.unsure}
        return answer


def texts(answers: Any) -> Any:
    """KServe's library can't write texts of a fixed length."""
    return answers.astype(object) if getattr(getattr(answers, "dtype", None), "kind", "") == "U" else answers


def tensor(output: Output) -> Any:
    """One output by its own name."""
    values = texts(output.values)
    kind = from_np_dtype(values.dtype)
    return kserve.InferOutput(output.name, list(values.shape), kind, values, dict(output.parameters) or None)


def named(text: str) -> tuple[str, str]:
    """One model more: its name, which is its folder's, and its version. Raises ValueError."""
    name, equals, version = text.partition("=")
    if not (name and equals and version and "/" not in name and name not in (".", "..")):
        raise ValueError(f"{text}: allowed is NAME=VERSION")
    return name, version


def typed() -> argparse.Namespace:
    """This process's command line."""
    parser = argparse.ArgumentParser(parents=[kserve.model_server.parser])
    parser.add_argument("--model_dir", type=Path, required=True, help="of the model; with --beside of their folders")
    parser.add_argument("--model_version", default="", help="stands in every answer")
    parser.add_argument("--beside", type=named, action="append", default=[], help="NAME=VERSION of one model more")
    parser.add_argument("--floor", type=share, help="rows less sure than this, 0 to 1, keep no label")
    parser.add_argument("--features", default="", help="host:port of the feature store, for versions that need it")
    parser.add_argument("--features_login", type=Path, default=Path(LOGIN), help="folder of username, password, ca.crt")
    parser.add_argument("--features_ms", type=int, default=50, help="a look-up may take so long")
    parser.add_argument("--missing", choices=WAYS, default=REFUSE, help="what becomes of what nobody knows")
    parser.set_defaults(grpc_port=0, enable_latency_logging=False)
    return parser.parse_args()


def models(told: argparse.Namespace, answers: Answers, predictions: Predictions) -> list[Served]:
    """All that are asked for, each with its counters. The first one is the release's own, and compared alone."""
    made: list[Served] = []
    source = None
    if told.features:
        source = Source(Store(told.features, told.features_login, told.features_ms / 1000), told.missing)
    for name, version in ((told.model_name, told.model_version), *told.beside):
        counters = Counters(None if made else memory_limit(), name, version)
        folder = told.model_dir / name if told.beside else told.model_dir
        made.append(Served(folder, counters, None if made else answers, predictions, told.floor, source).tried())
    return made


def main() -> None:
    """One process."""
    imported = alive_seconds()
    told, answers, predictions = typed(), Answers(), Predictions()
    made = models(told, answers, predictions)
    started = Started(imported, alive_seconds() - imported)
    if not any(model.ready for model in made):
        # The last line of a container's log is what KServe, and so the release, says of it.
        sys.exit("; ".join(f"{model.name}: {model.why}" for model in made))
    REGISTRY.register(Shown(made, started))
    counters = {model.name: model.counters for model in made}
    server = Server(
        counters,
        told.grpc_port,
        LARGEST,
        http_port=told.http_port,
        workers=told.workers,
        enable_latency_logging=told.enable_latency_logging,
    )
    kserve.model_server.app.add_exception_handler(RefusedError, refused)
    # What is added last is asked first: what is refused as too large is counted, too.
    kserve.model_server.app.add_middleware(Marked)
    kserve.model_server.app.add_middleware(Page, path=COMPARED, text=answers.page)
    kserve.model_server.app.add_middleware(Page, path=PREDICTED, text=predictions.page)
    kserve.model_server.app.add_middleware(Limited)
    kserve.model_server.app.add_middleware(Counted, counters=counters)
    # A line or two for each answer would cost as much as the answer.
    for name in ("kserve.trace", "uvicorn.access"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for model in made:
        server.register_model(model)
    # The collector would go through libraries and model again and again, and whoever asks meanwhile would wait.
    gc.freeze()
    server.start([model for model in made if model.ready])


if __name__ == "__main__":
    main()
