"""Ports, leaks and the toy's defects: what is concluded from what was seen."""

from __future__ import annotations

import random
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.kit import contract
from components.kit.probing import Verdict
from tests.toy import defect
from tests.toy.plan import make
from validate.core import causes
from validate.suites.checks import leak, ports
from validate.suites.checks.ports import Port


@pytest.mark.parametrize(
    ("text", "address", "port"),
    [
        ("0B4D0A0A:1B5A", "10.10.77.11", 7002),
        ("0100007F:0050", "127.0.0.1", 80),
        ("00000000000000000000000000000000:1F90", "::", 8080),
        ("0000000000000000FFFF00000B4D0A0A:1B5A", "::ffff:10.10.77.11", 7002),
    ],
)
def test_addresses_of_proc(text: str, address: str, port: int) -> None:
    assert ports.parse(text) == (ip_address(address), port)


def component() -> contract.Component:
    return contract.Platform.model_validate(make("toy", ("kv",)).contract).component("kv")


def test_ports_are_declared_by_contract_and_pods() -> None:
    pod = {
        "spec": {
            "containers": [
                {
                    "ports": [{"name": "peers", "containerPort": 7500}, {"name": "health", "containerPort": 81}],
                    "livenessProbe": {"httpGet": {"port": 8090}},
                }
            ]
        }
    }
    known, plain = ports.declared(component(), [pod])
    assert known == {7002, 9102, 7500, 81}
    assert plain == {9102, 81, 8090}


HERE = Port("kv-0", "10.0.0.1", 7002)


@pytest.mark.parametrize(
    ("found", "plain", "verdict", "cause"),
    [
        ([HERE], False, Verdict.PASS, None),
        ([HERE], True, Verdict.FAIL, causes.NO_TLS),
        ([HERE, Port("kv-0", "10.0.0.1", 7999)], False, Verdict.FAIL, causes.OPEN_NETWORK),
        ([], False, Verdict.INVALID, None),
    ],
)
def test_listening(found: list[Port], plain: bool, verdict: Verdict, cause: str | None) -> None:
    knocked = [{"host": p.address, "port": p.port, "plain": plain} for p in found]
    check = ports.judge(found, {7002}, set(), knocked, secured=True)
    assert (check.verdict, check.evidence.get("cause")) == (verdict, cause)


def held(rss: list[float], files: list[float]) -> dict[str, leak.Held]:
    return {"kv-0": leak.Held(rss, files)}


STEADY = [40e6] * leak.BATCHES
FEW = [14.0] * leak.BATCHES


def rising(start: float, each: float) -> list[float]:
    return [start + each * n for n in range(leak.BATCHES)]


@pytest.mark.parametrize(
    ("rss", "files", "verdict"),
    [
        (STEADY, FEW, Verdict.PASS),
        (rising(40e6, 2e6), FEW, Verdict.FAIL),
        (STEADY, rising(14, 10), Verdict.FAIL),
        (rising(40e6, 20e3), FEW, Verdict.PASS),  # 2 KiB for each write: what was written
        (STEADY[:6], FEW[:6], Verdict.INVALID),
    ],
)
def test_leaks(rss: list[float], files: list[float], verdict: Verdict) -> None:
    check = leak.judge(held(rss, files), leak.CYCLES, failed=0)
    assert check.verdict is verdict
    assert check.evidence.get("cause") == (causes.LEAK if verdict is Verdict.FAIL else None)


def test_work_that_was_not_done_shows_no_leak() -> None:
    check = leak.judge(held(STEADY, FEW), leak.CYCLES, failed=leak.BATCHES * leak.CYCLES // 2)
    assert check.verdict is Verdict.INVALID


@given(st.integers(0, 10_000))
def test_noise_is_no_leak(seed: int) -> None:
    noise = random.Random(seed)
    rss = [40e6 + noise.uniform(-3e5, 3e5) for _ in range(leak.BATCHES)]
    files = [14.0 + noise.choice((0, 0, 1)) for _ in range(leak.BATCHES)]
    assert leak.judge(held(rss, files), leak.CYCLES, failed=0).verdict is Verdict.PASS


def test_the_toy_has_defects_and_variations_enough() -> None:
    known = defect.found()
    assert sum(bool(d.expected) for d in known.values()) >= 25
    assert sum(not d.expected for d in known.values()) >= 10


@pytest.mark.parametrize("name", defect.found())
def test_each_can_be_planned(name: str) -> None:
    item = defect.found()[name]
    plan = make("toy", item.components)
    before = repr(plan)
    item.change(plan)
    contract.Platform.model_validate(plan.contract)
    assert repr(plan) != before or item.about.startswith("nothing")


def test_an_unknown_cause_is_refused() -> None:
    with pytest.raises(ValueError, match="no causes"):
        defect.Defect("x", "x", lambda plan: None, ("gremlins",))
