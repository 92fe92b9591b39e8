"""The sub-command: what it refuses, what it says, with which exit code."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import pytest
import typer

from components.kit import contract
from components.kit.probing import Check, Verdict
from tests.commands import CommandLine
from validate.__main__ import main
from validate.cli import load
from validate.core import model
from validate.core.errors import ValidateError
from validate.pod.load import certify, pool
from validate.pod.load.health import Health
from validate.pod.load.httptarget import HttpRequest
from validate.pod.load.ledger import NANOS, Ledger
from validate.pod.load.outcome import LoadOutcome
from validate.suites.load import beside, profiles
from validate.suites.load.verdict import new_ledger

PLATFORM = contract.Platform(
    site="lab",
    deployer="pulumi",
    namespace="platform",
    bundle_digest="sha256:" + "0" * 64,
    components=[
        contract.Component(
            name="minio",
            version="1",
            mode="managed",
            endpoints_in=[contract.Endpoint(protocol="https", address="minio.lab:9000")],
            endpoints_out=[contract.Endpoint(protocol="https", address="10.1.1.1:443,b.lab:443")],
        )
    ],
)


@pytest.mark.parametrize(
    ("url", "connect_to"),
    [
        ("http://127.0.0.1:8080/x", "127.0.0.1"),
        ("http://127.9.9.9/", "127.9.9.9"),
        ("http://[::1]:80/", "::1"),
        ("http://localhost:1/", "127.0.0.1"),
        ("https://minio.lab:9000/health", None),
        ("https://10.1.1.1/", None),
        ("https://B.lab/", None),
    ],
)
def test_loopback_and_what_the_contract_lists_may_be_loaded(url: str, connect_to: str | None) -> None:
    assert load.admit(url, PLATFORM) == connect_to


@pytest.mark.parametrize(
    ("url", "word"),
    [
        ("http://10.1.1.1/", "refused"),
        ("https://10.1.1.1:8443/", "refused"),
        ("https://10.1.1.2/", "refused"),
        ("http://0.0.0.0/", "refused"),
        ("http://127.0.0.1@10.1.1.9/", "no user"),
        ("https://u:p@minio.lab:9000/", "no user"),
        ("ftp://127.0.0.1/", "http://"),
        ("file:///etc/passwd", "http://"),
        ("127.0.0.1", "http://"),
        ("http://", "host"),
        ("http://127.0.0.1:99999/", "valid port"),
        ("http://127.0.0.1/a b", "spaces"),
        ("http://no-such-host.invalid/", "resolved"),
    ],
)
def test_everything_else_is_refused(url: str, word: str) -> None:
    with pytest.raises(ValidateError, match=word):
        load.admit(url, PLATFORM)


def test_the_refusal_says_what_is_allowed() -> None:
    with pytest.raises(ValidateError, match=r"10\.1\.1\.1:443, b\.lab:443, minio\.lab:9000"):
        load.admit("http://192.0.2.1/", PLATFORM)
    with pytest.raises(ValidateError, match="none, for no --stack was named"):
        load.admit("https://192.0.2.1/", None)


@pytest.mark.parametrize(("text", "seconds"), [("30s", 30), ("10m", 600), ("1h30m", 5400), ("1500ms", 1.5)])
def test_durations(text: str, seconds: float) -> None:
    assert load.seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "30", "s", "-5s", "1d", "0s", "30 s", "1e3s", "999h"])
def test_wrong_durations(text: str) -> None:
    with pytest.raises(ValidateError, match="--duration"):
        load.seconds_of(text)


@cache  # 72,000 records take most of a second, and nobody changes what they made
def ledger_of(latency_ms: float) -> Ledger:
    profile = profiles.named("http")
    ledger = new_ledger(profile)
    for second in range(600):
        for number in range(120):
            ledger.record(second * NANOS + number, int(latency_ms * 1e6), "")
    return ledger


def counted(latency_ms: float, lateness_ms: float = 0.3) -> LoadOutcome:
    ledger = ledger_of(latency_ms)
    health = Health(0.1, lateness_ms, 5.0, 0.1, 0, 72_000, 72_000)
    return LoadOutcome(ledger, Ledger(ledger.limits, ledger.window_s), health)


@pytest.mark.parametrize(
    ("latency", "lateness", "certified", "code"),
    [
        (20, 0.3, Verdict.PASS, 0),
        (310, 0.3, Verdict.PASS, 1),
        (20, 50.0, Verdict.PASS, 3),
        (20, 0.3, Verdict.INVALID, 3),
    ],
)
def test_the_exit_code_is_the_verdict(
    latency: float,
    lateness: float,
    certified: Verdict,
    code: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    loaded: list[str] = []

    def run(*_: object, **__: object) -> LoadOutcome:
        loaded.append("yes")
        return counted(latency, lateness)

    monkeypatch.setattr(certify, "certify", lambda rate, told: told(Check("certificate: x", certified, "d")))
    monkeypatch.setattr(pool, "run", run)
    with pytest.raises(typer.Exit) as ended:
        load.load_command(
            "http://127.0.0.1/",
            profile="http",
            duration=None,
            stack=None,
            seed=1,
            processes=1,
            ca_file=None,
            beside_tool=None,
            locustfile=None,
            users=None,
            folder=tmp_path / "reports",
        )
    assert ended.value.exit_code == code
    assert bool(loaded) is (certified is Verdict.PASS)
    said = capsys.readouterr().out
    (results,) = (tmp_path / "reports").glob("2*/results.json")
    record = json.loads(results.read_text())
    assert model.EXIT_CODES[Verdict(record["verdict"])] == code
    if loaded:
        assert "Latency from the intended start" in said and "120/s" in said
    else:
        assert "nothing was loaded" in said


@pytest.mark.parametrize(
    ("args", "word"),
    [
        (["--url", "http://192.0.2.7/"], "refused"),
        (["--url", "http://127.0.0.1/", "--profile", "htpp"], "no such profile"),
        (["--url", "http://127.0.0.1/", "--duration", "soon"], "--duration 'soon'"),
        (["--url", "http://127.0.0.1/", "--beside", "wrk"], "one of locust, ab"),
        (["--url", "http://127.0.0.1/", "--stack", "nowhere"], "no site 'nowhere'"),
        ([], "--url"),
    ],
)
def test_wrong_use_ends_with_2_before_anything_is_sent(
    args: list[str], word: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, said = CommandLine(main, monkeypatch, capsys).run("load-url", *args)
    assert code == 2
    assert word in said


def test_a_profile_of_records_sends_records() -> None:
    wire = load.request_for(profiles.named("records-mean"), "http://[::1]/in", "::1", None).wire()
    head, _, body = wire.partition(b"\r\n\r\n")
    assert head.startswith(b"POST /in HTTP/1.1\r\n") and len(body) == 1000
    plain = load.request_for(profiles.named("http"), "http://[::1]/in", "::1", None).wire()
    assert plain == b"GET /in HTTP/1.1\r\nHost: [::1]\r\n\r\n"


AB = """
Complete requests:      1000
Failed requests:        3
Requests per second:    812.40 [#/sec] (mean)
Percentage of the requests served within a certain time (ms)
  50%      1
  99%      7
 100%   2002 (longest request)
"""


def test_what_ab_says_is_read() -> None:
    assert beside.parse_ab(AB) == ["812.4", "1000", "3", "1", "7", "2002"]
    assert beside.parse_ab("")[0] == "-"


def test_the_other_tools_run_as_programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = tmp_path / "ab"
    fake.write_text(f"#!/bin/sh\ncat <<'X'\n{AB}\nX\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    beside.known(beside.Second("ab"))
    profile = profiles.named("http").lasting(2)
    made = beside.table(beside.Second("ab"), profile, HttpRequest("http://127.0.0.1/"), counted(20, 0.3))
    ours, theirs = made.rows
    assert theirs == ["ab", "812.4", "1000", "3", "1", "7", "2002"]
    assert ours == ["ours", "120", "72000", "0", "20.00", "20.00", "20.00"]
    assert "Ours decides" in made.note
    fake.write_text("#!/bin/sh\necho broken >&2; exit 22\n")
    with pytest.raises(ValidateError, match="ended with 22: broken"):
        beside.ab(1, 1, HttpRequest("http://127.0.0.1/"))
    fake.unlink()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ValidateError, match="not on PATH; install"):
        beside.known(beside.Second("ab"))
