"""Steps from load.yaml, headroom and growth from figures, the requests of S3."""

from __future__ import annotations

import hashlib
import hmac
import json
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from components.kit import contract
from components.kit.driving import Job
from components.kit.probing import Endpoint, Target, Verdict
from components.minio import load as minio_load
from validate.core.errors import ValidateError
from validate.ground.local import LocalGround
from validate.ground.site import REPOSITORY, Site
from validate.pod.load.health import Health
from validate.pod.load.ledger import NANOS, Ledger
from validate.pod.load.outcome import LoadOutcome
from validate.suites import plan
from validate.suites.load import footprint, profiles, remote, roomload, stress, suite
from validate.suites.load.case import LoadCase
from validate.suites.load.verdict import new_ledger

ROOMS = ("kafka", "minio", "postgres", "redis")


def component(name: str, **endpoint: str) -> contract.Component:
    offered = {"protocol": "http", "address": "10.0.0.1:80,10.0.0.2:81", **endpoint}
    return contract.Component(name=name, version="1", mode="managed", endpoints_in=[contract.Endpoint(**offered)])


def ground(folder: Path, site: str = "test", rooms: Path = REPOSITORY / "components") -> LocalGround:
    told = {"rooms": str(rooms), "objects": "", "secrets": "", "clients": {}, "hosts": {}, "members": []}
    (folder / "local.json").write_text(json.dumps(told))
    platform = contract.Platform(
        site=site,
        deployer="pulumi",
        namespace="p",
        bundle_digest="sha256:" + "0" * 64,
        components=[component(name) for name in ROOMS],
    )
    return LocalGround(Site(site, folder, folder, platform))


def test_every_data_room_says_its_load_and_a_short_budget_keeps_one_run_of_each(tmp_path: Path) -> None:
    place = ground(tmp_path)
    steps = suite.steps(place, place.site.components())
    assert plan.repeated(steps) == []
    assert {s.component for s in steps if s.suite == "stress"} == set(ROOMS)
    core = [s for s in steps if s.rank == plan.CORE]
    assert sorted(s.component for s in core) == list(ROOMS)
    assert sum(s.estimate for s in core) < 6 * 60
    wide = [s for s in steps if s.rank <= plan.WIDE]
    assert sum(s.estimate for s in wide) < 25 * 60
    soaks = [s for s in steps if "soak" in s.id]
    assert {s.component for s in soaks} == set(ROOMS) and {s.rank for s in soaks} == {plan.DEEP}


def test_a_constrained_site_is_asked_for_its_share_and_says_so(tmp_path: Path) -> None:
    lab, other = tmp_path / "lab", tmp_path / "other"
    lab.mkdir()
    other.mkdir()
    here = {s.id: s for s in suite.steps(ground(lab, "lab"), [component("kafka")])}
    there = {s.id: s for s in suite.steps(ground(other), [component("kafka")])}
    scaled = here["load/kafka/produce-records-peak-scaled-short"].wish["profile"]
    whole = there["load/kafka/produce-records-peak-short"].wish["profile"]
    assert isinstance(scaled, dict) and isinstance(whole, dict)
    assert scaled["rate_per_s"] == pytest.approx(0.1 * whole["rate_per_s"], abs=0.01)
    assert scaled["min_rate_per_s"] == pytest.approx(0.1 * whole["min_rate_per_s"], abs=0.01)
    assert not set(here) & {i for i in there if "headroom" not in i}


def test_a_short_run_can_decide_its_limits_and_names_its_length(tmp_path: Path) -> None:
    file = REPOSITORY / "components" / "postgres" / "load.yaml"
    scenario = roomload.read(file).scenarios[0]
    case = LoadCase(component("postgres"), scenario, scenario.profile("records-tenfold"))
    short = suite.shortened(case)
    assert short.title == "insert records-tenfold short"
    assert short.profile.duration_s < 60 < case.profile.duration_s
    assert short.profile.schedule(1).expected >= 6000
    assert "what shows only later is not seen" in short.profile.assumptions[-1]
    asked = replace(case, scenario=scenario.model_copy(update={"least_requests": 25_000}))
    assert suite.shortened(asked).profile.schedule(1).expected >= 25_000


def test_a_room_may_ask_for_its_own_rate_with_a_reason(tmp_path: Path) -> None:
    room = tmp_path / "toy"
    room.mkdir()
    (room / "load.yaml").write_text(
        "version: 1\nscenarios:\n- {name: ask, operation: http, endpoint: http, path: /x,"
        " profiles: [http], rate_per_s: 60, because: Small.}\n"
    )
    steps = suite.steps(ground(tmp_path, rooms=tmp_path), [component("toy"), component("none")])
    assert {s.component for s in steps} == {"toy"}
    (scenario,) = roomload.read(room / "load.yaml").scenarios
    profile = scenario.profile("http")
    assert (profile.rate_per_s, profile.min_rate_per_s) == (60, 50)
    order = remote.order_of(scenario, profile, component("toy"))
    assert order.request is not None and order.request.url == "http://10.0.0.1:80/x"
    with pytest.raises(ValidateError, match="endpoint 'http' and the contract has: grpc"):
        remote.order_of(scenario, profile, component("toy", protocol="grpc"))
    tls = remote.order_of(scenario, profile, component("toy", tls_server_name="toy.site"))
    assert tls.request is not None and tls.request.place() == ("10.0.0.1", 80, "toy.site")


PROFILE = profiles.named("records-tenfold").lasting(8)
FINE = Health(0.1, 0.4, 5.0, 0.3, 0, 80, 80)


