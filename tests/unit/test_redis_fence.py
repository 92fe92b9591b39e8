"""A retry on a new connection finds its write done; something of its own has to be waited for."""

from __future__ import annotations

from typing import Any

import pytest

from components.redis import probe


class Pipe:
    """Notes what is asked of the server, in order."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []

    def __enter__(self) -> Pipe:
        return self

    def __exit__(self, *_: object) -> None:
        return

    def __getattr__(self, verb: str) -> Any:
        return lambda *words, **_: self.asked.append((verb, *words))

    def execute(self) -> list[int]:
        return [1 for _ in self.asked]


class Connection:
    def __init__(self) -> None:
        self.pipe = Pipe()

    def pipeline(self, *, transaction: bool) -> Pipe:
        assert not transaction
        return self.pipe


@pytest.mark.parametrize("newest", ["", "probe:newest:run"])
def test_what_always_changes_stands_between_the_write_and_wait(newest: str) -> None:
    made = Connection()
    probe.add_fenced(made, "probe:fence", "probe:audit:run", "run-0-1", newest)
    verbs = [asked[0] for asked in made.pipe.asked]
    assert verbs[0] == "sadd" and verbs[-2:] == ["set", "execute_command"]
    assert made.pipe.asked[-2][:2] == ("set", "probe:fence")
    assert made.pipe.asked[-1] == ("execute_command", "WAIT", 1, 500)
