"""What the controlling machine may ask of the story's pod: one verb, one JSON object in, one out."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable
from typing import Any

from validate.pod.smoke import emit
from validate.pod.story import answers, features, registry
from validate.pod.story.records import Story

Fields = dict[str, Any]
ROOM, ENGINE = "room", "engine"  # a room did not do what it promises; or we did not do what we meant to do

VERBS: dict[str, Callable[[Story, Fields], Any]] = {
    "send": lambda story, wish: features.send(story, wish["delivery"]),
    "look": lambda story, wish: features.look(story, **wish),
    "registered": lambda _, wish: registry.registered(wish["problem"], wish["of_run"]),
    "ask": lambda story, wish: answers.ask(story, wish["release"], wish["by"], wish["when"]),
    "exchange": lambda story, wish: answers.exchange(story, wish["release"], wish["old"]),
    "tell": lambda story, wish: answers.tell(story, wish["release"], wish["when"], wish["actual"]),
    "trace": lambda _, wish: registry.trace(wish["release"], wish["answered"]),
    "forget_features": lambda story, _: features.forget(story),
    "served": lambda _, wish: registry.served(wish["release"]),
    "forget_questions": lambda story, wish: {"left": answers.forget(story, wish["release"], wish["whens"])},
    "forget_runs": lambda _, wish: {"left": registry.forget(wish["problem"], wish["runs"])},
}


def main(verb: str, wish: str) -> None:
    """`python3 -m validate.pod story --act VERB --wish JSON`."""
    given, begin = json.loads(wish), time.monotonic()
    told: Fields = {"kind": "story", "verb": verb}
    try:
        told["found"] = VERBS[verb](Story(**given.pop("story")), given)
    except Exception as error:  # noqa: BLE001  the controlling machine must learn of it
        told |= {"failed": f"{type(error).__name__}: {error}"[:800], "whose": ROOM if _of_a_room(error) else ENGINE}
    emit(told | {"seconds": round(time.monotonic() - begin, 3)})


def _of_a_room(error: BaseException) -> bool:
    """What a client, or the system, says of connections; and a no."""
    if isinstance(error, OSError):
        return not isinstance(error, FileNotFoundError)
    client = type(error).__module__.partition(".")[0] in ("confluent_kafka", "cimpl")
    return client or isinstance(error, http.client.HTTPException) or type(error).__name__ == "RefusedError"
