"""Ten minutes of requests at a page while the gateway's proxies and a host die one after the other.

    APADANA_GATEWAY_MINUTES=4 pytest -s -m campaign tests/campaign/test_gateway.py

100 requests/s, open loop, from outside by the floating address and from a pod by the Service, each
without a log-in: who answers is the proxy. What is asserted holds on any machine: 99 % are
answered, all is whole again. How long the silences were is printed with the goal beside it: a full
machine adds some of its own. A shorter run has the same faults, and may fail as many requests.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from tests import gatefaults, lab, pages
from tests.bench import figures
from tests.bench.figures import Figure
from tests.draining import wait_whole
from validate.ground.cluster import ClusterGround
from validate.ground.kubectl import wait_for
from validate.ground.pods import new_run_id
from validate.pod.load import pool
from validate.pod.load.outcome import LoadOutcome

pytestmark = pytest.mark.campaign
MINUTES = float(os.environ.get("APADANA_GATEWAY_MINUTES", "10"))
SECONDS = MINUTES * 60
COMMAND = "pytest -s -m campaign tests/campaign/test_gateway.py"


def meanwhile() -> tuple[list[gatefaults.Injected], dict[str, LoadOutcome]]:
    """What was injected, and what was seen by each way in."""
    site, page, profile = lab.found(), pages.names()[0], gatefaults.profile(SECONDS)
    gateway = next(iter(site.components("gateway")))
    inside = next(e for e in gateway.endpoints_in if e.protocol == "https").address
    asked = gatefaults.request(page, inside.rpartition(":")[0])
    order = replace(profile.order(1, asked), room="gateway", operation="http", run=f"load{new_run_id()}")
    outside = gatefaults.request(page, pages.floating(), str(site.site_ca))
    away, lifetime = [gatefaults.floating_host()], int(SECONDS) + 1800
    client = ClusterGround(site).client([gateway], role="load", avoid=away, lifetime_s=lifetime)
    with ThreadPoolExecutor(1) as threads, client as pod:
        pod.run(*gatefaults.in_pod(order))
        seen = threads.submit(pool.run, profile.order(2, outside))
        injected = gatefaults.inject(gatefaults.FAULTS, SECONDS)
        found = {"outside": seen.result(timeout=SECONDS + 300)}
        found["a pod"] = wait_for(
            "the generator in the pod to end",
            lambda: gatefaults.outcome_in(pod.run("tail", "-n", "1", "/work/load.jsonl")),
            timeout=SECONDS + 300,
            every=5,
        )
    return injected, found


def rows(injected: list[gatefaults.Injected], found: dict[str, LoadOutcome]) -> list[Figure]:
    goals = {each.fault.name: f"{each.fault.goal_s:g} s" for each in injected}
    made = []
    for place, outcome in found.items():
        before, *after = [
            (name, gatefaults.longest_silence(outcome, begin, end))
            for name, begin, end in gatefaults.spans(injected, outcome)
        ]
        made += [
            Figure(
                f"gateway: longest silence, {name}, seen from {place}",
                gatefaults.told(silence),
                floor=f"{gatefaults.told(before[1])} before any fault",
                goal=goals[name],
                command=COMMAND,
            )
            for name, silence in after
        ]
        made.append(
            Figure(
                f"gateway: answered meanwhile, seen from {place}",
                f"{gatefaults.answered(outcome):.2%} of {outcome.ledger.requests:,}",
                goal=f"{gatefaults.LEAST_ANSWERED:.0%}",
                command=COMMAND,
            )
        )
    return made


def test_pages_answer_while_proxies_and_a_host_die() -> None:
    gatefaults.wait_whole()
    injected, found = meanwhile()
    figures.show("gateway-faults", rows(injected, found))
    last = injected[-1].begin
    for place, outcome in found.items():
        causes = dict(outcome.ledger.causes)
        end = outcome.begin_ns + len(outcome.ledger.seconds) * gatefaults.NANOS
        assert end > last, f"{place}: the requests were over before the last fault: more minutes"
        assert outcome.ledger.failed <= gatefaults.may_fail(SECONDS), (place, causes)
    wait_whole()
    lab.assert_whole()
