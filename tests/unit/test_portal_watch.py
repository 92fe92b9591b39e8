"""The portal's look at runs: signs of life, what it tells Prometheus, what it does where the API server is away."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from components.portal.server import __main__, watch, watching
from components.portal.server.flows import OF_WORKFLOW
from components.portal.server.kubernetes import ApiError
from components.portal.server.runs import read
from components.portal.server.runs_page import shown
from tests.unit.test_workflow_watching import NOW, RUN, STEP, pod, tried, workflow

Object = dict[str, Any]
NODE = f"{STEP}-0"


class Api:
    """An API server that holds one run, whose pod said a line at some moment."""

    def __init__(self, progress: str = "0/1", line: str | None = None) -> None:
        self.progress, self.line, self.away = progress, line, False

    def each(self, kind: str, namespace: str, at_once: int) -> Iterator[Object]:
        if self.away:
            raise ConnectionRefusedError("nobody listens")
        assert (kind, namespace, at_once) == ("Workflow", "steps", watch.AT_ONCE)
        yield workflow("Running", *tried(STEP, "Running", pod(STEP, "Running", 25, progress=self.progress)))

    def all(self, kind: str, namespace: str, label: str = "") -> list[Object]:
        assert (kind, label) == ("Pod", "workflows.argoproj.io/workflow,workflows.argoproj.io/completed=false")
        marks = {"labels": {OF_WORKFLOW: RUN}, "annotations": {watch.OF_NODE_ID: NODE}}
        waiting = {"metadata": {"name": "other", "labels": {}, "annotations": {}}, "status": {"phase": "Pending"}}
        return [{"metadata": {"name": "pod-1", **marks}, "status": {"phase": "Running"}}, waiting]

    def log(self, namespace: str, pod: str, container: str, lines: int, *, times: bool = False) -> str:
        assert (pod, container, lines, times) == ("pod-1", "main", 1, True)
        if self.line is None:
            raise ApiError("GET log", 400, b'{"message": "it is waiting to start"}')
        return self.line

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"a look does not {name}")


def silent(made: watch.Watch, minutes: float) -> float | None:
    """So many minutes later."""
    made.round(NOW + timedelta(minutes=minutes))
    assert made.why == ""
    return made.figures.of("silent_seconds", RUN, STEP)


@pytest.mark.parametrize("line", [None, "", "no moment at all\n"])
def test_a_step_that_says_nothing_is_silent_since_its_beginning(line: str | None) -> None:
    made = watch.Watch("steps", lambda: Api(line=line))
    assert silent(made, 0) == 25 * 60 and silent(made, 5) == 30 * 60


def test_a_line_is_a_sign_of_life() -> None:
    made = watch.Watch("steps", lambda: Api(line="2026-03-01T11:57:00.123456789Z loss 0.1\n"))
    assert silent(made, 0) == pytest.approx(180, abs=1) and silent(made, 5) == pytest.approx(480, abs=1)


def test_progress_is_a_sign_of_life_and_its_lack_is_none() -> None:
    api = Api("2/12")
    made = watch.Watch("steps", lambda: api)
    assert silent(made, 0) == 0, "what was before is not known"
    assert silent(made, 4) == 240
    api.progress = "3/12"
    assert silent(made, 5) == 0 and silent(made, 16) == 660


def test_a_look_that_fails_is_told_and_what_it_saw_grows_old(monkeypatch: pytest.MonkeyPatch) -> None:
    api = Api()
    made = watch.Watch("steps", lambda: api)
    made.round(NOW)
    assert f'apadana_run_seconds{{run="{RUN}"}} 1800\n' in made.text()
    api.away = True
    made.round(NOW)
    assert "nobody listens" in made.why and "apadana_run_seconds{" in made.text()
    monkeypatch.setattr(watch, "STALE_SECONDS", 0.0)
    assert "apadana_run_seconds" not in made.text() and "apadana_runs_age_seconds 0" in made.text()
    api.away = False
    made.round(NOW)
    assert made.why == ""


def test_looks_go_on_until_told_and_a_reason_is_logged_once(monkeypatch: pytest.MonkeyPatch) -> None:
    api, said = Api(), list[str]()
    waits = iter((True, True, False, False))

    class Stop(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            assert timeout == watch.ROUND_SECONDS
            api.away = next(waits)
            if len(said) == 2:
                self.set()
            return self.is_set()

    monkeypatch.setattr(__main__, "log", said.append)
    __main__.watching(watch.Watch("steps", lambda: api), Stop())
    assert said == ["runs are not seen: nobody listens", "runs are seen"]


def test_the_page_of_a_run_says_what_is_usual_how_far_it_is_and_that_it_is_silent() -> None:
    (found,) = Api("5/12").each("Workflow", "steps", watch.AT_ONCE)
    found["status"]["storedWorkflowTemplateSpec"] = {
        "entrypoint": "all",
        "templates": [{"name": "all", "dag": {"tasks": [{"name": STEP, "template": STEP}]}}, {"name": STEP}],
    }
    found["status"]["nodes"][STEP]["progress"] = "5/12"
    seen = watching.figures([found], {}, NOW)
    seen.put("usual_seconds", RUN, STEP, 240)
    text = shown("lab", read(found, NOW), seen)
    assert "runs 5/12" in text and "usually 4 min 0 s, silent for 25 min 0 s" in text
