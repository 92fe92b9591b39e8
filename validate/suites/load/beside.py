"""The tools that a client knows, run on the same address after ours: locust and ab.

Both send the next request only when the last one was answered, so a service that stalls lowers
their load and hides its worst latencies; locust rounds to two digits besides. Their figures are
shown beside ours and decide nothing. They are run as programs: locust from an environment of its
own in the cache (gevent patches the world), ab from Debian's apache2-utils.
"""

from __future__ import annotations

import csv
import math
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from common import places
from validate.core.errors import ValidateError
from validate.core.model import Table
from validate.ground.site import REPOSITORY
from validate.pod.load.httptarget import HttpRequest
from validate.pod.load.outcome import LoadOutcome
from validate.suites.load.profiles import Profile
from validate.suites.load.showing import milliseconds

LONGEST_S = 60.0  # enough for a second opinion
STARTS_S = 5  # locust's own time runs while it still imports (gevent's clock stands still then)
COLUMNS = ("tool", "requests/s", "requests", "failed", "p50 ms", "p99 ms", "max ms")
NOTE = (
    "Ours: latency from when a request was due. Theirs: from when it was sent, one after another, "
    "so that nobody is seen waiting for a service that stands still. Ours decides."
)
TOOLS = ("locust", "ab")
_LOCUSTFILE = """
from locust import FastHttpUser, constant_throughput, task

class User(FastHttpUser):
    wait_time = constant_throughput({rate})

    @task
    def ask(self):
        self.client.request({method!r}, {path!r}, data={body!r}, headers={headers!r})
"""


@dataclass(frozen=True)
class Second:
    """A second opinion: the tool, and for locust the client's own file with its number of users."""

    tool: str
    file: Path | None = None
    users: int | None = None


def known(wanted: Second | None) -> None:
    """Refuses what can't be run before anything else is done; every mistake at once."""
    if wanted is None:
        return
    wrong = []
    if wanted.tool not in TOOLS:
        wrong.append(f"--beside {wanted.tool}: one of {', '.join(TOOLS)}")
    elif program(wanted.tool) is None:
        wrong.append(f"--beside {wanted.tool}: it is not on PATH; {_install(wanted.tool)}")
    if wanted.file is not None and wanted.tool != "locust":
        wrong.append(f"--locustfile {wanted.file}: goes with --beside locust only")
    if wanted.file is not None and not wanted.file.is_file():
        wrong.append(f"--locustfile {wanted.file}: there is no such file")
    if wrong:
        raise ValidateError("\n".join(wrong))


def program(tool: str) -> str | None:
    """On PATH, or where install_locust() puts it."""
    found = shutil.which(tool)
    if found is None and tool == "locust":
        own = locust_home() / "bin" / "locust"
        return str(own) if own.is_file() else None
    return found


def locust_home() -> Path:
    """Its environment in the cache, named by its pin."""
    return places.cache() / "tools" / _pin().replace("==", "-")


def install_locust(home: Path) -> Path:
    """Makes the environment (PyPI must be reachable) and returns the program."""
    uv = str(Path(sys.executable).parent / "uv")
    for command in (
        [uv, "venv", "-q", "--clear", "--python", sys.executable, str(home)],
        [uv, "pip", "install", "-q", "--python", str(home / "bin" / "python"), _pin()],
    ):
        _run(command, 100)
    return home / "bin" / "locust"


def _pin() -> str:
    told = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    (wanted,) = told["project"]["optional-dependencies"]["locust"]
    return str(wanted)


def _install(tool: str) -> str:
    if tool == "ab":
        return "install the Debian package apache2-utils"
    return "`python -m validate.suites.load.beside` puts it into the cache (PyPI must be reachable)"


def table(wanted: Second, profile: Profile, request: HttpRequest, outcome: LoadOutcome) -> Table:
    """What the tool says of the same address at about the same rate, below what we say."""
    seconds = min(LONGEST_S, profile.duration_s)
    if wanted.tool == "ab":
        theirs = [["ab", *ab(profile.top_rate, seconds, request)]]
    else:
        theirs = locust(wanted, profile.top_rate, seconds, request)
    return Table("What they say, what we say", COLUMNS, [ours(profile, outcome), *theirs], NOTE)


def ours(profile: Profile, outcome: LoadOutcome) -> list[str]:
    ledger, seen = outcome.ledger, outcome.ledger.histogram()
    seconds = max(1, min(int(profile.duration_s), len(ledger.seconds)))
    return [
        "ours",
        _short(str(sum(ledger.served()[:seconds]) / seconds)),
        str(ledger.requests),
        str(ledger.failed),
        milliseconds(seen.percentile(0.5)),
        milliseconds(seen.percentile(0.99)),
        milliseconds(seen.largest / 1e9),
    ]


def locust(wanted: Second, rate: float, seconds: float, request: HttpRequest) -> list[list[str]]:
    """A row for each request of the file and one for all; requests/s, ... as locust writes them."""
    users = wanted.users or max(1, math.ceil(rate / 20))
    scheme, _, rest = request.url.partition("://")
    base, _, path = rest.partition("/")
    with tempfile.TemporaryDirectory() as folder:
        file = wanted.file or Path(folder) / "locustfile.py"
        if wanted.file is None:
            file.write_text(
                _LOCUSTFILE.format(
                    rate=rate / users,
                    method=request.method,
                    path=f"/{path}",
                    body=request.body,
                    headers=dict(request.headers),
                )
            )
        command = [
            program("locust") or "locust",
            "-f",
            str(file),
            "--headless",
            "--host",
            f"{scheme}://{base}",
            "-u",
            str(users),
            "-r",
            str(users),
            "-t",
            f"{math.ceil(seconds) + STARTS_S}s",
            "--csv",
            f"{folder}/out",
            "--only-summary",
        ]
        _run(command, seconds, (0, 1))  # 1: a request failed, which is a finding, not a mistake
        with (Path(folder) / "out_stats.csv").open(encoding="utf-8") as lines:
            rows = list(csv.DictReader(lines))
    return [_locust_row(row) for row in rows if wanted.file or row["Name"] == "Aggregated"]


def _locust_row(row: Mapping[str, str]) -> list[str]:
    names = ("Requests/s", "Request Count", "Failure Count", "50%", "99%", "Max Response Time")
    whole = row["Name"] == "Aggregated"
    title = "locust" if whole else f"locust {row['Type']} {row['Name']}"
    return [title, *(_short(row[name]) for name in names)]


def ab(rate: float, seconds: float, request: HttpRequest) -> list[str]:
    """ab can't hold a rate: as many requests as ours at full speed over ten connections."""
    count = max(10, int(rate * seconds))
    command = [program("ab") or "ab", "-k", "-q", "-c", "10", "-n", str(count), "-s", "10"]
    with tempfile.NamedTemporaryFile() as body:
        if request.body:
            body.write(request.body)
            body.flush()
            kind = dict(request.headers).get("Content-Type", "application/octet-stream")
            command += ["-u" if request.method == "PUT" else "-p", body.name, "-T", kind]
        return parse_ab(_run([*command, request.url], seconds))


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


def _run(command: Sequence[str], seconds: float, fine: tuple[int, ...] = (0,)) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=seconds * 3 + 60)
    except subprocess.TimeoutExpired:
        raise ValidateError(f"{command[0]} did not end within {seconds * 3 + 60:.0f} s") from None
    if done.returncode not in fine:
        raise ValidateError(f"{command[0]} ended with {done.returncode}: {(done.stderr or done.stdout)[-300:]}")
    return done.stdout


if __name__ == "__main__":
    sys.stdout.write(f"{install_locust(locust_home())}\n")
