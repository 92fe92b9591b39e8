"""A pod waits until it is let in, on real sockets."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from types import SimpleNamespace

import pytest

from components.kit.probing import Endpoint
from validate.pod import admission, targets


@pytest.fixture
def bound() -> Iterator[socket.socket]:
    """A port that is taken and does not listen: connections to it are refused."""
    with closing(socket.socket()) as found:
        found.bind(("127.0.0.1", 0))
        yield found


def told(
    doors: list[socket.socket], deadline: float, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> dict[str, object]:
    address = ",".join(f"127.0.0.1:{d.getsockname()[1]}" for d in doors)
    endpoints = (Endpoint("tcp", address),)
    monkeypatch.setattr(targets, "target", lambda _: SimpleNamespace(endpoints=endpoints))
    admission.wait(["web"], deadline)
    found: dict[str, object] = json.loads(capsys.readouterr().out)
    return found


def test_it_goes_on_as_soon_as_it_is_let_in(
    bound: socket.socket, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    waits: list[float] = []

    def pause(seconds: float) -> None:
        waits.append(seconds)
        bound.listen()

    monkeypatch.setattr(time, "sleep", pause)
    found = told([bound], 20, monkeypatch, capsys)
    assert found["shut"] == []
    assert waits == [admission.EVERY]


def test_what_stays_shut_is_named(
    bound: socket.socket, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        found = told([listening, bound], 0.5, monkeypatch, capsys)
    port = bound.getsockname()[1]
    assert str(found["shut"]).startswith(f"['127.0.0.1:{port}: ConnectionRefusedError")
