"""The tools that a client knows, run on the same address after ours: locust and ab.

Both send the next request only when the last one was answered, so a service that stalls lowers
their load and hides its worst latencies; locust rounds to two digits besides. Their figures are
shown beside ours and decide nothing. They are run as programs, where they are installed.
"""

from __future__ import annotations

import csv
import math
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from validate.errors import ValidateError
from validate.load.httptarget import HttpRequest
from validate.load.profiles import Profile
from validate.model import Table

LONGEST_S = 60.0  # enough for a second opinion
COLUMNS = ("tool", "requests/s", "requests", "failed", "p50 ms", "p99 ms", "max ms")
_INSTALL = {
    "locust": "pip install the pinned extra `locust` of pyproject.toml into an environment",
    "ab": "install the Debian package apache2-utils",
}
_LOCUSTFILE = """
from locust import FastHttpUser, constant_throughput, task

class User(FastHttpUser):
    wait_time = constant_throughput({rate})

    @task
    def ask(self):
        self.client.get({path!r})
"""


def known(tool: str | None) -> None:
    """Refuses a tool that can't be run before anything else is done."""
    if tool is None:
        return
    if tool not in _INSTALL:
        raise ValidateError(f"--beside {tool}: one of {', '.join(_INSTALL)}")
    if shutil.which(tool) is None:
        raise ValidateError(f"--beside {tool}: it is not on PATH; {_INSTALL[tool]}")


def table(tool: str, profile: Profile, request: HttpRequest) -> Table:
    """What the tool says of the same address at about the same rate."""
    seconds = min(LONGEST_S, profile.duration_s)
    run = locust if tool == "locust" else ab
    rows = [[tool, *run(profile.top_rate, seconds, request)]]
    note = "Closed loop: latency from when it was sent. For comparison only; decides nothing."
    return Table(f"Beside: {tool}", COLUMNS, rows, note)


def locust(rate: float, seconds: float, request: HttpRequest) -> list[str]:
    """requests/s, requests, failed, p50, p99, max as locust writes them."""
    users = max(1, math.ceil(rate / 20))
    base, _, path = request.url.partition("://")[2].partition("/")
    scheme = request.url.partition("://")[0]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "locustfile.py"
        file.write_text(_LOCUSTFILE.format(rate=rate / users, path=f"/{path}"))
        command = ["locust", "-f", str(file), "--headless", "--host", f"{scheme}://{base}",
                   "-u", str(users), "-r", str(users), "-t", f"{math.ceil(seconds)}s",
                   "--csv", f"{folder}/out", "--only-summary"]  # fmt: skip
        _run(command, seconds)
        with (Path(folder) / "out_stats.csv").open(encoding="utf-8") as lines:
            whole = next(row for row in csv.DictReader(lines) if row["Name"] == "Aggregated")
    names = ("Requests/s", "Request Count", "Failure Count", "50%", "99%", "Max Response Time")
    return [_short(whole[name]) for name in names]


def ab(rate: float, seconds: float, request: HttpRequest) -> list[str]:
    """ab can't hold a rate: as many requests as ours at full speed over ten connections."""
    count = max(10, int(rate * seconds))
    command = ["ab", "-k", "-q", "-c", "10", "-n", str(count), "-s", "10", request.url]
    said = _run(command, seconds)
    return parse_ab(said)


def parse_ab(said: str) -> list[str]:
    found: dict[str, str] = {}
    for line in said.splitlines():
        name, colon, value = line.partition(":")
        if colon:
            found[name.strip()] = value.split()[0] if value.split() else ""
        elif line.strip().startswith(("50%", "99%", "100%")):
            share, value = line.split()[:2]
            found[share] = value
    names = ("Requests per second", "Complete requests", "Failed requests", "50%", "99%", "100%")
    return [_short(found.get(name, "-")) for name in names]


def _short(value: str) -> str:
    try:
        return f"{float(value):.1f}".removesuffix(".0")
    except ValueError:
        return value


def _run(command: Sequence[str], seconds: float) -> str:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=seconds * 3 + 60
        )
    except subprocess.TimeoutExpired:
        raise ValidateError(f"{command[0]} did not end within {seconds * 3 + 60:.0f} s") from None
    # locust ends with 1 when a request failed; that is a finding, not a mistake.
    if done.returncode not in (0, 1):
        raise ValidateError(f"{command[0]} ended with {done.returncode}: {done.stderr[-300:]}")
    return done.stdout
