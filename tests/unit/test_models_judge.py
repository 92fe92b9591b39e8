"""A release from its wish to its end: replayed, killed, and asked why it waits."""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.models.judge import looking, plain, reading, scrape
from components.models.judge.counters import ANSWERS, BUCKETS, MEMORY, SECONDS, Counters
from components.models.judge.machine import judge, waits
from components.models.judge.reading import Place
from components.models.judge.state import State
from components.models.judge.tally import Look, Pairs, Reading, since, yardstick
from components.models.judge.words import Phase, Verdict
from tests import releases
from tests.releases import CANARY, CANDIDATE, SHADOW, World, states, world


@pytest.mark.parametrize("kind", releases.KINDS)
def test_a_few_replays_of_each_kind_end_as_they_should(kind: str) -> None:
    wanted = Phase.PROMOTED if kind == "good" else Phase.ROLLED_BACK
    ends = [releases.replay(kind, 500_000 + seed, looks_every=4.0) for seed in range(4)]
    assert [end.phase for end in ends] == [wanted] * 4, [end.why for end in ends]


def test_a_release_takes_each_step_and_says_why() -> None:
    made, seen = world("good", 1), []
    for state in states(CANARY, made, 2.0, 900):
        seen.append(state.percent)
        if state.phase is Phase.PROMOTED:
            break
    assert sorted(set(seen)) == [10, 25, 50, 100]
    assert [each.verdict for each in state.decisions] == [*[Verdict.WIDEN] * 3, Verdict.PROMOTE]
    assert {each.who for each in state.decisions} == {"judge"}
    last = state.decisions[-1]
    assert last.what == "iris-v2: 50 % -> 100 %"
    assert last.figures["answers_candidate"] > 500
    assert "errors_worse_log10" in last.figures


def test_what_waits_says_for_how_much() -> None:
    made = world("good", 1)
    sleepy = replace_history(made)
    state = judge(CANARY, State(), sleepy.look())
    state = judge(CANARY, state, sleepy.look())
    assert list(waits(CANARY, state, sleepy.look())) == [
        "for 1000 more answers of the stable: its own p99 is the yardstick"
    ]
    nobody = replace(made.look(), ready=0)
    assert "for a pod of the candidate that is ready" in waits(CANARY, judge(CANARY, State(), nobody), nobody)
    state = next(states(CANARY, made, 2.0, 900))
    told = list(waits(CANARY, state, made.look()))
    assert len(told) == 3
    assert all("more of its answers" in each and "requests in all" in each for each in told)
    # With as many as it says, and none of them bad, it goes on.
    more = max(int(each.split("about ")[1].split()[0]) for each in told)
    before = state.percent
    made.candidate.traits = made.stable.traits = replace(made.stable.traits, errors=0.0)
    made.run(more * 12 / releases.RATE, state.percent, 0)
    assert judge(CANARY, state, made.look()).percent > before


def replace_history(made: World) -> World:
    made = world("good", 1)
    made.stable = releases.Pod(made.stable.traits, made.rng)
    return made


def promoted() -> tuple[World, State]:
    made = world("good", 4)
    made.stable.traits = made.candidate.traits = replace(made.stable.traits, errors=0.0)
    made.stable.reading = replace(made.stable.reading, errors=0, failed=0)
    for state in states(CANARY, made, 2.0, 900):
        if state.phase is Phase.PROMOTED:
            return made, state
    raise AssertionError("it was not promoted")


def test_the_slo_is_judged_after_promotion() -> None:
    made, state = promoted()
    made.candidate.traits = replace(made.candidate.traits, errors=0.01)
    for _ in range(300):
        made.run(2, state.percent, state.mirror)
        state = judge(CANARY, state, made.look())
        if state.phase is Phase.ROLLED_BACK:
            break
    assert state.phase is Phase.ROLLED_BACK
    assert "5xx" in state.decisions[-1].why


def test_a_version_that_breaks_is_gone_within_the_window() -> None:
    made, state = promoted()
    made.candidate.traits = replace(made.candidate.traits, errors=0.3)
    began = made.at
    while state.phase is Phase.PROMOTED and made.at < began + 60:
        made.run(1, state.percent, state.mirror)
        state = judge(CANARY, state, made.look())
    assert state.phase is Phase.ROLLED_BACK
    assert made.at - began <= 5
    assert state.decisions[-1].why.startswith("broken: ")


def test_a_candidate_without_pods_and_one_that_restarts_are_broken() -> None:
    made = world("good", 1)
    state = next(states(CANARY, made, 2.0, 900))
    away = judge(CANARY, state, replace(made.look(), ready=0))
    assert away.phase is Phase.CANARY
    gone = judge(CANARY, away, replace(made.look(), ready=0, at=made.at + 6))
    assert (gone.phase, gone.percent) == (Phase.ROLLED_BACK, 0)
    for _ in range(2):
        made.run(2, 50, 0)
        state = judge(CANARY, state, made.look())
        made.candidate.reading = replace(
            made.candidate.reading, answers=0, errors=0, buckets=(0,) * len(BUCKETS) + (0,)
        )
        state = judge(CANARY, state, made.look())
    assert "began anew 2 times" in state.decisions[-1].why