def rung(rate: float, bad: int = 0, lateness_ms: float = 0.4) -> stress.Rung:
    ledger = new_ledger(PROFILE)
    for number in range(800):
        ledger.record(number * NANOS // 100, NANOS if number < bad else 1_000_000, "")
    outcome = LoadOutcome(ledger, Ledger(ledger.limits), replace(FINE, lateness_p99_ms=lateness_ms))
    return stress.Rung(rate, outcome, stress.holds(PROFILE, outcome))


@pytest.mark.parametrize(
    ("rungs", "verdict", "words"),
    [
        (
            [rung(100), rung(200), rung(400, bad=50), rung(300)],
            Verdict.PASS,
            "holds at 300/s, 3.0 times what is asked (100/s); breaks at 400/s",
        ),
        ([rung(100), rung(200, lateness_ms=50)], Verdict.PASS, "the generator, not the store"),
        ([rung(100), rung(200)], Verdict.PASS, "more was not tried"),
        ([rung(100, bad=9)], Verdict.INVALID, "its limits broke there"),
        ([rung(100, lateness_ms=50)], Verdict.INVALID, "the generator was not fit"),
    ],
)
def test_headroom_is_told_and_never_fails(rungs: list[stress.Rung], verdict: Verdict, words: str) -> None:
    found = stress.conclude("headroom", 100, rungs)
    assert found.verdict is verdict and words in found.detail


def samples(memory: Callable[[int], float], files: Callable[[int], float]) -> list[footprint.Sample]:
    draw = random.Random(1)
    return [
        footprint.Sample(2.0 * n, m, int(memory(n) * 2**20 * draw.uniform(0.99, 1.01)), int(files(n)))
        for n in range(90)
        for m in ("a-0", "a-1")
    ]


@pytest.mark.parametrize(
    ("memory", "files", "verdicts"),
    [
        (lambda n: 200, lambda n: 40, "PASS PASS"),
        (lambda n: min(200, 50 + 10 * n), lambda n: 40, "PASS PASS"),  # warms up, then stays
        (lambda n: 200 + 2 * n, lambda n: 40, "FAIL PASS"),
        (lambda n: 200, lambda n: 40 + n, "PASS FAIL"),
        (lambda n: 10 + n / 30, lambda n: 4 + n / 20, "PASS PASS"),  # much for so little: nothing
    ],
)
def test_what_grows_for_certain_is_a_leak(
    memory: Callable[[int], float], files: Callable[[int], float], verdicts: str
) -> None:
    found = footprint.judge(samples(memory, files), 0.10)
    assert " ".join(c.verdict for c in found) == verdicts, found
    assert all(("cause" in c.evidence) == (c.verdict is Verdict.FAIL) for c in found)


def test_growth_that_nobody_saw_is_not_judged() -> None:
    assert {c.verdict for c in footprint.judge([], 0.1)} == {Verdict.INVALID}
    few = footprint.judge(samples(lambda n: 1, lambda n: 1)[:12], 0.1)
    assert {c.verdict for c in few} == {Verdict.INVALID}


TARGET = Target("minio", [Endpoint("s3", "m-0.x:9000,m-1.x:9000")], "probe", "secret", "/ca.crt")


def signature(wire: bytes, secret: str) -> str:
    """Signature version 4 of a request, written from its specification and not from the library.

    https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html
    """
    head, _, _ = wire.partition(b"\r\n\r\n")
    first, *rest = head.decode().split("\r\n")
    method, path, _ = first.split()
    headers = {k.lower(): v.strip() for k, v in (line.split(":", 1) for line in rest)}
    given = dict(part.strip().split("=", 1) for part in headers["authorization"][17:].split(","))
    scope = given["Credential"].partition("/")[2]
    names = given["SignedHeaders"].split(";")
    signed = "".join(f"{name}:{headers[name]}\n" for name in names)
    payload = headers["x-amz-content-sha256"]
    canonical = f"{method}\n{urlsplit(path).path}\n\n{signed}\n{';'.join(names)}\n{payload}"
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    text = f"AWS4-HMAC-SHA256\n{headers['x-amz-date']}\n{scope}\n{digest}"
    key = f"AWS4{secret}".encode()
    for part in [*scope.split("/"), text]:
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    assert key.hex() == given["Signature"], canonical
    return path


def test_s3_requests_are_signed_and_each_has_its_own_object() -> None:
    job = Job("put", "run-0", 1000, 8)
    driver = minio_load.driver(TARGET, job)
    wire = driver.wires()
    first, second = wire(), wire()
    paths = [signature(one, "secret") for one in (first, second)]
    assert paths == ["/probe/load/run-0/0", "/probe/load/run-0/1"]
    assert first.startswith(b"PUT ") and first.partition(b"\r\n\r\n")[2] == job.record()
    assert [driver.place() for _ in range(3)] == [
        ("m-0.x", 9000, "m-0.x"),
        ("m-1.x", 9000, "m-1.x"),
        ("m-0.x", 9000, "m-0.x"),
    ]
    get = minio_load.driver(TARGET, replace(job, operation="get")).wires()
    asked = [signature(get(), "secret") for _ in range(minio_load.OBJECTS + 1)]
    assert asked[0] == asked[-1] and len(set(asked)) == minio_load.OBJECTS
    with pytest.raises(LookupError, match="no operation 'delete'; there are: get, put"):
        minio_load.driver(TARGET, replace(job, operation="delete"))
