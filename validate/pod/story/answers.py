"""Questions through the gateway, with a token; and what the room outcomes has of them."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import quote

from components.kit.asking import json_request, places, request
from components.models import probe as models
from validate.pod import targets, waiting
from validate.pod.story.records import ASKED, FIRST, KEY, ROWS, Story

Fields = dict[str, Any]
BY_KEY, BY_FEATURES = "key", "features"
OK, BUSY = 200, (404, 503)  # a route that was just made; a feature store that was too late: its sender asks again
TRIES, PAUSE_S = 20, 0.5
TAKES_S, STAYS_S, EVERY_S = 240.0, 4.0, 0.2
COLLECTED_S = 60.0


def _asked(story: Story, by: str) -> Iterator[Fields]:
    """Each question, without its name. Who asks by features knows them from the generator."""
    found = list(story.values(ASKED, FIRST).items())
    for start in range(0, len(found), ROWS):
        part = found[start : start + ROWS]
        if by == BY_KEY:
            data: Fields = {"name": KEY, "shape": [len(part)], "datatype": "BYTES", "data": [key for key, _ in part]}
        else:
            rows = [float(value) for _, (number, share, _) in part for value in (number, share)]
            data = {"name": "x", "shape": [len(part), 2], "datatype": "FP64", "data": rows}
        yield {"inputs": [data]}


class Caller:
    """A client with a token, which is asked for anew before it is old."""

    YOUNG_S = 60.0

    def __init__(self, release: str) -> None:
        self._target, self._path = targets.target("models"), f"{models.PATHS}/{release}/infer"
        self._place = models.one(self._target, "inference")
        self._token, self._until = "", 0.0

    def ask(self, question: Fields) -> tuple[int, bytes]:
        """Status and answer. Raises OSError, http.client.HTTPException."""
        if time.monotonic() >= self._until:
            self._token, self._until = models.token(self._target), time.monotonic() + self.YOUNG_S
        heads = {"Content-Type": "application/json", "Authorization": f"Bearer {self._token}"}
        found = request(self._target, self._place, "POST", self._path, json.dumps(question).encode(), heads)
        return found.status, found.body


def ask(story: Story, release: str, by: str, when: str) -> Fields:
    """Every machine. `when`: the questions' names say so; "" leaves them without, so that nobody keeps them. Raises
    OSError for a question that is not answered."""
    caller, again = Caller(release), 0
    answers: list[int] = []
    versions: list[str] = []
    for number, question in enumerate(_asked(story, by)):
        if when:
            question["id"] = story.question(number, when)
        for left in reversed(range(TRIES)):
            status, said = caller.ask(question)
            if status == OK:
                break
            if status not in BUSY or not left:
                raise OSError(f"question {number} by {by}: {status} {said[:300].decode(errors='replace')}")
            again += 1
            time.sleep(PAUSE_S)  # between two tries, which are counted
        told = json.loads(said)
        answers += [int(each) for each in told["outputs"][0]["data"]]
        versions.append(str(told["model_version"]))
    return {"answers": answers, "versions": sorted(set(versions)), "asked_again": again}


def exchange(story: Story, release: str, old: str) -> Fields:
    """Asks without a pause until another version than `old` has answered alone for STAYS_S, or TAKES_S are over. What
    answered, in its order, and what did not. Questions bring their features: what is watched is the exchange."""
    caller, questions = Caller(release), list(_asked(story, BY_FEATURES))
    begin = time.monotonic()
    seen: list[str] = []
    failed: list[str] = []
    asked = 0
    since: float | None = None
    while (now := time.monotonic()) - begin < TAKES_S and (since is None or now - since < STAYS_S):
        try:
            status, said = caller.ask(questions[asked % len(questions)])
            version = str(json.loads(said)["model_version"]) if status == OK else ""
        except (OSError, http.client.HTTPException) as error:
            status, said, version = 0, repr(error).encode(), ""
        asked += 1
        if not version:
            failed.append(f"{now - begin:.1f} s: {status} {said[:120].decode(errors='replace')}")
        elif seen[-1:] != [version]:
            seen.append(version)
            since = None if version == old else now
        time.sleep(EVERY_S)  # the rhythm of the questions
    took = round(time.monotonic() - begin, 3)
    return {"versions": seen, "asked": asked, "failed": len(failed), "examples": failed[:5], "seconds": took}


def tell(story: Story, release: str, when: str, actual: Sequence[bool]) -> Fields:
    """What was true of each question of that time goes to the room outcomes; then what it has of each, and of the
    release as a whole."""
    target = targets.target("outcomes")
    place = places(target, "outcomes")[0]
    names = [story.question(number, when) for number in range(-(-len(actual) // ROWS))]
    told = [
        {"model": release, "id": name, "actual": [int(each) for each in actual[at * ROWS : (at + 1) * ROWS]]}
        for at, name in enumerate(names)
    ]
    status, said = json_request(target, place, "POST", "/outcomes", {"outcomes": told})
    if status != OK:
        raise OSError(f"outcomes: {status} {said[:300].decode(errors='replace')}")

    def collected() -> list[Fields] | None:
        found = [json.loads(json_request(target, place, "GET", _one(release, name))[1]) for name in names]
        return found if all(each["predictions"] and each["outcome"] for each in found) else None

    try:
        kept = waiting.wait(collected, timeout=COLLECTED_S, every=1.0, swallow=(OSError, ValueError))
    except waiting.LateError:
        kept = [json.loads(json_request(target, place, "GET", _one(release, name))[1]) for name in names]
    status, said = json_request(target, place, "GET", f"/report?model={quote(release)}&days=2")
    return {"kept": [_short(each) for each in kept], "figures": json.loads(said)["figures"]}


def _one(release: str, name: str) -> str:
    return f"/outcomes?model={quote(release)}&id={quote(name)}"


def _short(kept: Fields) -> Fields:
    predictions = kept["predictions"]
    return {
        "versions": sorted({str(each["version"]) for each in predictions}),
        "answers": predictions[-1]["answers"] if predictions else [],
        "actual": (kept["outcome"] or {}).get("actual", []),
    }


def forget(story: Story, release: str, whens: Sequence[str]) -> int:
    """How many questions are still known."""
    target = targets.target("outcomes")
    place = places(target, "outcomes")[0]
    names = [story.question(n, when) for when in whens for n in range(-(-story.count(ASKED) // ROWS))]
    for name in names:
        json_request(target, place, "DELETE", _one(release, name))
    found = [json.loads(json_request(target, place, "GET", _one(release, name))[1]) for name in names]
    return sum(bool(each["predictions"] or each["outcome"]) for each in found)
