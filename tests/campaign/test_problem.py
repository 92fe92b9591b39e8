"""From records to a deployable model by a workflow in pods, and on to an answer through the gateway."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from problems import STEPS
from problems.cluster import Runs, scheduled
from problems.house import PROBLEM
from problems.tabular import features, problem
from tests import deployable, lab, serving
from validate.core.errors import ClusterError
from validate.ground.kubectl import wait_for
from validate.ground.pods import Pod, new_run_id

pytestmark = pytest.mark.campaign
COMMAND = (sys.executable, "-m", "problems")
NAME = "tabular"
ENDED = ("Succeeded", "Failed", "Error")
MINUTES = 10
CRON_OF = "workflows.argoproj.io/cron-workflow"


@dataclass
class Story:
    """The runs of this test, and the pod that asks MLflow about them."""

    pod: Pod
    begun: list[str] = field(default_factory=list)

    def command(self, *words: str) -> lab.Done:
        return lab.run(*COMMAND, *words, "--stack", lab.SITE, timeout=120)

    def submit(self, *settings: str) -> str:
        done = self.command("submit", NAME, *settings)
        assert done.returncode == 0, lab.told(done)
        name = done.stdout.split()[0]
        self.begun.append(name)
        return name

    def ended(self, run: str) -> str:
        """Its last phase."""

        def phase() -> str | None:
            found = str(Runs(lab.found()).status(run).get("status", {}).get("phase", ""))
            return found if found in ENDED else None

        return wait_for(f"the run {run} to end", phase, timeout=MINUTES * 60)

    def known(self, *runs: str, verb: str = "told") -> dict[str, Any]:
        script = Path(deployable.__file__).read_bytes()
        answer = self.pod.run("python3", "-", NAME, verb, *runs, timeout=120, stdin=script)
        found: dict[str, Any] = json.loads(answer.splitlines()[-1])
        return found


@pytest.fixture(scope="module")
def story() -> Iterator[Story]:
    with serving.trainer() as pod:
        made = Story(pod)
        try:
            yield made
        finally:
            for run in made.begun:
                with suppress(ClusterError):
                    Runs(lab.found()).stop(run)
            _remove(made.begun)
            made.known(*made.begun, verb="forget")


def _remove(runs: list[str]) -> None:
    """These runs; template and code, too, where nobody else has one."""
    where, marked = ("-n", lab.found().platform.namespace), ("-l", f"{PROBLEM}={NAME}")
    flows = "workflows.argoproj.io"
    lab.cluster().run(*where, "delete", flows, *runs, "--ignore-not-found", "--timeout=120s", timeout=150)
    if not lab.cluster().json(*where, "get", flows, *marked)["items"]:
        lab.cluster().run(*where, "delete", "workflowtemplates.argoproj.io,configmaps", *marked)


@dataclass(frozen=True)
class Begun:
    """Runs beside each other."""

    good: str
    refused: str
    stopped: str


@pytest.fixture(scope="module")
def begun(story: Story) -> Begun:
    return Begun(story.submit(), story.submit("--set", 'leave_out=["sex"]'), story.submit())


@pytest.fixture(scope="module")
def stopped(story: Story, begun: Begun) -> str:
    """It did its first step, and was stopped then."""
    run = begun.stopped

    def prepared() -> bool | None:
        steps, _ = Runs(lab.found()).logs(run)
        return ("prepare", "Succeeded") in [each[:2] for each in steps] or None

    wait_for("the first step", prepared, timeout=240)
    assert story.command("stop", run).returncode == 0
    return run


@pytest.fixture(scope="module")
def good(story: Story, begun: Begun, stopped: str) -> str:
    """A run with nothing changed."""
    del stopped  # before it is at its end
    run = begun.good
    phase = story.ended(run)
    done = story.command("logs", run)
    assert (phase, done.returncode) == ("Succeeded", 0), lab.told(done)
    return run


def test_every_step_is_a_pod_and_a_good_model_is_registered(story: Story, good: str) -> None:
    steps, _ = Runs(lab.found()).logs(good)
    assert [(step, phase) for step, phase, _ in sorted(steps, key=lambda each: list(STEPS).index(each[0]))] == [
        (step, "Succeeded") for step in STEPS
    ]
    told = story.known(good)[good]
    assert told["version"]
    assert told["tags"]["gates"] == "passed"
    assert set(problem.MODEL) <= set(told["figures"])


def test_the_model_answers_through_the_gateway_as_it_does_where_it_is_trained_again(story: Story, good: str) -> None:
    """The same records, settings and parameters on this machine: the same model."""
    told = story.known(good)[good]
    version, matrix = told["version"], features.matrix(problem.records())
    tuned = {key: _read(value) for key, value in told["parameters"].items() if key.startswith("tuned_")}
    parameters = {key.removeprefix("tuned_"): value for key, value in tuned.items()}
    model = problem.model(parameters, problem.Settings()).fit(matrix, features.label(problem.records()))
    rows = [list(map(float, row)) for row in matrix[:40]]
    release = f"test-{new_run_id()}"
    try:
        serving.did("deploy", release, f"models:/{NAME}/{version}", "--why", "a test")
        status, answer = serving.Caller(release, serving.token()).ask(serving.question(rows))
        assert status == 200, answer
        assert answer["outputs"][0]["data"] == [int(each) for each in model.predict(rows)]
    finally:
        serving.did("retire", release)


def _read(value: str) -> Any:
    """MLflow keeps every parameter as a text."""
    try:
        return json.loads(value)
    except ValueError:
        return value


def test_the_version_has_the_same_figures_again_in_a_pod(story: Story, good: str) -> None:
    """The search had two workers; what it found is part of the lineage."""
    done = story.command("reproduce", f"{NAME}@{story.known(good)[good]['version']}")
    assert done.returncode == 0, lab.told(done)
    run = done.stdout.split()[0]
    story.begun.append(run)
    phase, said = story.ended(run), story.command("logs", run)
    assert (phase, said.returncode) == ("Succeeded", 0), lab.told(said)
    assert "the same figures" in said.stdout


def test_a_model_that_fails_a_gate_is_not_registered_and_the_run_says_which(story: Story, begun: Begun) -> None:
    run = begun.refused
    assert story.ended(run) == "Failed"
    done = story.command("logs", run)
    assert done.returncode == 1, lab.told(done)
    assert re.search(r"^register +Failed .*demographic_parity is 0\.\d+; at least 0\.8", done.stdout, re.MULTILINE)
    told = story.known(run)[run]
    assert told["version"] is None
    assert "demographic_parity" in told["tags"]["gates"]


#: Asked in a replica of its own page.
STATE = """import ssl, urllib.request as web
print(web.urlopen("https://localhost:8443/state", context=ssl._create_unverified_context()).read().decode())"""


def test_a_search_that_comes_to_nothing_is_ended_early_and_told_by_its_name(story: Story) -> None:
    """Regularised until nothing is left of the model: every answer is the same."""
    settings = ('models=["linear"]', "strengths=[1e-9,1e-8]", "trials=200", "patience=3", 'pruner="none"')
    run = story.submit(*(word for each in settings for word in ("--set", each)))
    assert story.ended(run) == "Failed"
    done = story.command("logs", run)
    assert re.search(
        r"^tune\S* +Failed +the training came to nothing: .*no better than 0\.5", done.stdout, re.MULTILINE
    )
    where = ("-n", lab.found().platform.namespace)

    def told() -> list[str] | None:
        state = json.loads(lab.cluster().run(*where, "exec", "deployment/portal", "--", "python3", "-c", STATE))
        of_run = [each for each in state["alerts"] if f"run {run}," in each["about"]]
        return sorted(f"{each['name']} {each['about']}" for each in of_run) or None

    assert wait_for("an alert", told, timeout=240) == [f"RunDiverged run {run}, step tune, why diverged"]


def test_a_schedule_begins_a_run_by_itself_and_wrong_times_are_refused(story: Story) -> None:
    wrong = story.command("schedule", NAME, "--at", "at night")
    assert wrong.returncode == 2 and "--at 'at night'" in wrong.stderr, lab.told(wrong)
    where = ("-n", lab.found().platform.namespace)
    assert story.command("schedule", NAME, "--at", "* * * * *").returncode == 0
    try:

        def begun() -> str | None:
            flows = lab.cluster().json(*where, "get", "workflows.argoproj.io", "-l", f"{CRON_OF}={NAME}")["items"]
            return str(flows[0]["metadata"]["name"]) if flows else None

        run = wait_for("a run of the schedule", begun, timeout=150)
        story.begun.append(run)
    finally:
        assert story.command("unschedule", NAME).returncode == 0
    assert story.ended(run) == "Succeeded"
    assert story.known(run)[run]["version"]


def test_a_model_is_trained_anew_once_its_questions_are_others_and_not_before(story: Story, good: str) -> None:
    """Looked at every minute: nothing is told, nothing is done; then what is asked drifts, and a run begins."""
    schedule, release = scheduled(NAME, when_told=True), f"test-{new_run_id()}"
    rows = [list(map(float, row)) for row in features.matrix(problem.records())[:100]]
    drifted = serving.question([[value * 3 + 1 for value in row] for row in rows])
    where = ("-n", lab.found().platform.namespace)

    def looks() -> dict[str, str]:
        """Each look that has ended its question, and what came of it."""
        flows = lab.cluster().json(*where, "get", "workflows.argoproj.io", "-l", f"{CRON_OF}={schedule}")["items"]
        nodes = {flow["metadata"]["name"]: flow.get("status", {}).get("nodes", {}).values() for flow in flows}
        return {
            name: str(node["phase"])
            for name, each in nodes.items()
            for node in each
            if node["displayName"] == "train-anew"
        }

    try:
        serving.did("deploy", release, f"models:/{NAME}/{story.known(good)[good]['version']}", "--why", "a test")
        caller = serving.Caller(release, serving.Tokens())
        wished = ("--at", "* * * * *", "--when-told", "--model", release, "--rest-hours", "0")
        done = story.command("schedule", NAME, *wished)
        assert done.returncode == 0, lab.told(done)
        first = wait_for("a look", lambda: looks() or None, timeout=180)
        assert set(first.values()) <= {"Skipped", "Omitted"}, first

        def begun() -> str | None:
            assert caller.ask(drifted)[0] == 200
            return next((name for name, phase in looks().items() if phase in ("Running", "Succeeded")), None)

        run = wait_for("an alert, and a run that it begins", begun, timeout=600, every=5)
        story.begun.append(run)
    finally:
        assert story.command("unschedule", NAME).returncode == 0
        serving.command("retire", release, "--wait", "90")
    assert story.ended(run) == "Succeeded"
    assert story.known(run)[run]["version"]
    assert "is trained anew: ModelsDrift" in story.command("logs", run).stdout


def test_a_stopped_run_goes_on_where_it_was(story: Story, stopped: str) -> None:
    assert story.ended(stopped) == "Failed"
    done = story.command("retry", stopped)
    assert done.returncode == 0, lab.told(done)
    again, first = re.match(r"(\S+) has begun at (\w+):", done.stdout).groups()  # type: ignore[union-attr]
    story.begun.append(again)
    assert first != "prepare"
    assert story.ended(again) == "Succeeded"
    assert story.known(stopped)[stopped]["version"]
