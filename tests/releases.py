"""Releases that are replayed: two versions behind weights, good ones and five kinds of bad ones, with planted sizes.

Requests are drawn, answered and counted as pods count them; the judge sees the counters alone.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np

from components.models.judge import answers
from components.models.judge.answers import Answers
from components.models.judge.counters import ANSWERS, BUCKETS, INVALID, MEMORY, MEMORY_LIMIT, SECONDS
from components.models.judge.machine import judge
from components.models.judge.state import State
from components.models.judge.tally import Look, Pairs, Reading
from components.models.judge.wish import COPIES, STEPS, Version, Wish
from components.models.judge.words import Phase

RATE = 50  # requests a second
LIMIT = 512 * 2**20  # bytes of a predictor
KINDS = ("good", "errors", "slow", "invalid", "memory", "disagreement")
#: The planted sizes: 2 % errors, p99 x 2, 1 % NaN, half of the limit in 2,000 requests, 5 % disagreement.
ERRORS, SLOWER, NAN, LEAK, DISAGREE = 0.02, 2.0, 0.01, 0.5 / 2000, 0.05

Latency = Callable[[np.random.Generator, int], np.ndarray]


@dataclass(frozen=True)
class Traits:
    """How one version answers."""

    latency: Latency
    errors: float = 0.0
    invalid: float = 0.0
    leak: float = 0.0  # of the limit, for each request
    warm: float = 0.05  # of the limit: what loads with the first requests
    disagree: float = 0.002


@dataclass
class Pod:
    """One server with its counters."""

    traits: Traits
    rng: np.random.Generator
    reading: Reading = field(default_factory=lambda: Reading(buckets=(0,) * (len(BUCKETS) + 1), limit=LIMIT))
    wavering: float = 0.0
    answers: Answers = field(default_factory=Answers)

    def answer(self, n: int, trouble: float = 0.0) -> None:
        """`n` requests; `trouble`: errors that are of neither version."""
        old, traits = self.reading, self.traits
        errors = int(self.rng.binomial(n, min(1.0, traits.errors + trouble)))
        invalid = int(self.rng.binomial(n - errors, traits.invalid))
        took = np.sort(traits.latency(self.rng, n))
        within = [*np.searchsorted(took, BUCKETS, side="right").tolist(), n]
        self.reading = Reading(
            answers=old.answers + n,
            errors=old.errors + errors,
            failed=old.failed + errors,
            invalid=old.invalid + invalid,
            buckets=tuple(had + more for had, more in zip(old.buckets, within, strict=True)),
            memory=self._memory(old.answers + n),
            limit=LIMIT,
        )

    def say(self, question: bytes, label: int) -> None:
        """One answer that can be paired."""
        answers.ASKED.set(blake2b(question, digest_size=8))
        self.answers.note([label])

    def _memory(self, answers: int) -> float:
        """What was loaded, what leaks, and an allocator that wavers by some percent."""
        self.wavering = 0.9 * self.wavering + float(self.rng.normal(0, 0.004))
        share = 0.3 + self.traits.warm * (1 - np.exp(-answers / 120)) + self.traits.leak * answers + self.wavering
        return float(LIMIT * min(share, 1.0))


@dataclass
class World:
    """Traffic at `RATE`, split as the state says."""

    stable: Pod
    candidate: Pod
    rng: np.random.Generator
    trouble: Callable[[float], float] = lambda at: 0.0
    at: float = 0.0
    shown: bool = False  # answers themselves are looked at, and not only how many pairs differ
    pairs: Pairs = field(default_factory=Pairs)
    asked: int = 0

    def run(self, seconds: float, percent: int, mirror: int) -> None:
        """So much traffic at these shares."""
        n = int(self.rng.poisson(RATE * seconds))
        theirs = int(self.rng.binomial(n, percent / 100))
        copies = int(self.rng.binomial(n, mirror / 100))
        trouble = self.trouble(self.at)
        self.stable.answer(n - theirs, trouble)
        self.candidate.answer(theirs + copies, trouble)
        differ = int(self.rng.binomial(copies, self.candidate.traits.disagree))
        self.pairs += Pairs(copies, differ)
        for number in range(copies if self.shown else 0):
            question = b"%d/%d" % (self.asked, number)
            self.stable.say(question, 0)
            self.candidate.say(question, int(number < differ))
        self.at, self.asked = self.at + seconds, self.asked + n

    def look(self) -> Look:
        """What is read now."""
        pairs, self.pairs = self.pairs, Pairs()
        return Look(self.at, {"s-0": self.stable.reading}, {"c-0": self.candidate.reading}, pairs, ready=1)


def _latency(rng: np.random.Generator) -> tuple[Latency, float]:
    """One of some shapes, and its p99 in seconds."""
    median, kind = float(rng.uniform(0.003, 0.03)), int(rng.integers(3))
    sigma = (0.25, 0.5, 0.9)[kind]
    return lambda r, n: r.lognormal(np.log(median), sigma, n), median * float(np.exp(2.326 * sigma))


def _slower(latency: Latency, p99: float, shape: int) -> Latency:
    """p99 x 2: of every answer, of the slow ones alone, or by a second hump."""
    if shape == 0:
        return lambda rng, n: SLOWER * latency(rng, n)
    if shape == 1:

        def tail(rng: np.random.Generator, n: int) -> np.ndarray:
            took = latency(rng, n)
            return np.where(took > 0.9 * p99, SLOWER * took, took)

        return tail

    def hump(rng: np.random.Generator, n: int) -> np.ndarray:
        took = latency(rng, n)
        return np.where(rng.random(n) < 0.0125, SLOWER * p99 * rng.uniform(0.95, 1.3, n), took)

    return hump


def world(kind: str, seed: int) -> World:
    """One release of a kind."""
    rng = np.random.default_rng(seed)
    latency, p99 = _latency(rng)
    base = Traits(latency, errors=float(rng.choice([0.0, 0.0005, 0.001, 0.003])), warm=float(rng.uniform(0.0, 0.15)))
    bad = {
        "good": base,
        "errors": replace(base, errors=base.errors + ERRORS),
        "slow": replace(base, latency=_slower(latency, p99, seed % 3)),
        "invalid": replace(base, invalid=NAN),
        "memory": replace(base, leak=LEAK),
        "disagreement": replace(base, disagree=DISAGREE),
    }[kind]
    stable, candidate = Pod(base, rng), Pod(bad, rng)
    stable.answer(5000)
    # In a third of them a store that both need is in trouble for a while.
    begins = float(rng.uniform(0, 250)) if seed % 3 == 0 else -1e9
    size = float(rng.uniform(0.02, 0.4))
    return World(stable, candidate, rng, lambda at: size if begins <= at < begins + 20 else 0.0)


STABLE = Version("iris-v1", "models:/iris/1", "iris-v1-predictor")
CANDIDATE = Version("iris-v2", "models:/iris/2", "iris-v2-predictor")
CANARY = Wish("iris", STABLE, CANDIDATE)
SHADOW = replace(CANARY, steps=(COPIES,))
SHADOW_FIRST = replace(CANARY, steps=(COPIES, *STEPS))


@dataclass(frozen=True)
class End:
    """How a release ended."""

    phase: Phase
    requests: int  # from its begin to its end, to both versions
    seconds: float
    why: str


def replay(kind: str, seed: int, looks_every: float = 2.0, most_seconds: float = 1200) -> End:
    """One release until it is promoted, rolled back, or the time is over. Disagreement needs a shadow first."""
    wish = SHADOW_FIRST if kind == "disagreement" or (kind == "good" and seed % 4 == 0) else CANARY
    made = world(kind, seed)
    state = State()
    for state in states(wish, made, looks_every, most_seconds):
        if state.phase in (Phase.PROMOTED, Phase.ROLLED_BACK):
            break
    why = state.decisions[-1].why if state.decisions else ""
    return End(state.phase, made.asked, made.at, why)


def states(wish: Wish, made: World, looks_every: float, most_seconds: float) -> Iterator[State]:
    """The state after each look."""
    state = judge(wish, State(), made.look())
    while made.at < most_seconds:
        made.run(looks_every, state.percent, state.mirror)
        state = judge(wish, state, made.look())
        yield state


def page(now: Reading, model: str = "iris") -> str:
    """As a predictor shows its counters: answers by the name of the model that gave them."""
    other = now.errors - now.failed
    by_code = {200: now.answers - now.errors, 400: other, 500: float(now.failed)}
    lines = [f'{ANSWERS}{{model="{model}",code="{code}"}} {number}' for code, number in by_code.items()]
    lines += [f"# TYPE {SECONDS} histogram", f"{INVALID} {now.invalid}"]
    bounds = [*map(str, BUCKETS), "+Inf"]
    lines += [f'{SECONDS}_bucket{{le="{at}"}} {n}' for at, n in zip(bounds, now.buckets, strict=True)]
    return "\n".join([*lines, f"{MEMORY} {now.memory:e}", f"{MEMORY_LIMIT} {now.limit:e}"]) + "\n"


@contextmanager
def shows(address: str, pod: Pod, model: str = "iris") -> Iterator[int]:
    """The port at which a pod shows its counters and its answers."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            asked = urlsplit(self.path)
            since = parse_qs(asked.query).get("since", [""])[0]
            text = pod.answers.page(since) if asked.path == answers.PATH else page(pod.reading, model)
            self.wfile.write(text.encode())

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing."""

    server = ThreadingHTTPServer((address, 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
