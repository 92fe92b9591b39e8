"""`python -m validate load-url`: certify the generator, load one HTTP address, judge."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Sequence
from ipaddress import ip_address
from pathlib import Path
from socket import IPPROTO_TCP, getaddrinfo
from typing import Annotated
from urllib.parse import urlsplit

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from components.kit import contract
from components.kit.probing import Verdict
from validate import report
from validate.cli import console
from validate.core.errors import ValidateError
from validate.core.model import EXIT_CODES, Recorder, Result, Run
from validate.ground import site
from validate.pod.load import certify, pool
from validate.pod.load.httptarget import HttpRequest
from validate.pod.load.ledger import Ledger
from validate.pod.load.outcome import LoadOutcome
from validate.suites.load import beside, profiles, showing, verdict
from validate.suites.load.profiles import Profile

SUITE = "load"
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
LIMITS = (
    "Latency is measured from when a request was due, so it holds what waiting users feel; it is "
    "not comparable with figures of tools that wait for an answer before they send again.",
    "One client machine: its network path is part of what is measured.",
)


def load_command(  # noqa: PLR0913  one parameter for each option
    url: Annotated[str, typer.Option("--url", help="http:// or https:// address to load")],
    profile: Annotated[str, typer.Option("--profile", help=", ".join(profiles.PROFILES))] = "http",
    duration: Annotated[str | None, typer.Option("--duration", help="instead of the profile's: 30s, 10m, 8h")] = None,
    stack: Annotated[str | None, typer.Option("--stack", help="whose contract allows the address")] = None,
    seed: Annotated[int, typer.Option("--seed", help="of the Poisson arrivals")] = 1,
    processes: Annotated[
        int | None, typer.Option("--processes", min=1, max=64, help="default: one per 10,000/s")
    ] = None,
    ca_file: Annotated[Path | None, typer.Option("--ca", help="CA of an https address")] = None,
    beside_tool: Annotated[
        str | None, typer.Option("--beside", help="run after ours, for comparison: locust, ab")
    ] = None,
    locustfile: Annotated[Path | None, typer.Option("--locustfile", help="with --beside locust: your own file")] = None,
    users: Annotated[int | None, typer.Option("--users", min=1, max=10_000, help="of locust; default: by rate")] = None,
    folder: Annotated[Path | None, typer.Option("--report", help="where reports go")] = None,
) -> None:
    """Loads one address as users would, and says PASS, FAIL or INVALID with the confidence."""
    wanted = profiles.named(profile)
    if duration is not None:
        wanted = wanted.lasting(seconds_of(duration))
    found = site.load(stack) if stack else None
    connect_to = admit(url, found.platform if found else None)
    if ca_file is not None and not ca_file.is_file():
        raise ValidateError(f"--ca {ca_file}: there is no such file")
    second = None
    if beside_tool or locustfile:
        second = beside.Second(beside_tool or "locust", locustfile, users)
    beside.known(second)
    request = request_for(wanted, url, connect_to, ca_file)
    command = f"load-url --url {url} --profile {profile} --duration {wanted.duration_s:g}s"
    run = Run("Load", found.name if found else "-", command, found.platform.bundle_digest if found else "-")
    run.limits.extend([*wanted.assumptions, *LIMITS])
    outcome = carry_out(run, wanted, request, seed, processes)
    if second is not None and outcome is not None:
        run.tables.append(beside.table(second, wanted, request, outcome))
    run.finished = time.time()
    _finish(run, folder or (found.reports if found else None))


def carry_out(run: Run, profile: Profile, request: HttpRequest, seed: int, processes: int | None) -> LoadOutcome | None:
    """Fills `run`; without a certificate nothing is loaded (None)."""
    count = processes or pool.processes_for(profile.top_rate)

    add = Recorder(run, SUITE, console.tell)
    console.say(f"certifying the generator, about {certify.longest_seconds():.0f} s")
    certify.certify(profile.top_rate / count, told=lambda check: add("generator", [check]))
    if run.verdict is not Verdict.PASS:
        console.say("the generator is not certified on this machine now: nothing was loaded")
        return None
    console.say(announce(profile, request, count))
    with _Live(profile) as live:
        outcome = pool.run(profile.order(seed, request), count, live.watch)
    run.tables += showing.tables("", profile, outcome)
    if outcome.stopped:
        run.limits.append(f"Stopped early: {outcome.stopped}.")
    add(profile.name, verdict.judge(profile, outcome))
    return outcome


def request_for(profile: Profile, url: str, connect_to: str | None, ca_file: Path | None) -> HttpRequest:
    """GET, or for a profile of records POST with one record of its size."""
    ca = str(ca_file) if ca_file else None
    if not profile.record_bytes:
        return HttpRequest(url, connect_to=connect_to, ca_file=ca)
    # Noise from a fixed seed: repeatable, and no compression on the way makes it smaller.
    record = random.Random(1).randbytes(profile.record_bytes)
    kind = (("Content-Type", "application/octet-stream"),)
    return HttpRequest(url, "POST", kind, record, connect_to, ca)


def seconds_of(text: str) -> float:
    """30s, 10m, 1h30m, 500ms in seconds."""
    pieces = list(_DURATION.finditer(text))
    if not pieces or "".join(p[0] for p in pieces) != text:
        raise ValidateError(f"--duration {text!r}: write 30s, 10m, 8h or 1h30m")
    total = sum(float(p[1]) * _UNITS[p[2]] for p in pieces)
    if not 1 <= total <= 7 * 86_400:
        raise ValidateError(f"--duration {text!r}: between 1s and 168h")
    return total


def admit(url: str, platform: contract.Platform | None) -> str | None:
    """Refuses what may not be loaded; the address to connect to, None to resolve it as usual.

    Load is a weapon: it goes to this machine itself or to an address that the named stack's
    contract lists, and nowhere else. A name is resolved once, so that what was looked at is what is
    loaded.
    """
    parts = urlsplit(url)
    try:
        port = parts.port or {"http": 80, "https": 443}[parts.scheme]
    except (KeyError, ValueError):
        raise ValidateError(f"--url {url}: must begin with http:// or https:// and a valid port") from None
    host = parts.hostname
    if not host or parts.username or parts.password or any(c.isspace() for c in url):
        raise ValidateError(f"--url {url}: give a host, and no user, password or spaces")
    listed = _listed(platform)
    if (host, port) in listed:
        return None
    try:
        found = {str(info[4][0]) for info in getaddrinfo(host, port, proto=IPPROTO_TCP)}
    except OSError as error:
        raise ValidateError(f"--url {url}: {host} can't be resolved: {error}") from error
    if found and all(ip_address(a.partition("%")[0]).is_loopback for a in found):
        return sorted(found, key=lambda address: ":" in address)[0]
    allowed = ", ".join(sorted(f"{h}:{p}" for h, p in listed)) or "none, for no --stack was named"
    raise ValidateError(
        f"--url {url}: refused. Load goes only to this machine (loopback) or to an address of the "
        f"named stack's contract ({allowed}); {host}:{port} is neither"
    )


def _listed(platform: contract.Platform | None) -> set[tuple[str, int]]:
    found = set()
    for component in platform.components if platform else []:
        for endpoint in (*component.endpoints_in, *component.endpoints_out):
            for address in endpoint.address.split(","):
                host, _, port = address.rpartition(":")
                found.add((host.lower(), int(port)))
    return found


def announce(profile: Profile, request: HttpRequest, processes: int) -> str:
    to = f" to {profile.end_rate_per_s:g}" if profile.end_rate_per_s is not None else ""
    limits = ", ".join(b.name for b in verdict.budgets(profile, verdict.new_ledger(profile)))
    return (
        f"{profile.name}: {profile.rate_per_s:g}{to}/s {profile.spacing} for "
        f"{profile.duration_s:g} s after {profile.warmup_s:g} s of warm-up to {request.url}, "
        f"{processes} process(es); {limits}"
    )


class _Live:
    """Progress: a bar on a terminal, a line every ten seconds elsewhere."""

    def __init__(self, profile: Profile) -> None:
        self._profile = profile
        self._said = 0.0
        columns = (BarColumn(), TimeRemainingColumn(), TextColumn("{task.description}"))
        self._bar = Progress(*columns, transient=True)
        self._task = self._bar.add_task("warm-up", total=profile.duration_s)

    def __enter__(self) -> _Live:
        if self._bar.console.is_terminal:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar.console.is_terminal:
            self._bar.stop()

    def watch(self, at: float, ledger: Ledger) -> str:
        """Shows it, and says why the run may stop now."""
        self._tell(at, ledger)
        return verdict.hopeless(self._profile, ledger)

    def _tell(self, at: float, ledger: Ledger) -> None:
        text = showing.progress(self._profile, at, ledger)
        if self._bar.console.is_terminal:
            self._bar.update(self._task, completed=at, description=text)
        elif at - self._said >= 10:
            self._said = at
            console.say(text)


def _finish(run: Run, folder: Path | None) -> None:
    if folder is not None:
        console.close(run, report.write(folder, run))
    else:
        for table in run.tables:
            console.say(f"\n{table.title}")
            console.show(table)
        console.say(f"\n{run.verdict}  {reason(run.results)}")
    raise typer.Exit(EXIT_CODES[run.verdict])


def reason(results: Sequence[Result]) -> str:
    """What decided, in one line."""
    for wanted in (Verdict.FAIL, Verdict.INVALID):
        named = [r.name for r in results if r.verdict is wanted]
        if named:
            return f"{wanted} of: {', '.join(named)}"
    return f"{len(results)} checks passed"