def test_a_shadow_passes_and_stays_one() -> None:
    made = world("good", 1)
    for state in states(SHADOW, made, 4.0, 2000):
        assert state.percent == 0
        if state.phase is Phase.PASSED:
            break
    assert (state.phase, state.mirror) == (Phase.PASSED, 10)
    assert "for a person" in next(waits(SHADOW, state, made.look()))
    # It is judged on: what passed may break later.
    made.candidate.traits = replace(made.candidate.traits, disagree=0.5)
    for _ in range(20):
        made.run(4.0, state.percent, state.mirror)
        state = judge(SHADOW, state, made.look())
    assert (state.phase, state.mirror) == (Phase.ROLLED_BACK, 0)
    assert "pairs disagree (1.00% are allowed)" in state.decisions[-1].why


def test_a_shadow_that_nobody_can_compare_does_not_pass() -> None:
    """Its servers show no answers: all else is right, and it waits."""
    made = world("good", 1)
    state = judge(SHADOW, State(), made.look())
    for _ in range(400):
        made.run(4.0, state.percent, state.mirror)
        state = judge(SHADOW, state, replace(made.look(), pairs=Pairs()))
    assert state.phase is Phase.SHADOW
    assert [each for each in waits(SHADOW, state, made.look()) if "disagree" in each]


@pytest.mark.parametrize("kind", ["errors", "slow", "invalid", "memory", "disagreement"])
def test_a_bad_shadow_is_taken_away_before_it_answers_anybody(kind: str) -> None:
    made = world(kind, 1)
    for state in states(SHADOW, made, 4.0, 2000):
        if state.phase in (Phase.PASSED, Phase.ROLLED_BACK):
            break
        assert state.percent == 0
    assert (state.phase, state.percent, state.mirror) == (Phase.ROLLED_BACK, 0, 0)
    assert state.decisions[-1].what == "iris-v2: shadow of 10 % -> 0 %"


def test_another_candidate_begins_anew() -> None:
    made = world("errors", 1)
    for state in states(CANARY, made, 2.0, 900):
        if state.phase is Phase.ROLLED_BACK:
            break
    assert judge(CANARY, state, made.look()).phase is Phase.ROLLED_BACK
    other = replace(CANARY, candidate=replace(CANDIDATE, name="iris-v3"))
    assert judge(other, state, made.look()).phase is Phase.STABLE


# --- killed ------------------------------------------------------------------------------------------------------


class Stored:
    """The object and the route as an API server keeps them, and judges that are killed between any two steps.

    A round is: read, judge, write the state, show the route. What a killed judge had in its head is gone.
    """

    def __init__(self, made: World, kills: Iterator[int]) -> None:
        self.made, self.kills = made, kills
        self.text, self.percent, self.mirror = "", 0, 0

    def round(self) -> State:
        steps = next(self.kills, 4)
        state = plain.read(State, self.text) if self.text else State()
        look = self.made.look()
        after = judge(CANARY, state, look)
        if steps < 3:
            return state
        self.text = plain.write(after)
        if steps < 4:
            return after
        self.percent, self.mirror = after.percent, after.mirror
        return after


@settings(max_examples=10)
@given(st.sampled_from(["good", "errors", "invalid"]), st.integers(0, 50), st.lists(st.integers(1, 4), max_size=60))
def test_killed_between_any_two_steps_it_ends_as_it_would_have(kind: str, seed: int, kills: list[int]) -> None:
    made = world(kind, seed * 3 + 1)  # without shared trouble
    stored = Stored(made, iter(kills))
    while made.at < 1200:
        made.run(6, stored.percent, stored.mirror)
        state = stored.round()
        if state.phase in (Phase.PROMOTED, Phase.ROLLED_BACK):
            break
    assert state.phase is (Phase.PROMOTED if kind == "good" else Phase.ROLLED_BACK)
    stored.kills = iter(())
    made.run(6, stored.percent, stored.mirror)
    stored.round()
    assert stored.percent == (100 if kind == "good" else 0)
    # Each request since the release began is counted once, whatever was killed.
    counted = sum(each.stable.n + each.candidate.n for each in plain.read(State, stored.text).tallies)
    assert counted <= made.asked


def test_a_kill_before_the_state_is_written_changes_nothing_at_all() -> None:
    """The same counters, read again by another judge, give the same state."""
    made = world("errors", 1)
    text = plain.write(next(states(CANARY, made, 2.0, 900)))
    made.run(2, 10, 0)
    first, second = (judge(CANARY, plain.read(State, text), made.look()) for _ in range(2))
    assert first == second
    assert plain.read(State, plain.write(first)) == first


