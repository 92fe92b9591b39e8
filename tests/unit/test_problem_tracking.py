"""How a step asks MLflow: again while it is away, and never on after a no. The whole conversation was tried against a
real server; this one only answers."""

from __future__ import annotations

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest

from problems import asking, tracking
from problems.asking import AskedError
from problems.tracking import Mlflow


class Answering(BaseHTTPRequestHandler):
    """Gives what it was told to give, one after the other."""

    answers: list[tuple[int, bytes]]
    asked: int

    def do_POST(self) -> None:
        """One answer, the last one again and again."""
        type(self).asked += 1
        self.rfile.read(int(self.headers["Content-Length"]))
        status, body = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        self.send_response(status)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Mlflow]:
    monkeypatch.setattr(asking, "PAUSE_S", 0)
    Answering.asked = 0
    with HTTPServer(("127.0.0.1", 0), Answering) as listening:
        Thread(target=listening.serve_forever, args=(0.01,), daemon=True).start()
        yield Mlflow(f"http://127.0.0.1:{listening.server_port}")
        listening.shutdown()


def test_it_asks_again_while_the_database_changes_its_primary(server: Mlflow) -> None:
    Answering.answers = [(503, b"{}"), (503, b"{}"), (200, b'{"run": 1}')]
    assert server.post("runs/create") == {"run": 1}
    assert Answering.asked == 3


def test_a_server_that_stays_away_is_told_and_not_asked_for_ever(server: Mlflow) -> None:
    Answering.answers = [(503, b"down")]
    with pytest.raises(AskedError, match="503 down"):
        server.post("runs/create")
    assert Answering.asked == asking.TRIES


def test_an_answer_that_is_no_object_is_told_too(server: Mlflow) -> None:
    Answering.answers = [(404, b'"nothing is here"')]
    with pytest.raises(AskedError, match="nothing is here") as caught:
        server.post("runs/create")
    assert caught.value.code == ""


def test_a_no_is_not_asked_again(server: Mlflow) -> None:
    Answering.answers = [(400, b'{"error_code": "RESOURCE_ALREADY_EXISTS"}')]
    with pytest.raises(AskedError) as caught:
        server.post("experiments/create")
    assert (caught.value.code, Answering.asked) == (tracking.TAKEN, 1)


def test_nobody_is_told_where_no_server_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(tracking.URI, raising=False)
    assert tracking.from_environment() is None
