"""Releases on the lab that nobody steers: good ones pass, bad ones go, and a version grows with its load.

`pytest -s -m campaign tests/campaign/test_releases.py` prints what docs/figures.md shows.
"""

from __future__ import annotations

import json
import random
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest

from components.models.judge import plain
from components.models.judge.state import State
from components.models.judge.words import JUDGEMENT, Phase
from components.models.keeper import objects
from components.models.keeper.objects import predictor, short
from components.models.keeper.wish import STATE
from tests import lab, registering, serving
from tests.serving import Caller, Load, Trained
from validate.ground.kubectl import wait_for
from validate.ground.pods import new_run_id
from validate.pod.integration.features import NAMES

pytestmark = pytest.mark.campaign
SEED = 1
RATE, QUESTIONS = 50, 20
MINUTES = 12
GROWN = 3
SHRINKS_S = 480  # Kubernetes takes pods away five minutes after the load went
SHADOW, CANARY = ("shadow", "--judge", "--percent", "100"), ("canary", "--judge")


@dataclass(frozen=True)
class Plan:
    """A candidate, how it is tried, and what has to become of it."""

    kind: str  # of registering.KINDS
    words: tuple[str, ...]
    ends: Phase
    why: str = ""  # part of what the judge says

    def __str__(self) -> str:
        return f"{self.kind} as {' '.join(self.words)}"


PLANS = (
    Plan("again", CANARY, Phase.PROMOTED),
    Plan("again", SHADOW, Phase.PASSED),
    Plan("refusing", CANARY, Phase.ROLLED_BACK, "no 2xx"),
    Plan("undefined", CANARY, Phase.ROLLED_BACK, "invalid answers"),
    Plan("slow", CANARY, Phase.ROLLED_BACK, "slower than"),
    Plan("growing", CANARY, Phase.ROLLED_BACK, "memory of"),
    Plan("contrary", SHADOW, Phase.ROLLED_BACK, "disagree"),
    Plan("refusing", (*SHADOW, "--then-canary"), Phase.ROLLED_BACK, "no 2xx"),
)


def questions() -> list[bytes]:
    """Rows as the training's, and one in twenty that a faulty model can't bear."""
    chance = random.Random(SEED)
    rows = [[chance.uniform(0, 1) for _ in NAMES] for _ in range(QUESTIONS)]
    rows[-1][0] = registering.RARE
    return [serving.question([row]) for row in rows]


@dataclass
class Release:
    """One name, its stable version, and a candidate of each kind."""

    name: str
    stable: Trained
    candidates: dict[str, Trained]
    token: serving.Tokens

    def load(self, rate: float = RATE, threads: int = 8) -> Load:
        first, *others = questions()
        return Load(self.name, first, self.token, rate, threads, others)

    def data(self, key: str) -> str:
        where = ("-n", lab.found().platform.work, "get", "configmap", f"release-{self.name}")
        return str(lab.cluster().json(*where)["data"].get(key, ""))

    def version(self, trained: Trained) -> str:
        """As answers name it."""
        return short(str(json.loads(self.data(STATE))["versions"][trained.reference]["digest"]))

    def judgement(self) -> State:
        text = self.data(JUDGEMENT)
        return plain.read(State, text) if text else State()


@pytest.fixture(scope="module")
def release() -> Iterator[Release]:
    name = f"test-{new_run_id()}"
    with serving.trainer() as pod:
        stable = serving.train(pod, name, SEED)
        candidates = {kind: serving.train(pod, name, SEED, kind) for kind in registering.KINDS}
    try:
        serving.did("deploy", name, stable.reference, "--why", "a test")
        yield Release(name, stable, candidates, serving.Tokens())
    finally:
        serving.command("retire", name, "--wait", "90")


@pytest.mark.parametrize("plan", PLANS, ids=str)
def test_a_candidate_passes_or_goes_by_itself(release: Release, plan: Plan) -> None:
    candidate, (verb, *flags) = release.candidates[plan.kind], plan.words
    load = release.load()
    with load.running():
        begun, asked = time.monotonic(), len(load.answers)
        serving.did(verb, release.name, candidate.reference, *flags)

        def ended() -> State | None:
            found = release.judgement()
            return found if found.phase in (Phase.PROMOTED, Phase.PASSED, Phase.ROLLED_BACK) else None

        found = wait_for(f"the judge to end {plan}", ended, timeout=MINUTES * 60, every=1)
        took, requests = time.monotonic() - begun, len(load.answers) - asked
        version = release.version(candidate)
        left = len(load.answers) + 10 * RATE
        wait_for("answers after the decision", lambda: len(load.answers) > left or None, timeout=60)
    decision = found.decisions[-1]
    print(f"\n{plan}: {found.phase} after {took:.0f} s and {requests} requests: {decision.why}")
    assert found.phase is plan.ends, decision
    assert plan.why in decision.why
    late = last_answer(load, version, decision.at)
    print(f"  last answer of the candidate {late:.1f} s after the decision; answers {dict(load.counted())}")
    if plan.ends is Phase.ROLLED_BACK:
        assert late < 5
    if verb == "shadow" and plan.ends is Phase.ROLLED_BACK:
        assert version not in load.counted()
    serving.did("rollback", release.name)


