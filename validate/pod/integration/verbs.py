"""What the controlling machine may ask of a pod: one verb, one JSON object in, one out."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from validate.pod import targets
from validate.pod.integration import asking, pipeline, records, registry, serving
from validate.pod.integration.ports import MissingError, Stores
from validate.pod.smoke import emit

Fields = dict[str, Any]
STORE = "store"  # a store did not do what it promises to do
ENGINE = "engine"  # we did not do what we meant to do
START_SECONDS = 40.0


@dataclass(frozen=True)
class Place:
    """Where a verb runs: the stores that it was given, and a folder of its own."""

    stores: Stores
    folder: Path


def load(at: Place, wish: Fields) -> Fields:
    """A delivery goes its way; wish: run, delivery (fields of records.Delivery), rate."""
    delivery = records.Delivery(**wish["delivery"])
    return pipeline.flow(at.stores, wish["run"], delivery, wish["rate"])


def look_back(at: Place, wish: Fields) -> Fields:
    return pipeline.look_back(at.stores, wish["run"], wish["mode"])


def publish(at: Place, wish: Fields) -> Fields:
    return pipeline.publish(at.stores, wish["run"], wish["window"])


def train(at: Place, wish: Fields) -> Fields:
    assert at.stores.objects is not None
    return registry.train(
        at.stores.objects,
        wish["run"],
        wish["data"],
        wish["seed"],
        pipeline.asked(wish["question_seed"], wish["per_segment"]),
    )


def promote(at: Place, wish: Fields) -> Fields:
    assert at.stores.objects is not None
    return registry.promote(at.stores.objects, wish["run"], wish["model"])


def start(at: Place, wish: Fields) -> Fields:
    """Starts the server as a process of its own and waits until it answers with this model."""
    with (at.folder / "serving.log").open("ab") as log:
        args = [sys.executable, "-m", "validate.pod", "integration", "--act", "serve", "--wish", json.dumps(wish)]
        process = subprocess.Popen(args, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
    end = time.monotonic() + START_SECONDS
    state: Fields = {}
    while time.monotonic() < end and process.poll() is None:
        try:
            state = asking.state(port(at))
            if state["model"] == wish["model"]:
                return state | {"pid": process.pid}
        except (OSError, ValueError):
            pass  # not listening yet
        time.sleep(0.2)  # between two looks under a deadline
    told = (at.folder / "serving.log").read_text(errors="replace")[-500:]
    raise RuntimeError(f"no answer by model {wish['model'][:12]}: {state} {told}")


def serve(at: Place, wish: Fields) -> Fields:
    """The server's process; ends when it is told to."""
    assert at.stores.objects is not None
    server = serving.Server(serving.Service(at.stores.objects, at.stores.online, wish["run"]))
    told = at.folder / ".server.json"
    told.write_text(json.dumps({"port": server.port, "pid": os.getpid()}))
    told.replace(at.folder / "server.json")
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    server.serve_forever()
    return {}


def stop(at: Place, wish: Fields) -> Fields:
    """Ends the server, if there is one."""
    path = at.folder / "server.json"
    if path.exists():
        try:
            os.kill(int(json.loads(path.read_text())["pid"]), signal.SIGTERM)
        except ProcessLookupError:
            return {"stopped": False, "why": "it was gone already"}
        path.unlink()
    return {"stopped": True}


def port(at: Place) -> int:
    """Raises OSError until the server listens."""
    return int(json.loads((at.folder / "server.json").read_text())["port"])


def ask(at: Place, wish: Fields) -> Fields:
    """The questions; with `machines`, those about machines by their online features."""
    if "machines" in wish:
        found = asking.ask_all(port(at), "machines", wish["machines"])
    else:
        x = pipeline.asked(wish["question_seed"], wish["per_segment"])
        found = asking.ask_all(port(at), "instances", x)
    return found | {"answers_digest": pipeline.answers_digest(found["answers"])}


def exchange(at: Place, wish: Fields) -> Fields:
    assert at.stores.objects is not None
    objects, run, model = at.stores.objects, wish["run"], wish["model"]
    question = pipeline.asked(wish["question_seed"], 1)[0]
    return asking.exchange(port(at), lambda: registry.promote(objects, run, model), model, question)


def ask_badly(at: Place, wish: Fields) -> Fields:
    good = pipeline.asked(wish["question_seed"], 2)
    before = json.loads((at.folder / "server.json").read_text())["pid"]
    found = asking.ask_badly(port(at), good)
    return found | {"alive": _alive(int(before))}


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def score(at: Place, wish: Fields) -> Fields:
    return pipeline.score(at.stores, wish["run"], wish["model"])


def trace(at: Place, wish: Fields) -> Fields:
    return pipeline.trace(at.stores, wish["run"], wish["model"])


def clean(at: Place, wish: Fields) -> Fields:
    """Everything of this suite; what a killed run left behind, too."""
    return pipeline.clean(at.stores, wish["run"])


VERBS: dict[str, Callable[[Place, Fields], Fields]] = {
    verb.__name__: verb
    for verb in (
        load,
        look_back,
        publish,
        train,
        promote,
        start,
        serve,
        stop,
        ask,
        exchange,
        ask_badly,
        score,
        trace,
        clean,
    )
}


def answer(verb: str, at: Callable[[], Place], wish: Fields) -> Fields:
    """The record that goes back; a failure says whose it is."""
    begin = time.monotonic()
    told: Fields = {"kind": "integration", "verb": verb}
    try:
        told["found"] = VERBS[verb](at(), wish)
    except Exception as error:  # noqa: BLE001  the controlling machine must learn of it
        told["failed"] = f"{type(error).__name__}: {error}"[:800]
        told["whose"] = STORE if _of_a_store(error) else ENGINE
        told["error"] = type(error).__name__
    return told | {"seconds": round(time.monotonic() - begin, 3)}


def _of_a_store(error: BaseException) -> bool:
    """The clients' errors, what the system says of connections, and an object that is gone."""
    modules = ("confluent_kafka", "cimpl", "psycopg", "minio", "urllib3", "redis")
    if isinstance(error, OSError):
        return not isinstance(error, (FileNotFoundError, PermissionError))
    if isinstance(error, MissingError):
        return True
    return type(error).__module__.partition(".")[0] in modules


def main(verb: str, wish: str) -> None:
    """`python3 -m validate.pod integration --act VERB --wish JSON`."""
    from validate.pod.integration.stores import open_stores

    folder = targets.WORK / "integration"
    folder.mkdir(exist_ok=True)
    emit(answer(verb, lambda: Place(open_stores(), folder), json.loads(wish)))
