"""What a batch is asked for: which model, questions from where, answers to where. Pure, the standard library alone.

Who prints the job and the job itself read the same wish, and refuse the same ones.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

S3, TABLE = "s3", "table"
PLACES = "s3://<bucket>/<folder>, table:<name> or table:<schema>.<name>"
MODEL = re.compile(r"[a-z]([a-z0-9-]{0,38}[a-z0-9])?")
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_PART = r"[A-Za-z0-9_=][A-Za-z0-9._=-]{0,99}"
_S3 = re.compile(rf"s3://([a-z0-9][a-z0-9.-]{{1,61}}[a-z0-9])/({_PART}(?:/{_PART}){{0,9}})/?")
_NAME = r"[a-z_][a-z0-9_]{0,39}"
_TABLE = re.compile(rf"table:((?:{_NAME}\.)?{_NAME})")
MOST_COLUMNS, MOST_LETTERS = 1000, 100
MOST_ROWS = 100_000  # of a chunk
#: How a batch ends where to try again would not help, and where not one row could be answered.
REFUSED, NOTHING = 2, 3


@dataclass(frozen=True)
class Place:
    """Where questions or answers lie. `name`: the table, or the folder with a slash behind it."""

    kind: str
    bucket: str
    name: str


def place(text: str) -> Place:
    """Raises ValueError."""
    if found := _S3.fullmatch(text):
        return Place(S3, found[1], f"{found[2]}/")
    if found := _TABLE.fullmatch(text):
        return Place(TABLE, "", found[1])
    raise ValueError(f"{text[:200]!r}; allowed: {PLACES}")


@dataclass(frozen=True)
class Wish:
    """One batch. Without `columns` all but the key are asked, in the order in which the first file, or the table, has
    them. With `texts` the one column is text; else all are numbers. `chunk`: rows that are answered and written at
    once."""

    model: str
    digest: str
    source: str
    target: str
    key: str = "id"
    columns: tuple[str, ...] = ()
    texts: bool = False
    floor: float | None = None
    chunk: int = 10_000
    bucket: str = "models"

    def text(self) -> str:
        """As the job gets it; the same wish is the same text."""
        return json.dumps(asdict(self), sort_keys=True)


def read(text: str) -> Wish:
    """What a job was given. Raises ValueError with every mistake."""
    try:
        told: dict[str, Any] = json.loads(text)
        found = Wish(**{**told, "columns": tuple(told.get("columns", ()))})
        mistakes = list(wrong(found))
    except (TypeError, AttributeError) as error:
        raise ValueError(f"no wish: {error}") from None
    if mistakes:
        raise ValueError("\n".join(mistakes))
    return found


def wrong(wish: Wish) -> Iterator[str]:
    """Every mistake: what is wrong, what was seen, what is allowed."""
    if not MODEL.fullmatch(wish.model):
        yield f"model is {wish.model[:200]!r}; allowed: 1 to 40 lower-case letters, digits and -, a letter first"
    if not DIGEST.fullmatch(wish.digest):
        yield f"version is {wish.digest[:200]!r}; allowed: sha256:<64 hexadecimal digits>"
    yield from _wrong_places(wish)
    yield from _wrong_columns(wish)
    if wish.floor is not None and not 0 <= wish.floor <= 1:  # NaN, too
        yield f"floor is {wish.floor}; allowed: 0 to 1, or none"
    if not 1 <= wish.chunk <= MOST_ROWS:
        yield f"chunk is {wish.chunk}; allowed: 1 to {MOST_ROWS} rows"


def _wrong_places(wish: Wish) -> Iterator[str]:
    found = []
    for what, text in (("from", wish.source), ("to", wish.target)):
        try:
            found.append(place(text))
        except ValueError as error:
            yield f"{what} is {error}"
    if len(found) < 2 or found[0].kind != found[1].kind:
        return
    one, other = found
    if one.kind == TABLE and one.name == other.name:
        yield f"from and to are both {wish.source}; allowed: two tables"
    inside = one.name.startswith(other.name) or other.name.startswith(one.name)
    if one.kind == S3 and one.bucket == other.bucket and inside:
        yield f"from is {wish.source} and to is {wish.target}; allowed: two folders, none within the other"


def _wrong_columns(wish: Wish) -> Iterator[str]:
    for what, name in (("key", wish.key), *(("columns", each) for each in wish.columns)):
        if not name or len(name) > MOST_LETTERS or not name.isprintable():
            yield f"{what} has {name[:200]!r}; allowed: 1 to {MOST_LETTERS} printable letters"
    if twice := sorted({each for each in wish.columns if wish.columns.count(each) > 1}):
        yield f"columns has {', '.join(twice)} more than once"
    if wish.key in wish.columns:
        yield f"columns has the key {wish.key!r}; the model is not asked about the key"
    if len(wish.columns) > MOST_COLUMNS:
        yield f"columns are {len(wish.columns)}; allowed: at most {MOST_COLUMNS}"
    if wish.texts and len(wish.columns) > 1:
        yield f"columns are {', '.join(wish.columns)} with texts; allowed: one column of texts"
