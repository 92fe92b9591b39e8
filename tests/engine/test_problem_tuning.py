"""Workers that share a search in a real PostgreSQL, each a process of its own: one is killed, one stands still."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from problems.settings import SAMPLERS
from tests.engine import stores
from validate.ground.kubectl import wait_for
from validate.ground.site import REPOSITORY

pytestmark = pytest.mark.engine
TRIALS, GRACE_S = 10, 15
#: A machine that has its hands full.
LONG_S = 480

#: A trial says that it has begun by a file, and takes a while; that many into its work the worker stands for good.
#: The first trial of one that is to meet another goes on until that one is in a trial: else a slow start came too late.
WORKER = """
import json, sys, time
from pathlib import Path
from problems import studies, tuning

study, sampler, worker, trials, grace, place, stands, meets = json.loads(sys.argv[1])
studies.HEARTBEAT_S, studies.GRACE_S = 1, grace
begun = []

def scores(trial):
    x, y = trial.suggest_float("x", 0, 1), trial.suggest_float("y", 0, 1)
    begun.append(trial.number)
    (Path(place) / f"{worker}-{trial.number}").touch()
    time.sleep(3600 * (len(begun) == stands))
    while meets is not None and not list(Path(place).glob(f"{meets}-*")):
        time.sleep(0.05)
    for _ in range(3):
        time.sleep(0.2)
        yield 1 - (x - 0.3) ** 2 - (y - 0.6) ** 2

search = tuning.Search(trials, sampler, "median", 0, worker)
storage = tuning.patiently(studies.from_environment)
found = tuning.run(tuning.study_of(storage, study, search), search, scores)
print(json.dumps({"best": tuning.best(found), "trials": tuning.told(found)}))
"""


@dataclass
class Searching:
    """One study and its workers."""

    store: stores.Platform
    place: Path
    sampler: str
    trials: int = TRIALS
    begun: list[subprocess.Popen[str]] = field(default_factory=list)

    def begin(self, worker: int, stands: int = 0, meets: int | None = None) -> subprocess.Popen[str]:
        told = [f"x/{self.place.name}", self.sampler, worker, self.trials, GRACE_S, str(self.place), stands, meets]
        given = json.dumps(told)
        login = self.store.state / "secrets" / "postgres"
        named = {
            "STUDIES_ADDRESS": self.store.component("postgres").endpoints_in[0].address,
            "STUDIES_DATABASE": "postgres",
            "STUDIES_LOGIN": str(login),
            "STUDIES_CA": str(login / "ca.crt"),
        }
        made = subprocess.Popen(
            [sys.executable, "-c", WORKER, given],
            env={"PYTHONPATH": str(REPOSITORY), "PATH": os.environ["PATH"]} | named,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.begun.append(made)
        return made

    def in_a_trial(self, worker: int) -> set[str]:
        """The trials of that worker."""
        return {file.name for file in self.place.glob(f"{worker}-*")}

    def waits_for(self, worker: int) -> None:
        """Until it is in the middle of one."""
        wait_for(f"a trial of {worker}", lambda: self.in_a_trial(worker) or None, timeout=LONG_S, every=0.05)

    def end(self) -> None:
        for each in self.begun:
            each.kill()
            each.communicate()


def result(worker: subprocess.Popen[str]) -> dict[str, Any]:
    said, wrong = worker.communicate(timeout=LONG_S)
    assert worker.returncode == 0, wrong[-3000:]
    found: dict[str, Any] = json.loads(said)
    return found


@pytest.fixture(scope="module")
def store() -> Iterator[stores.Platform]:
    with stores.platform() as made:
        stores.add_postgres(made)
        yield made


@pytest.fixture
def searching(store: stores.Platform, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Searching]:
    place = tmp_path / request.node.name
    place.mkdir()
    made = Searching(store, place, getattr(request, "param", SAMPLERS[0]))
    try:
        yield made
    finally:
        made.end()
        shutil.rmtree(place)


def whole(found: dict[str, Any], count: int) -> None:
    """Exactly as many trials as were asked for, and the best of all of them."""
    over = [each for each in found["trials"] if each["state"] in ("complete", "pruned")]
    assert len(over) == count, found["trials"]
    assert {each["state"] for each in found["trials"]} <= {"complete", "pruned", "fail"}
    complete = [each for each in over if each["state"] == "complete"]
    assert found["best"] == max(complete, key=lambda each: float(each["mean"]))["parameters"]


@pytest.mark.parametrize(
    "searching",
    [SAMPLERS[0], *(pytest.param(each, marks=pytest.mark.campaign) for each in SAMPLERS[1:])],
    indirect=True,
)
def test_one_of_two_workers_is_killed_in_a_trial_and_a_new_one_ends_the_search(searching: Searching) -> None:
    """Both begin at once, so that both want to make the tables."""
    first, second = searching.begin(0, meets=1), searching.begin(1, stands=1)
    searching.waits_for(1)
    second.send_signal(signal.SIGKILL)
    lost = searching.in_a_trial(1)
    third = searching.begin(1)
    found = result(first)
    whole(found, TRIALS)
    assert result(third) == found, "each worker leaves the same"
    (cut_off,) = (int(name.partition("-")[2]) for name in lost)
    (failed,) = (each for each in found["trials"] if each["number"] == cut_off)
    assert failed["state"] == "fail"
    again = [each for each in found["trials"] if each["parameters"] == failed["parameters"]]
    assert len(again) == 2, "it was not tried again"


@pytest.mark.campaign
def test_a_worker_that_stood_still_goes_on_after_another_one_has_taken_its_trial(searching: Searching) -> None:
    searching.trials = 4
    still = searching.begin(0)
    searching.waits_for(0)
    still.send_signal(signal.SIGSTOP)
    other = searching.begin(1)
    found = result(other)
    whole(found, 4)
    still.send_signal(signal.SIGCONT)
    assert result(still) == found


@pytest.mark.campaign
def test_a_search_that_lost_all_its_workers_goes_on_where_it_was(searching: Searching) -> None:
    searching.trials = 5
    first = searching.begin(0, stands=3)
    wait_for("three trials", lambda: len(searching.in_a_trial(0)) >= 3 or None, timeout=LONG_S, every=0.05)
    first.send_signal(signal.SIGKILL)
    found = result(searching.begin(0))
    whole(found, 5)
    assert [each["state"] for each in found["trials"]].count("fail") == 1
    assert len(searching.in_a_trial(0)) == 6, "what was done before was not done again"


def test_a_password_that_is_wrong_is_not_told(searching: Searching, monkeypatch: pytest.MonkeyPatch) -> None:
    from problems import studies

    (searching.place / "username").write_text("probe")
    (searching.place / "password").write_text("not-that-one")
    login = searching.store.state / "secrets" / "postgres"
    monkeypatch.setenv("STUDIES_ADDRESS", searching.store.component("postgres").endpoints_in[0].address)
    monkeypatch.setenv("STUDIES_DATABASE", "postgres")
    monkeypatch.setenv("STUDIES_LOGIN", str(searching.place))
    monkeypatch.setenv("STUDIES_CA", str(login / "ca.crt"))
    with pytest.raises(Exception, match="password authentication failed") as told:
        studies.from_environment()
    assert "not-that-one" not in repr(told.value) + str(told.value)
    monkeypatch.setenv("STUDIES_LOGIN", str(login))
    monkeypatch.setenv("STUDIES_CA", "")
    with pytest.raises(Exception, match="certificate"):
        studies.from_environment()
