"""Which member a pooler's HAProxy takes for the primary: the room's own check, run by the image's own program."""

from __future__ import annotations

import csv
import json
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests import debian_programs
from tests.rendered import datarooms
from validate.ground.kubectl import wait_for

pytestmark = pytest.mark.rendered

#: What Patroni 4 answers to `/primary`: 200 to whoever holds the lock, whatever its PostgreSQL does.
MEMBERS = {
    "leads": (200, "primary", "UP"),
    "holds the lock, still in recovery": (200, "replica", "DOWN"),
    "follows": (503, "replica", "DOWN"),
    "was primary, lost the lock": (503, "primary", "DOWN"),
}


@contextmanager
def member(status: int, role: str) -> Iterator[int]:
    """The port of a rest API that answers so."""

    class Patroni(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = {"state": "running", "role": role, "server_version": 170000, "timeline": 4}
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Patroni) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield server.server_port
        finally:
            server.shutdown()


def configuration(ports: list[int], where: Path) -> str:
    """The room's check before members that speak without TLS."""
    chart = datarooms.named(datarooms.render("postgres"), "ConfigMap", "postgres-pooler-files")["data"]["haproxy.cfg"]
    checks = [line for line in chart.splitlines() if line.lstrip().startswith(("option httpchk", "http-check"))]
    lines = ["global", f"  stats socket {where}", "defaults", "  mode tcp"]
    lines += [f"  timeout {each} 5s" for each in ("connect", "client", "server", "check")]
    lines += ["listen primary", f"  bind unix@{where}.front", *checks]
    lines += [f"  server m{i} 127.0.0.1:{port} check inter 200ms fall 2 rise 1" for i, port in enumerate(ports)]
    return "\n".join(lines) + "\n"


def states(where: Path) -> dict[str, str]:
    """Of each server: what HAProxy holds it for."""
    with socket.socket(socket.AF_UNIX) as asked:
        asked.connect(str(where))
        asked.sendall(b"show stat\n")
        said = b"".join(iter(partial(asked.recv, 65536), b"")).decode()
    rows = csv.DictReader(said.lstrip("# ").splitlines())
    return {row["svname"]: row["status"] for row in rows if row["svname"].startswith("m")}


def test_only_a_leader_that_has_left_recovery_is_the_primary(tmp_path: Path) -> None:
    try:
        haproxy = debian_programs.command(debian_programs.root("image/postgres"), "sbin/haproxy")
    except debian_programs.NotHereError as error:
        pytest.skip(str(error))
    expected = {f"m{i}": wanted for i, (_, _, wanted) in enumerate(MEMBERS.values())}
    with ExitStack() as stack:
        ports = [stack.enter_context(member(status, role)) for status, role, _ in MEMBERS.values()]
        file, where = tmp_path / "haproxy.cfg", tmp_path / "s"
        file.write_text(configuration(ports, where))
        running = stack.enter_context(subprocess.Popen([*haproxy, "-db", "-f", str(file)]))
        stack.callback(running.kill)
        what = f"HAProxy to see {', '.join(MEMBERS)} as {expected}"
        wait_for(what, lambda: states(where) == expected or None, timeout=30, swallow=(OSError,))
