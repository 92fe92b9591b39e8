"""A release on the lab that sleeps: how long its first answer takes, and that none is lost on the way there and back.

`pytest -s -m campaign tests/campaign/test_from_zero.py` prints what docs/figures.md shows.
"""

from __future__ import annotations

import http.client
import json
import re
import statistics
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest

from components.models.keeper import sleep
from components.models.keeper.objects import predictor
from components.models.keeper.sleep import Sleep, Stage
from components.models.keeper.starts import ALL
from components.models.keeper.wish import STATE
from components.models.settings import LABELS
from tests import lab, pages, serving
from tests.serving import Caller, Load, Trained
from validate.ground.kubectl import wait_for
from validate.ground.pods import new_run_id

pytestmark = pytest.mark.campaign
GOAL_S, PATIENCE_S = 10.0, 100.0
STARTS, RATE = 5, 5
QUIET = ("--least", "0", "--quiet", "1")  # minutes
SLEEPS_S = 240
KEEPERS = ",".join(f"{key}={value}" for key, value in LABELS.items())
ATTEMPTS = 3  # that the contract tells a client to make


@dataclass
class Release:
    """One that may sleep."""

    name: str
    trained: Trained
    token: serving.Tokens

    @property
    def body(self) -> bytes:
        return serving.question(self.trained.asked)

    def kept(self) -> Sleep:
        item = lab.cluster().json("-n", lab.work(), "get", "configmap", f"release-{self.name}")
        return sleep.stored(json.loads(item["data"][STATE]))

    def asleep(self) -> None:
        wait_for("the release to sleep", lambda: self.kept().stage is Stage.ASLEEP or None, timeout=SLEEPS_S, every=2)
        label = f"serving.kserve.io/inferenceservice={self.kept().version}"
        wait_for(
            "its pods to be gone",
            lambda: not lab.cluster().json("-n", lab.work(), "get", "pods", "-l", label)["items"] or None,
            timeout=120,
            every=1,
        )

    def awake(self) -> None:
        wait_for("the pods' own route", lambda: self.kept().stage is Stage.AWAKE or None, timeout=120, every=1)

    def ask(self) -> tuple[float, int]:
        """Seconds until its answer, and how often a client as the contract wants it had to ask."""
        caller, began = Caller(self.name, self.token, patience=PATIENCE_S), time.monotonic()
        for attempt in range(1, ATTEMPTS + 1):
            try:
                status, told = caller.ask(self.body)
            except (OSError, http.client.HTTPException):
                continue
            assert status == 200, told
            assert told["outputs"][0]["data"] == self.trained.answers
            return time.monotonic() - began, attempt
        raise AssertionError(f"no answer after {ATTEMPTS} attempts and {time.monotonic() - began:.0f} s")


def keepers() -> list[dict[str, Any]]:
    where = ("-n", lab.found().platform.namespace, "get", "pods", "-l", KEEPERS)
    return list(lab.cluster().json(*where)["items"])


@pytest.fixture(scope="module")
def release() -> Iterator[Release]:
    name = f"test-{new_run_id()}"
    with serving.trainer() as pod:
        trained = serving.train(pod, name, 1)
    try:
        serving.did("deploy", name, trained.reference, *QUIET, "--why", "a test")
        yield Release(name, trained, serving.Tokens())
    finally:
        serving.command("retire", name, "--wait", "90")


def test_the_first_answer_comes_within_ten_seconds_with_the_image_on_the_host(release: Release) -> None:
    took: list[float] = []
    for _ in range(STARTS):
        release.asleep()
        seconds, attempts = release.ask()
        assert attempts == 1
        took.append(seconds)
        release.awake()
        parts = dict(release.kept().last["parts"])
        print(f"\nfirst answer after {seconds:.1f} s; pods ready after {parts.pop(ALL)} s: {parts}")
        assert {"schedule", "pull", "fetch", "import", "load", "ready"} == set(parts)
    told = serving.command("explain", release.name).stdout
    assert re.search(r"^start .* from zero in .* import .* load ", told, re.MULTILINE), told
    print(f"{STARTS} starts: median {statistics.median(took):.1f} s, slowest {max(took):.1f} s")
    assert statistics.median(took) <= GOAL_S


def test_no_question_is_lost_from_zero_to_many_and_back(release: Release) -> None:
    """Some all the time while it starts; then none until it sleeps; then one that meets its pods as they go."""
    release.asleep()
    load = Load(release.name, release.body, release.token, RATE, threads=100, patience=PATIENCE_S)
    with load.running():
        release.awake()
        enough = len(load.answers) + 20 * RATE
        wait_for("answers of the pods themselves", lambda: len(load.answers) > enough or None, timeout=120)
    lost = {said: count for said, count in load.counted().items() if not re.fullmatch(r"[0-9a-f]{10}", said)}
    print(f"\n{len(load.answers)} questions from zero and on, lost: {lost or 'none'}")
    assert not lost
    wait_for("its route to leave", lambda: release.kept().stage is Stage.LEAVING or None, timeout=SLEEPS_S, every=1)
    assert release.ask()[1] == 1
    release.awake()


def test_a_keeper_that_is_killed_with_a_question_costs_its_caller_nothing(release: Release) -> None:
    """Whichever has it: both are killed, the second one when the first is back."""
    release.asleep()
    namespace = lab.found().platform.namespace
    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(release.ask) for _ in range(8)]  # both keepers have some
        wait_for("a start", lambda: release.kept().stage is not Stage.ASLEEP or None, timeout=30, every=0.2)
        victim = keepers()[0]["metadata"]["name"]
        lab.cluster().run("-n", namespace, "delete", "pod", victim, "--grace-period=0", "--force", timeout=30)
        found = [each.result() for each in asked]
    print(f"\na keeper was killed: slowest of {len(found)} answers {max(took for took, _ in found):.1f} s")
    assert {attempts for _, attempts in found} == {1}
    release.awake()


def test_a_host_that_dies_with_a_keeper_costs_no_answer(release: Release) -> None:
    """A caller whose own way led over that host asks again, as the contract tells clients."""
    release.asleep()
    address = pages.floating()
    hosts = [pod["spec"]["nodeName"] for pod in keepers()]
    victim = next(host for host in hosts if not lab.on_host(host, f"ip -o addr show to {address}", check=False).strip())
    try:
        with ThreadPoolExecutor(8) as pool:
            asked = [pool.submit(release.ask) for _ in range(8)]
            wait_for("a start", lambda: release.kept().stage is not Stage.ASLEEP or None, timeout=30, every=0.2)
            lab.run("podman", "kill", lab.container(victim), timeout=60)
            found = [each.result() for each in asked]
        print(f"\n{victim} died: slowest of {len(found)} answers {max(took for took, _ in found):.1f} s")
    finally:
        done = lab.make_up()
    assert done.returncode == 0, lab.told(done)
    lab.assert_whole()
    name = predictor(release.kept().version)
    wait_for(
        "its pods",
        lambda: lab.cluster().json("-n", lab.work(), "get", "deployment", name)["status"].get("readyReplicas") or None,
        timeout=240,
        every=2,
    )
