"""What it costs to look features up: an answer by an entity's key beside the same answer by its columns, the floor.

Open loop: so many questions a second, each counted from when it was due, to the image's own model server. The feature
server has its real front, with TLS and the log-in, and a real Valkey.
"""

from __future__ import annotations

import http.client
import os
import threading
import time
from pathlib import Path

import pytest

from components.kserve.image.server.counters import LOOKUP_BOUNDS, LOOKUP_SECONDS
from components.models.judge import scrape
from tests.bench.figures import Figure, show
from tests.engine import featuring, keying, modelserving
from tests.engine.test_feature_store import FILES, activity, ask, now
from tests.ports import HOST
from tests.serving import question

pytestmark = pytest.mark.bench
COMMAND = "pytest -s -m bench tests/bench/test_look_ups.py"
RATES = (50, 200)  # a second
SECONDS, SENDERS, CUSTOMERS, AT_ONCE = 12, 8, 100, 50
PATH = "/v2/models/churn/infer"
#: Two numbers, both of them in the store.
MODEL = """
from sklearn.linear_model import LinearRegression
model = LinearRegression()
model.coef_, model.intercept_, model.n_features_in_ = numpy.array([1.0, 1e2]), 0.0, 2
columns = [
    dict(name="visits", type="int64", feature="activity:visits"),
    dict(name="spend", type="float64", feature="activity:spend"),
]
features = {"key": "customer_id", "key_type": "int64", "columns": columns}
"""


def paced(port: int, bodies: list[bytes], rate: int) -> list[float]:
    """Milliseconds of each question, from when it was due; sorted."""
    took: list[float] = []
    begin = time.perf_counter() + 0.5

    def send(first: int) -> None:
        line = http.client.HTTPConnection(HOST, port, timeout=30)
        for number in range(first, rate * SECONDS, SENDERS):
            due = begin + number / rate
            time.sleep(max(0.0, due - time.perf_counter()))  # an open loop: when it is due, and not when it can
            line.request("POST", PATH, bodies[number % len(bodies)], {"Content-Type": "application/json"})
            answer = line.getresponse()
            text = answer.read()
            took.append((time.perf_counter() - due) * 1000)
            assert answer.status == http.client.OK, text
        line.close()

    senders = [threading.Thread(target=send, args=(number,)) for number in range(SENDERS)]
    for each in senders:
        each.start()
    for each in senders:
        each.join()
    assert len(took) == rate * SECONDS, "a sender failed"
    return sorted(took)


def buckets(server: modelserving.Server) -> dict[str, float]:
    """Of the look-ups that the server itself has timed so far."""
    return {of["le"]: n for name, of, n in scrape.lines(server.metrics()) if name == f"{LOOKUP_SECONDS}_bucket"}


def bound(before: dict[str, float], after: dict[str, float], share: float) -> str:
    """The bucket that so many of those since are in."""
    since = {le: count - before[le] for le, count in after.items()}
    le = next(le for le, count in since.items() if count >= share * since["+Inf"])
    return f"over {LOOKUP_BOUNDS[-1] * 1000:g} ms" if le == "+Inf" else f"at most {float(le) * 1000:g} ms"


def middle(took: list[float], share: float) -> str:
    return f"{took[int(len(took) * share)]:.1f} ms"


def test_an_answer_with_a_look_up_beside_one_without(tmp_path: Path) -> None:
    with featuring.feast(FILES) as feast:
        for customer in range(CUSTOMERS):
            assert ask(feast, "/push", activity(customer, customer, now(minutes=1)))[0] == 200
        front = keying.Front(feast, "front")
        front.start(keying.WORDS)
        wished = {"server": keying.wanted(MODEL, keying.arguments(front, front.login(), ms=10_000))}
        with modelserving.started(tmp_path, wished) as servers:
            server = servers["server"]
            columns = [question([[float(n), 1.5]]) for n in range(CUSTOMERS)]
            keys = [keying.keyed([n]) for n in range(CUSTOMERS)]
            many = [keying.keyed([*range(at, at + AT_ONCE)]) for at in range(CUSTOMERS - AT_ONCE)]
            for body in (*columns, *keys):  # the first ones fill caches
                assert server.call("POST", PATH, body)[0] == 200
            rows = [each for rate in RATES for each in measured(server, columns, keys, rate)]
            took = []
            for body in many:
                begin = time.perf_counter()
                assert server.call("POST", PATH, body)[0] == 200
                took.append((time.perf_counter() - begin) * 1000)
    what = f"answer for {AT_ONCE} entities, p50, one after another"
    show("look-ups", [*rows, Figure(what, middle(sorted(took), 0.5), command=COMMAND)])


def measured(server: modelserving.Server, columns: list[bytes], keys: list[bytes], rate: int) -> list[Figure]:
    """At this rate; the floor is the same answer by its columns."""
    floor, before = paced(server.port, columns, rate), buckets(server)
    whole, after = paced(server.port, keys, rate), buckets(server)
    busy = f"{rate}/s, load of the machine {os.getloadavg()[0]:.0f}"
    return [
        Figure(f"a look-up, p50 ({busy})", bound(before, after, 0.5), command=COMMAND),
        Figure(f"a look-up, p99 ({rate}/s)", bound(before, after, 0.99), goal="10 ms", command=COMMAND),
        Figure(f"answer with a look-up, p50 ({rate}/s)", middle(whole, 0.5), floor=middle(floor, 0.5), command=COMMAND),
        Figure(
            f"answer with a look-up, p99 ({rate}/s)", middle(whole, 0.99), floor=middle(floor, 0.99), command=COMMAND
        ),
    ]
