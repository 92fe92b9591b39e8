"""What a model server keeps of its answers, and how two versions' are compared."""

from __future__ import annotations

import asyncio
from hashlib import blake2b
from typing import Any

import numpy as np
import pytest

from components.kserve.image.server import answers
from components.kserve.image.server.answers import ASKED, PATH, Answers, Marked, alike, read, said
from components.kserve.image.server.pages import Page
from components.models.judge.pairs import WAITING, Halves
from components.models.judge.reading import LARGEST
from components.models.judge.tally import Pairs

INFER = "/v2/models/iris/infer"


def asked(made: Answers, body: list[bytes], name: bytes = b"", path: str = INFER, query: bytes = b"") -> list[Any]:
    """One request through the middleware to a server that answers the number of its question's bytes."""
    sent: list[Any] = []
    parts = [{"type": "http.request", "body": each, "more_body": n + 1 < len(body)} for n, each in enumerate(body)]

    async def app(scope: Any, receive: Any, send: Any) -> None:
        size = 0
        while True:
            message = await receive()
            size += len(message["body"])
            if not message["more_body"]:
                break
        made.note([size])
        await send({"type": "http.response.body", "body": b"%d" % size})

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return parts.pop(0)

    head = [(b"x-request-id", name)] if name else []
    method = "GET" if path == PATH else "POST"
    scope = {"type": "http", "method": method, "path": path, "headers": head, "query_string": query}
    asyncio.run(Page(Marked(app), PATH, made.page)(scope, receive, send))
    return sent


def page(made: Answers, since: str = "") -> tuple[str, dict[str, str]]:
    head, body = asked(made, [], path=PATH, query=f"since={since}".encode())
    assert head["status"] == 200
    return read(body["body"].decode())


def test_the_same_question_under_the_same_id_is_the_same_mark_however_it_came() -> None:
    one, other = Answers(), Answers()
    stands = [page(each)[0] for each in (one, other)]
    assert asked(one, [b"abc", b"def"], b"id-1")[0]["body"] == b"6"
    asked(other, [b"abcdef"], b"id-1")
    asked(other, [b"abcdef"], b"id-2")
    asked(other, [b"abcdeF"], b"id-1")
    first, second = (page(made, stand)[1] for made, stand in zip((one, other), stands, strict=True))
    assert len(first) == 1 and len(second) == 3
    (mark,) = first.keys() & second.keys()
    assert first[mark] == second[mark]


def test_a_question_without_an_id_is_answered_and_not_kept() -> None:
    made = Answers()
    stand = page(made)[0]
    assert asked(made, [b"abc"])[0]["body"] == b"3"
    assert page(made, stand) == (stand, {})


def test_who_asks_first_or_asks_a_server_that_began_anew_is_told_only_where_it_stands() -> None:
    made, again = Answers(), Answers()
    asked(made, [b"abc"], b"id-1")
    stand, told = page(made)
    assert (told, len(page(made, f"{stand.partition('.')[0]}.0")[1])) == ({}, 1)
    asked(again, [b"abc"], b"id-2")
    for since in (stand, "", ".", "x.y", "0.0", f"{stand.partition('.')[0]}.-1"):
        assert page(again, since)[1] == {}


def test_only_the_last_ones_are_kept_and_each_is_shown_once() -> None:
    made = Answers(kept=10)
    stand = page(made)[0]
    for number in range(25):
        asked(made, [b"abc"], b"id-%d" % number)
    stand, told = page(made, stand)
    assert (stand.partition(".")[2], len(told)) == ("25", 10)
    assert page(made, stand)[1] == {}


def test_a_whole_page_is_smaller_than_what_is_read() -> None:
    made = Answers()
    stand = made.page("").strip()
    ASKED.set(blake2b(b"x", digest_size=8))
    for _ in range(answers.KEPT):
        made.note(np.full(9999, -1.23456e-100))
    text = made.page(stand)
    assert answers.KEPT * 16 < len(text) < LARGEST
    assert len(read(text)[1]) == 1


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (np.array([1, 0]), np.array([1, 0]), True),
        (np.array([1, 0]), [1, 0], True),
        (np.array([1, 0]), np.array([1, 0], dtype=np.int32), True),
        (np.array([1, 0]), np.array([0, 1]), False),
        (np.array(["yes"]), np.array(["yes"], dtype=object), True),
        (np.array(["yes"]), np.array(["no"]), False),
        (np.array([True]), np.array([False]), False),
        (np.array([1]), np.array([1.0]), False),
        (np.array([1.0]), np.array([1.04]), True),
        (np.array([1.0]), np.array([1.06]), False),
        (np.array([0.0]), np.array([0.0]), True),
        (np.array([1.5e-300, 0.0001234567, 123456.7]), np.array([1.5e-300, 0.0001234567, 123456.7]), True),
        (np.array([-2.0, 1e20]), np.array([-2.01, 1.01e20]), True),
        (np.array([2.0]), np.array([-2.0]), False),
        (np.array([1.0]), np.array([1.0, 1.0]), False),
        (np.array([1.0] * 20), np.array([1.0] * 8 + [9.0] * 12), True),
    ],
)
def test_labels_are_the_same_or_not_and_numbers_may_differ_a_little(one: Any, other: Any, same: bool) -> None:
    found = [said(each) for each in (one, other)]
    assert alike(found[0], found[1], 0.05) is alike(found[1], found[0], 0.05) is same
    for each in found:
        read(f"0123abcd.1\n0123456789abcdef {each}\n")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<html>",
        "0123abcd\n",
        "0123abcd.1\nabc n1:1\n",
        "0123abcd.1\n0123456789abcdef n1:nan\n",
        "0123abcd.1\n0123456789abcdef n1:e\n",
        "0123abcd.1\n0123456789abcdef n1:1.2.3\n",
        "0123abcd.1\n0123456789abcdef <script>\n",
        "0123abcd.1\n0123456789abcdef l0123456789ab",
    ],
)
def test_a_page_that_is_none_is_no_evidence(text: str) -> None:
    with pytest.raises(ValueError, match=r"stands|no answer"):
        read(text)


def test_halves_find_each_other_whenever_they_come_and_once() -> None:
    halves = Halves(0.05)
    assert halves.paired({"a": "l1", "b": "l1"}, {"a": "l1", "c": "l1"}) == Pairs(1, 0)
    assert halves.paired({"c": "l2"}, {"b": "l1"}) == Pairs(2, 1)
    assert halves.paired({"a": "l1"}, {}) == Pairs(0, 0)
    many = {f"{number:016x}": "l1" for number in range(WAITING + 5)}
    halves.paired(many, {})
    # The oldest ones were given up.
    assert halves.paired({}, many) == Pairs(WAITING, 0)
