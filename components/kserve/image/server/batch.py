"""Answers many questions at once: `batch.py WISH`, where the wish is JSON (wished.py).

It reads questions in an order that stays, asks the model in this process as its server would (asking.py), and writes
the answers in chunks, each with how far it is. A job that was killed and is begun again goes on after the last chunk
that is whole: the end is the same, and what was written is not written again. The manifest is written last.

What it did is the last line that it prints, and its container's message. It ends with 0; with 2 where to try again
would not help; with 3 where not one row could be answered; with anything else where it would.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import psycopg
from minio.error import S3Error

from components.kserve.image.server import fetch, stores
from components.kserve.image.server.asking import Model
from components.kserve.image.server.batching import all_answered
from components.kserve.image.server.sources import source
from components.kserve.image.server.stores import BatchError
from components.kserve.image.server.targets import target
from components.kserve.image.server.wished import NOTHING, REFUSED, TABLE, Wish, place, read

DONE = 0
#: What the store says of a wish that it will never meet.
NEVER = ("AccessDenied", "NoSuchBucket", "InvalidBucketName")
MESSAGE = "/dev/termination-log"


def wanted(text: str) -> Wish:
    """The wish. Raises BatchError with every mistake."""
    try:
        return read(text)
    except ValueError as error:
        raise BatchError(str(error)) from None


def run(wish: Wish) -> dict[str, Any]:
    """All of it."""
    with ExitStack() as stack:
        # Two: what is read stands open while a chunk is written.
        links = [
            stack.enter_context(stores.database()) if place(each).kind == TABLE else None
            for each in (wish.source, wish.target)
        ]
        store = stores.store()

        def model() -> Model:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            fetch.fetch(store, f"s3://{wish.bucket}/{wish.digest.replace(':', '/')}", folder)
            try:
                return Model(folder, wish.model, wish.floor, texts=wish.texts)
            except Exception as error:
                raise BatchError(f"{wish.digest} can't be read: {error}") from error

        return all_answered(wish, model, source(wish, store, links[0]), target(wish.target, store, links[1]))


def leave(told: dict[str, Any]) -> None:
    """Where the cluster finds it after the container has ended; a message has 4096 bytes."""
    text = json.dumps(told)
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
    with suppress(OSError):
        Path(os.environ.get("BATCH_MESSAGE", MESSAGE)).write_text(text[:4096], encoding="utf-8")


def hopeless(error: Exception) -> bool:
    """Whether to try again would end in the same way."""
    if isinstance(error, S3Error):
        return error.code in NEVER
    return isinstance(error, BatchError | fetch.FetchError | psycopg.ProgrammingError)


def main(arguments: list[str]) -> int:
    """One batch."""
    try:
        told = run(wanted(arguments[0]))
    except Exception as error:
        known = isinstance(error, BatchError | fetch.FetchError)
        text = str(error) if known else f"{type(error).__name__}: {' '.join(str(error).split())}"
        leave({"error": text[:3000]})
        if not hopeless(error):
            raise
        return REFUSED
    leave(told)
    return NOTHING if told["rows"] and told["refused"] == told["rows"] else DONE


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
