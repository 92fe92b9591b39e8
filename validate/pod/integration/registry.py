"""Models in the object store: stored under their digest, one pointer says which is to answer."""

from __future__ import annotations

import json
from typing import Any

from validate.pod.integration import forest, pipeline
from validate.pod.integration.features import sha256, strict
from validate.pod.integration.ports import Objects


def train(objects: Objects, run: str, data: str, seed: int, questions: list[list[float]]) -> dict[str, Any]:
    """Trains on the data of this version, stores the model, and answers the questions itself.

    `data_seen` is computed from the bytes that the training was given.
    """
    from validate.pod.integration.training import fit

    raw = objects.get(pipeline.place(run, "data", f"{data}.jsonl"))
    found = fit(raw, run, seed)
    packed = found.dump()
    digest = sha256(packed)
    objects.put(pipeline.place(run, "models", f"{digest}.json"), packed)
    answers = [found.answer(x) for x in questions]
    return {
        "model": digest,
        "bytes": len(packed),
        "data_seen": sha256(raw),
        "rows_seen": raw.count(b"\n"),
        "training": found.training,
        "answers_digest": pipeline.answers_digest(answers),
        "answers": answers,
    }


def promote(objects: Objects, run: str, model: str) -> dict[str, Any]:
    """From now on this model is to answer."""
    objects.put(pointer(run), json.dumps({"model": model}).encode())
    return {"model": model}


def pointer(run: str) -> str:
    return pipeline.place(run, "models", "current")


def current(objects: Objects, run: str) -> str:
    """The digest of the model that is to answer. Raises MissingError when none was promoted."""
    return str(strict(objects.get(pointer(run)))["model"])


def fetch(objects: Objects, run: str, model: str) -> forest.Forest:
    """The model, if its bytes have the digest that it is named by. Raises BadModelError."""
    raw = objects.get(pipeline.place(run, "models", f"{model}.json"))
    if sha256(raw) != model:
        raise forest.BadModelError(f"the bytes under {model} have the digest {sha256(raw)}")
    return forest.load(raw)