# --- wishes and counters -----------------------------------------------------------------------------------------


def page(*more: str) -> str:
    """What a server of ours shows that has answered two questions, one of them wrongly; and more."""
    made = Counters(limit=2**29, invalid=1)
    made.add(200, 0.05)
    made.add(503, 0.4)
    found = ["# TYPE all of it", f"{MEMORY} 1e8", "of_others NaN"]
    for family in made.families():
        for name, labels, value in family.samples:
            told = ",".join(f'{key}="{text}"' for key, text in labels.items())
            found.append(f"{name}{{{told}}} {value}" if told else f"{name} {value}")
    return "\n".join([*found, *more])


def test_what_a_server_shows_is_what_the_judge_reads() -> None:
    found = scrape.reading(page())
    assert (found.answers, found.errors, found.failed, found.invalid) == (2, 1, 1, 1)
    assert (found.memory, found.limit) == (1e8, 2**29)
    assert len(found.buckets) == len(BUCKETS) + 1
    assert found.buckets[-1] - found.buckets[BUCKETS.index(0.3)] == 1


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "no apadana_model_answers_total"),
        ("<html>", "no apadana_model_answers_total"),
        (page(f'{ANSWERS}{{code="200"}} NaN'), "nan is no count"),
        (page(f'{ANSWERS}{{code="200"}} -7'), "-5.0 is no count"),
        (page(f"{MEMORY} +Inf"), "inf is no count"),
        (page(f'{ANSWERS}{{code="200"}} 1e300'), "is no count"),
        (page(f'{ANSWERS}{{code="200"}} many'), "could not convert"),
        (page(f'{SECONDS}_bucket{{le="0.31"}} 3'), "a bound 0.31"),
    ],
)
def test_a_page_that_is_none_is_no_evidence(text: str, told: str) -> None:
    with pytest.raises(ValueError, match=re.escape(told)):
        scrape.reading(text)


def test_a_page_that_never_ends_is_left_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as drips, ThreadPoolExecutor(1) as pool:

        def drip() -> None:
            with drips.accept()[0] as line, suppress(OSError):
                line.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                for _ in range(500):
                    over.wait(0.02)
                    line.sendall(b"#")

        over = threading.Event()
        threading.Thread(target=drip, daemon=True).start()
        began = time.monotonic()
        texts, failures = reading.ask({"p": Place("p", "127.0.0.1", drips.getsockname()[1], True)}, pool)
        assert (texts, list(failures)) == ({}, ["p"])
    over.set()
    # The reader is free again, too: the pool could not be closed before.
    assert time.monotonic() - began < 8


def test_pods_of_a_service_by_the_slices() -> None:
    def end(name: str, address: str, **conditions: bool) -> dict[str, object]:
        return {"addresses": [address], "targetRef": {"name": name}, "conditions": conditions}

    labels = {"metadata": {"labels": {looking.SERVICE: "iris-1-predictor"}}}
    calls = {"port": 8081, "appProtocol": looking.HTTP2}
    slices: list[dict[str, object]] = [
        labels | {"ports": [{"port": 8080}], "endpoints": [end("a", "10.0.0.1"), end("b", "10.0.0.2", ready=False)]},
        labels | {"ports": [{"port": 8080}], "endpoints": None},
        # No order is promised, and by gRPC nobody shows counters.
        labels | {"ports": [calls, {"port": 8080}], "endpoints": [end("d", "10.0.0.4")]},
        labels | {"ports": None, "endpoints": [end("c", "10.0.0.3")]},
    ]
    assert looking.pods(slices) == {
        "iris-1-predictor": [
            Place("a", "10.0.0.1", 8080, True),
            Place("b", "10.0.0.2", 8080, False),
            Place("d", "10.0.0.4", 8080, True),
        ]
    }


def test_a_server_that_began_anew_is_counted_from_nothing() -> None:
    before = Reading(100, 5, 5, 1, (90, *[100] * len(BUCKETS)))
    now = Reading(30, 2, 2, 0, (10, *[30] * len(BUCKETS)))
    came, again = since(before, now, 0, 40)
    assert again
    assert (came.n, came.errors, came.slow, came.late) == (30, 2, 20, 0)


def test_the_yardstick_is_a_bound_above_the_p99() -> None:
    made = world("good", 1)
    bound = yardstick([made.stable.reading], 1.4, 1000)
    assert bound is not None
    assert yardstick([made.stable.reading], 1.4, 10_000) is None
    slower = made.stable.reading.buckets[-1] - made.stable.reading.buckets[bound]
    assert slower <= 0.01 * made.stable.reading.answers


def test_pods_without_counters_are_no_evidence() -> None:
    state = judge(CANARY, State(), Look(0.0, ready=1))
    for at in range(1, 50):
        state = judge(CANARY, state, Look(float(at), ready=1))
    assert (state.phase, state.decisions) == (Phase.STABLE, ())
