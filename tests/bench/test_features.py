"""How fast a feature server answers, as a plain process without its front."""

from __future__ import annotations

import http.client
import json
import time

import pytest

from tests import ports
from tests.bench.figures import Figure, show
from tests.engine import featuring
from tests.engine.test_feature_store import FILES, activity, ask, now

pytestmark = pytest.mark.bench
REQUESTS, CUSTOMERS = 3000, 100


def test_a_question_for_one_customer() -> None:
    """Four features of two views, one connection, one after another."""
    with featuring.feast(FILES) as feast:
        for customer in range(CUSTOMERS):
            assert ask(feast, "/push", activity(customer, customer, now(minutes=1)))[0] == 200
        line = http.client.HTTPConnection(ports.HOST, feast.port, timeout=10)
        took = []
        for number in range(REQUESTS + 200):
            body = {"feature_service": "churn", "entities": {"customer_id": [number % CUSTOMERS]}}
            begin = time.perf_counter()
            line.request("POST", "/get-online-features", json.dumps(body), {"Content-Type": "application/json"})
            answer = line.getresponse()
            found = json.loads(answer.read())
            took.append((time.perf_counter() - begin) * 1000)
            names = found["metadata"]["feature_names"]
            assert found["results"][names.index("visits")]["values"] == [number % CUSTOMERS]
        took = sorted(took[200:])  # the first ones fill caches
    command = "pytest -s -m bench tests/bench/test_features.py"
    show(
        "features",
        [
            Figure("feature server, p50 of a question", f"{took[len(took) // 2]:.1f} ms", command=command),
            Figure(
                "feature server, p99 of a question",
                f"{took[len(took) * 99 // 100]:.1f} ms",
                goal="10 ms",
                command=command,
            ),
        ],
    )