def last_answer(load: Load, version: str, decided: float) -> float:
    """Seconds from a decision to the last answer that was asked for after it; below 0: there was none."""
    since = time.time() - time.monotonic()
    return max((start + since for start, said in load.answers if said == version), default=decided) - decided


def test_a_version_grows_with_its_load_and_shrinks_again_and_no_answer_is_lost(release: Release) -> None:
    serving.did("deploy", release.name, release.stable.reference, "--most", str(GROWN + 1))
    name = predictor(f"{release.name}-{release.version(release.stable)}")

    def pods() -> int:
        where = ("-n", lab.found().platform.work, "get", "deployment", name)
        return int(lab.cluster().json(*where)["status"].get("readyReplicas", 0))

    assert pods() == 2
    load, quiet = release.load(2 * RATE, 16), release.load(2, 2)
    begun = time.monotonic()
    with load.running():
        wait_for("more pods", lambda: pods() >= GROWN or None, timeout=300, every=2)
        grown = time.monotonic() - begun
        enough = len(load.answers) + 20 * RATE
        wait_for("answers of more pods", lambda: len(load.answers) > enough or None, timeout=60)
    begun = time.monotonic()
    with quiet.running():
        wait_for("two pods again", lambda: pods() == 2 or None, timeout=SHRINKS_S, every=5)
    print(f"\ngrown to {GROWN} pods in {grown:.0f} s, back to 2 in {time.monotonic() - begun:.0f} s")
    for each in (load, quiet):
        lost = {said: count for said, count in each.counted().items() if not re.fullmatch(r"[0-9a-f]{10}", said)}
        print(f"  {len(each.answers)} questions, not answered: {lost or 'none'}")
        assert sum(lost.values()) <= 0.001 * len(each.answers)
    serving.did("deploy", release.name, release.stable.reference, "--most", "0")


def test_a_second_model_shares_the_pods_and_both_say_whether_they_are_sure(release: Release) -> None:
    other, second = f"{release.name}-b", release.candidates["contrary"]
    shared = ("--beside", f"{other}={second.reference}", "--floor", "0.5")
    serving.did("deploy", release.name, release.stable.reference, *shared)

    def asked(name: str, body: bytes) -> Any:
        status, told = Caller(name, release.token).ask(body)
        return told if status == 200 and len(told["outputs"]) == 2 else None

    for name, trained in ((release.name, release.stable), (other, second)):
        look = partial(asked, name, serving.question(trained.asked))
        told = wait_for("the proxies to know the shared pods", look, timeout=60)
        assert (told["model_name"], told["model_version"]) == (name, release.version(trained))
        labels, sure = told["outputs"]
        # Of two classes one always has half of the probability.
        assert (labels["data"], sure["data"]) == (trained.answers, [True] * len(trained.answers))
        assert told["parameters"] == {"floor": 0.5, "not_sure": 0}
    body = serving.question(release.stable.asked)
    assert Caller(other).ask(body)[0] == 401
    serving.did("deploy", release.name, release.stable.reference, "--beside", "none", "--floor", "none")

    def gone() -> bool | None:
        return Caller(other, release.token).ask(body)[0] == 404 or None

    wait_for("the proxies to forget the other one's name", gone, timeout=60)
    (labels,) = Caller(release.name, release.token).ask(body)[1]["outputs"]
    assert labels["data"] == release.stable.answers


def test_a_light_model_answers_when_all_pods_of_the_other_one_are_killed(release: Release) -> None:
    """The time from the kill to its first answer is measured at the client; no keeper has to act for it."""
    light = release.candidates["contrary"]  # tells itself from the other one by all its answers
    serving.did("deploy", release.name, release.stable.reference, "--fall-back", light.reference)
    heavy, fallback = release.version(release.stable), release.version(light)
    load = release.load(2 * RATE, 16)
    with load.running():
        enough = len(load.answers) + 4 * RATE
        wait_for("answers before", lambda: len(load.answers) > enough or None, timeout=60)
        killed = time.monotonic()
        where = ("-n", lab.found().platform.work, "--selector", f"{objects.OF}={release.name}-{heavy}")
        lab.cluster().run("delete", "pods", *where, "--grace-period=0", "--force", timeout=30)
        wait_for("the light model", lambda: load.counted()[fallback] or None, timeout=60)
        wait_for("the other one", lambda: load.answers[-1][1] == heavy or None, timeout=240)
    first = min(start for start, told in load.answers if told == fallback and start > killed)
    # Not from the command on: it takes its time until the API server has it.
    last = max(start for start, told in load.answers if told == heavy and start < first)
    lost = {told: count for told, count in load.counted().items() if not re.fullmatch(r"[0-9a-f]{10}", told)}
    print(f"\nbetween the last answer of the one and the first of the light model: {first - last:.2f} s; lost: {lost}")
    assert first - last < 1
    assert sum(lost.values()) <= 0.001 * len(load.answers)
    serving.did("deploy", release.name, release.stable.reference, "--fall-back", "none")
