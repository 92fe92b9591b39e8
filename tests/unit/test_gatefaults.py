"""What is made of a run with faults: silences by the fault that they follow, shares, last lines."""

from __future__ import annotations

import json

import pytest

from tests import gatefaults
from tests.gatefaults import NANOS, Fault, Injected
from validate.pod.load.health import Health
from validate.pod.load.ledger import Ledger
from validate.pod.load.outcome import LoadOutcome

BEGIN = 1_000 * NANOS
HEALTH = Health(0.0, 0.0, 0.0, 0.0, 0, 0, 0)


def outcome(seconds: int, silent: tuple[int, int] | None = None, failed: bool = False) -> LoadOutcome:
    """A hundred requests a second; between two seconds nobody is answered until the second one."""
    ledger = Ledger((gatefaults.PATIENCE.nanos,))
    for due in range(0, seconds * NANOS, NANOS // 100):
        held = silent is not None and silent[0] * NANOS < due < silent[1] * NANOS
        end = silent[1] * NANOS if held and silent else due
        ledger.record(due, end - due + 1_000_000, "closed" if held and failed else "")
    return LoadOutcome(ledger, Ledger((gatefaults.PATIENCE.nanos,)), HEALTH, begin_ns=BEGIN)


def injected(*moments: int) -> list[Injected]:
    return [
        Injected(Fault(f"fault {m}", 0.0, lambda: None, 1.0), BEGIN + m * NANOS, BEGIN + m * NANOS) for m in moments
    ]


@pytest.mark.parametrize("moment", [20, 22])
def test_a_silence_belongs_to_the_fault_before_it(moment: int) -> None:
    """Also where the last answer came a moment before the fault."""
    seen = outcome(40, silent=(22, 25))
    assert min(silence.begin for silence in seen.ledger.silences) <= 22.01 * NANOS
    found = {
        name: gatefaults.longest_silence(seen, begin, end)
        for name, begin, end in gatefaults.spans(injected(10, moment, 30), seen)
    }
    fault = f"fault {moment}"
    assert list(found) == ["nothing", "fault 10", fault, "fault 30"]
    assert found[fault] == pytest.approx(3.0, abs=0.02)
    assert found["nothing"] == found["fault 10"] == found["fault 30"] == 0.0
    assert gatefaults.told(found[fault]) == f"{found[fault]:.2f} s"
    assert gatefaults.told(0.0) == "under 0.3 s"


def test_stretches_follow_each_other_without_a_gap() -> None:
    seen = outcome(40)
    found = list(gatefaults.spans(injected(10, 30), seen))
    assert [end for _, _, end in found[:-1]] == [begin for _, begin, _ in found[1:]]
    assert (found[0][1], found[-1][2]) == (BEGIN, BEGIN + 40 * NANOS)
    # Faults that outlast the requests are not cut off.
    assert list(gatefaults.spans(injected(90), seen))[-1][2] == BEGIN + 90 * NANOS


def test_who_got_an_error_was_not_answered() -> None:
    assert gatefaults.answered(outcome(40)) == 1.0
    assert gatefaults.answered(outcome(40, (10, 20), failed=True)) == pytest.approx(0.75025)


@pytest.mark.parametrize(("seconds", "most"), [(600, 600), (1200, 1200), (240, 600)])
def test_a_short_run_may_fail_as_many_as_a_whole_one(seconds: float, most: float) -> None:
    assert gatefaults.may_fail(seconds) == pytest.approx(most)


def test_the_generators_last_line() -> None:
    seen = outcome(3)
    line = json.dumps({"kind": "outcome", **seen.as_dict()})
    found = gatefaults.outcome_in(line)
    assert found is not None and found.begin_ns == BEGIN
    for early in ("", line[:40], '{"kind": "progress"}'):
        assert gatefaults.outcome_in(early) is None
    with pytest.raises(AssertionError, match="starved"):
        gatefaults.outcome_in('{"kind": "failed", "why": "starved"}')


def test_the_command_goes_on_alone_and_asks_by_the_given_way() -> None:
    asked = gatefaults.request("page.lab.internal", "10.0.0.9")
    assert asked.place() == ("10.0.0.9", 443, "page.lab.internal")
    assert b"X-Requested-With: XMLHttpRequest" in asked.wire()
    shell, _, script, _, wish = gatefaults.in_pod(gatefaults.profile(60).order(1, asked))
    assert shell == "sh" and script.endswith("&") and "</dev/null" in script
    assert json.loads(wish)["certify"] is False


def test_faults_come_in_order_and_leave_time() -> None:
    moments = [fault.at for fault in gatefaults.FAULTS]
    assert moments == sorted(moments) and moments[-1] < 0.8
    assert {fault.goal_s for fault in gatefaults.FAULTS} <= {1.0, 3.0}


def test_a_node_is_ready_when_its_kubelet_says_so() -> None:
    def node(status: str) -> gatefaults.Item:
        return {"status": {"conditions": [{"type": "Ready", "status": status}]}}

    assert gatefaults.ready(node("True"))
    assert not gatefaults.ready(node("Unknown"))
    assert not gatefaults.ready({"status": {"conditions": []}})
