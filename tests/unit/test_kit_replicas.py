"""Replicas behind one name are asked one by one; who leads is read from their metrics."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from components.kit import replicas
from components.kit.asking import Place
from components.kit.probing import Endpoint, Target


@pytest.mark.parametrize(
    ("page", "said"),
    [
        ("", None),
        ('held{name="x"} 1\n', True),
        ('held{name="x"} 1.0\n', True),
        ('held{name="x"} 0\n', False),
        ('held{name="x"} 0\nheld{name="y"} 1\n', True),
        ("# HELP x\nheld 1\n", True),
        ("# HELP held 1\nup 1\n", None),
        ('held{a="b"} 0\nheld_x 1\n', False),
    ],
)
def test_who_leads_is_read_from_the_numbers(page: str, said: bool | None) -> None:
    assert replicas.leads(page, "held") is said


class Pages(BaseHTTPRequestHandler):
    """`/metrics` of a leader and of one that waits, by the server's own number; nothing else is there."""

    def do_GET(self) -> None:
        leads = isinstance(self.server, Leader)
        content = f"held {int(leads)}\n".encode()
        self.send_response(200 if self.path == "/metrics" else 503)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Quiet."""


class Leader(ThreadingHTTPServer):
    """The one that leads."""


@pytest.fixture
def target() -> Iterator[Target]:
    """A leader, one that waits, and an address where nobody is."""
    servers = [kind(("127.0.0.1", 0), Pages) for kind in (Leader, ThreadingHTTPServer)]
    for server in servers:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    address = ",".join(f"127.0.0.1:{server.server_port}" for server in servers)
    endpoints = [Endpoint("all", address), Endpoint("lone", f"{address},127.0.0.1:1")]
    yield Target(name="x", endpoints=endpoints, username="", password="", ca_file="")
    for server in servers:
        server.shutdown()
        server.server_close()


def test_each_replica_says_what_it_does(target: Target) -> None:
    found = replicas.leaders(target, "lone", "held", 5)
    first, second, nobody = found.values()
    assert (first, second) == (replicas.LEADS, replicas.WAITS)
    assert nobody.startswith("ConnectionRefusedError")


def test_sound_means_enough_of_them_and_none_wrong(target: Target) -> None:
    def healthy(place: Place) -> str:
        return "" if replicas.plain(place, "/metrics", 5) else "empty"

    assert replicas.sound(target, "all", healthy, 2, "servers")[:2] == (True, "2 servers, 2 are wanted")
    assert replicas.sound(target, "all", healthy, 3, "servers")[:2] == (False, "2 servers, 3 are wanted")
    lone = replicas.sound(target, "lone", healthy, 2, "servers")
    assert not lone[0] and "127.0.0.1:1: ConnectionRefusedError" in lone[1]
    ready = replicas.sound(target, "all", lambda at: replicas.plain(at, "/ready", 5), 2, "servers")
    assert not ready[0] and ready[1].count("HTTP 503") == 2
