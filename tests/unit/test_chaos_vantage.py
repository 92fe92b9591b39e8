"""A look goes on, and is told, when the way of the command is cut while it lasts."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from validate.core.errors import ClusterError, SilentError
from validate.ground.local import LocalClient
from validate.suites.chaos import vantage
from validate.suites.chaos.vantage import ClientVantage


@dataclass(frozen=True)
class CutClient(LocalClient):
    """Its first answers get lost, as those of an exec through a host that is cut off."""

    lost: list[str] = field(default_factory=lambda: [vantage.FETCH, vantage.FETCH])

    def run(self, *command: str, timeout: float = 20.0, stdin: bytes | None = None) -> str:
        for part in command:
            if part in self.lost:
                self.lost.remove(part)
                raise SilentError("exec", "i/o timeout")
        return super().run(*command, timeout=timeout, stdin=stdin)


@pytest.fixture
def server() -> Iterator[tuple[str, int]]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[:2]


def series(point: tuple[str, int]) -> dict[str, object]:
    return {
        "kind": "series",
        "host": point[0],
        "port": point[1],
        "prompt": "connect",
        "seconds": 1.0,
        "every": 0.2,
        "timeout": 0.5,
    }


def test_an_answer_that_was_lost_is_fetched_again(
    tmp_path: Path, server: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vantage, "LONG", 0.5)
    client = CutClient("client", tmp_path, ())
    (found,) = ClientVantage(client).look([series(server)], 20)
    assert client.lost == []
    assert {tried["outcome"] for tried in found["tries"]} == {"open"}


def test_a_look_that_fails_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vantage, "LONG", 0.5)
    monkeypatch.setattr(vantage, "text", lambda _: "import nothing_of_that_name")
    with pytest.raises(ClusterError, match="nothing_of_that_name"):
        ClientVantage(LocalClient("client", tmp_path, ())).look([{"seconds": 1.0}], 20)
