"""Records go to Kafka as a client sends them; what became of them is asked of the feature store."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from components.feast import probe as feast
from components.kit.asking import json_request, places, required
from validate.pod import targets, waiting
from validate.pod.story.records import ASKED, FEATURES, KEY, LEARNT, VIEW, Story

Fields = dict[str, Any]
Rows = dict[str, list[Any]]
ARRIVES_S = 90.0  # until the last record is in both stores; the workers may give out their partitions anew meanwhile
FLUSH_S, TRIES = 60.0, 3


def send(story: Story, delivery: str) -> Fields:
    """As the contract of Kafka asks it of a producer. What was acknowledged, and what became of the rest."""
    from confluent_kafka import Producer

    from components.kafka import probe as kafka  # its client takes long to import

    target = targets.target("kafka")
    topic = required(targets.target("streaming"), "topic")
    producer = Producer(kafka.producer_config(target))
    refused: list[str] = []
    acknowledged = 0

    def told(error: object, _: object) -> None:
        nonlocal acknowledged
        acknowledged += error is None
        if error is not None:
            refused.append(str(error))

    begin, count = time.monotonic(), 0
    for key, record in story.sent(delivery, datetime.now(UTC).isoformat()):
        producer.produce(topic, json.dumps(record), key, on_delivery=told)
        producer.poll(0)
        count += 1
    producer.flush(FLUSH_S)
    took = round(time.monotonic() - begin, 3)
    return {"sent": count, "acknowledged": acknowledged, "refused": refused[:5], "seconds": took}


def look(story: Story, delivery: str, within: float = ARRIVES_S) -> Fields:
    """What the history and the online store have of each machine, and of the altered ones: once both have all that was
    sent, or when `within` (seconds) is over."""
    wanted = {key: list(values) for key, values in story.known(delivery).items()}
    begin, seen = time.monotonic(), Fields()

    def whole() -> Fields | None:
        seen.update(known([*wanted, *story.altered()]))
        there = all(seen[where].get(key) == row for where in ("offline", "online") for key, row in wanted.items())
        return seen if there else None

    try:
        waiting.wait(whole, timeout=within, every=0.5, swallow=(OSError, feast.RefusedError))
    except waiting.LateError:
        if not seen:
            raise
    return seen | {"seconds": round(time.monotonic() - begin, 3)}


def known(keys: Sequence[str]) -> dict[str, Rows]:
    """Of each key its features now, from the history and from the online store."""
    names = [f"{VIEW}:{name}" for name in FEATURES]
    moment = [datetime.now(UTC).isoformat()] * len(keys)

    def ask(api: feast.Api) -> dict[str, Rows]:
        asked = {"features": names, "entities": {KEY: list(keys), "event_time": moment}}
        rows = json.loads(api.send("POST", feast.HISTORY, asked))["rows"]
        offline = _by_key(keys, [rows[name] for name in FEATURES])
        columns: list[list[Any]] = [[] for _ in FEATURES]
        for start in range(0, len(keys), feast.AT_ONCE):
            question = {"features": names, "entities": {KEY: list(keys[start : start + feast.AT_ONCE])}}
            told = json.loads(api.send("POST", feast.QUESTION, question))
            for column, name in zip(columns, FEATURES, strict=True):
                column += told["results"][told["metadata"]["feature_names"].index(name)]["values"]
        return {"offline": offline, "online": _by_key(keys, columns)}

    return _of_any(ask)


def _by_key(keys: Sequence[str], columns: Sequence[Sequence[Any]]) -> Rows:
    return {key: list(row) for key, row in zip(keys, zip(*columns, strict=True), strict=True)}


def _of_any(ask: Callable[[feast.Api], dict[str, Rows]]) -> dict[str, Rows]:
    """Of the first replica that answers."""
    problem: Exception | None = None
    for api in feast.clients(targets.target("feast")):
        try:
            return ask(api)
        except (OSError, feast.RefusedError) as error:
            problem = error
        finally:
            api.close()
    raise ConnectionError(f"no replica of the feature store tells: {problem!r}") from problem


def forget(story: Story) -> Mapping[str, int]:
    """By the room streaming, which takes away what validators sent. How many machines are still known."""
    keys = [*story.keys(LEARNT), *story.keys(ASKED), *story.altered()]
    target, left = targets.target("streaming"), {"offline": keys, "online": keys}
    there = places(target, "streaming")
    for _ in range(TRIES):  # a store that was away is asked again
        for number, key in enumerate(sorted({*left["offline"], *left["online"]})):
            json_request(target, there[number % len(there)], "DELETE", f"/probe?entity={key}")
        left = {
            where: [key for key, row in rows.items() if any(value is not None for value in row)]
            for where, rows in known(keys).items()
        }
    return {where: len(found) for where, found in left.items()}
