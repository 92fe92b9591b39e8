"""The user of the model: asks over HTTP, goes on asking while models are exchanged, asks badly."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from validate.pod.integration import badinput
from validate.pod.integration.serving import PATH
from validate.pod.waiting import LateError, wait

ANSWER_SECONDS, EXCHANGE_SECONDS = 10.0, 30.0
EVERY = 0.02  # seconds between questions during an exchange
AT_ONCE = 500  # instances in a question


class NoAnswerError(ConnectionError):
    """A good question was not answered with 200."""


def ask(port: int, question: dict[str, Any]) -> dict[str, Any]:
    """One question, one connection. Raises NoAnswerError for any status but 200, and OSError."""
    status, answer = badinput.send(port, badinput.post(f"{PATH}:predict", json.dumps(question)))
    if status != 200:
        raise NoAnswerError(f"{status}: {answer[:200]!r}")
    found: dict[str, Any] = json.loads(answer)
    return found


def state(port: int) -> dict[str, Any]:
    """What the server says of itself. Raises OSError."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER_SECONDS)
    try:
        connection.request("GET", PATH)
        found: dict[str, Any] = json.loads(connection.getresponse().read())
        return found
    finally:
        connection.close()


def ask_all(port: int, kind: str, wanted: Sequence[Any]) -> dict[str, Any]:
    """Answers to all, and the digests of the models that gave them."""
    answers: list[float] = []
    models: set[str] = set()
    for start in range(0, len(wanted), AT_ONCE):
        found = ask(port, {kind: list(wanted[start : start + AT_ONCE])})
        answers += found["predictions"]
        models.add(str(found["model"]))
    return {"answers": answers, "models": sorted(models)}


@dataclass
class Traffic:
    """Questions of a user who knows nothing of an exchange."""

    port: int
    question: dict[str, Any]
    asked: int = 0
    failed: list[str] = field(default_factory=list)
    models: list[str] = field(default_factory=list)  # in order, without repetition
    _stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        while not self._stop.is_set():
            self.asked += 1
            try:
                model = str(ask(self.port, self.question)["model"])
                if self.models[-1:] != [model]:
                    self.models.append(model)
            except (OSError, ValueError, http.client.HTTPException) as error:
                self.failed.append(f"{type(error).__name__}: {error}")
            self._stop.wait(EVERY)

    def stop(self) -> None:
        self._stop.set()


def exchange(port: int, promote: Callable[[], object], model: str, instance: list[float]) -> dict[str, Any]:
    """Promotes a model under traffic and waits until it answers, or until the deadline."""
    traffic = Traffic(port, {"instances": [instance]})
    thread = threading.Thread(target=traffic.run, daemon=True)
    thread.start()
    _until(lambda: traffic.asked >= 5, ANSWER_SECONDS)  # in flight before, too
    begin = time.monotonic()
    promote()
    taken = _until(lambda: model in traffic.models, EXCHANGE_SECONDS)
    seconds = time.monotonic() - begin
    enough = traffic.asked + 10
    _until(lambda: traffic.asked >= enough, ANSWER_SECONDS)
    traffic.stop()
    thread.join(ANSWER_SECONDS * 2)
    return {
        "wanted": model,
        "taken": taken,
        "seconds": round(seconds, 3),
        "asked": traffic.asked,
        "failed": len(traffic.failed),
        "failures": traffic.failed[:5],
        "models": traffic.models,
        "state": state(port),
    }


def _until(reached: Callable[[], bool], seconds: float) -> bool:
    try:
        return wait(lambda: reached() or None, timeout=seconds, every=EVERY)
    except LateError:
        return False


def ask_badly(port: int, good: list[list[float]]) -> dict[str, Any]:
    """Each bad question once, and after each a good one, which must be answered as before."""
    before = ask(port, {"instances": good})
    told: list[dict[str, Any]] = []
    for case in badinput.cases(good[0]):
        entry: dict[str, Any] = {"case": case.name, "allowed": list(case.allowed)}
        try:
            status, _ = badinput.send(port, case.raw)
            entry["status"] = status
        except OSError as error:
            entry["status"], entry["error"] = badinput.HUNG_UP, f"{type(error).__name__}: {error}"
        try:
            entry["good_after"] = ask(port, {"instances": good}) == before
        except (OSError, ValueError) as error:
            entry["good_after"], entry["error"] = False, f"{type(error).__name__}: {error}"
        told.append(entry)
    return {"cases": told}
