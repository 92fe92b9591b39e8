"""The steps of `tabular` as the pods run them: each a process of its own, out of the ZIP file that goes to the cluster,
in a folder that knows nothing else of this repository."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import joblib
import pytest

from problems import STEPS
from problems.steps import CAME_TO_NOTHING, FAILED_A_GATE, NOT_READ
from problems.tabular import features, problem
from tests.engine import stepping
from tests.engine.stepping import Beginner, Run

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def begins() -> Iterator[Beginner]:
    with stepping.beginner() as made:
        yield made


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, begins: Beginner) -> Run:
    """Made by processes that were begun by nobody but Python; what is done to it later is not."""
    place = tmp_path_factory.mktemp("problem")
    made = Run(place, None)
    for step in STEPS:
        done = made.step(step)
        assert done.returncode == 0, f"{step}: {done.stderr}"
    return Run(place, begins)


def test_the_model_passes_every_gate_on_patients_that_it_has_not_seen(run: Run) -> None:
    verdict = run.said("register", "verdict.json")
    assert (verdict["failed"], verdict["passed"]) == ([], len(problem.QUALITY) + len(problem.MODEL))
    assert len(run.said("train", "answers.json")["truth"]) == 442
    assert 0.78 < run.said("evaluate", "metrics.json")["auc_roc"] < 0.9


def test_the_model_answers_as_it_was_saved(run: Run) -> None:
    """As the platform's model server loads it: by joblib, with no code of the problem."""
    model = joblib.load(run.work / "train" / "model.joblib")
    patients = problem.records()
    found = model.predict(features.matrix(patients))
    right = sum(int(said) == true for said, true in zip(found, features.label(patients), strict=True))
    assert right / len(patients) > 0.7


def test_the_same_seed_is_the_same_answer(run: Run) -> None:
    """One worker, as on a person's own machine."""
    before, found = run.said("train", "answers.json"), run.said("tune", "best.json")
    for step in ("tune", "train"):
        assert run.step(step).returncode == 0
    assert (run.said("train", "answers.json"), run.said("tune", "best.json")) == (before, found)


def test_the_search_keeps_to_its_trials_and_what_it_found_is_told(run: Run) -> None:
    trials = run.said("tune", "trials.json")
    assert len(trials) == problem.Settings().trials and {each["state"] for each in trials} <= {"complete", "pruned"}
    best = max((each for each in trials if each["state"] == "complete"), key=lambda each: float(each["mean"]))
    found = run.said("tune", "best.json")
    assert found["parameters"] == best["parameters"] and len(found["of_fold"]) == problem.Settings().folds
    told = run.said("train", "parameters.json")
    assert {key: told[f"tuned_{key}"] for key in best["parameters"]} == best["parameters"]


def test_a_search_with_other_folds_is_no_use_to_the_training(run: Run) -> None:
    done = run.step("train", folds=3)
    assert done.returncode == 2 and "the search had 5 folds, and now there are 3: tune again" in done.stderr


def test_a_search_among_xgboosts_models_ends_in_one_that_answers(run: Run, begins: Beginner, tmp_path: Path) -> None:
    """By joblib in a process without this repository, as the model server has it."""
    other = Run(tmp_path, begins)
    shutil.copytree(run.work, other.work)
    for step in ("tune", "train"):
        done = other.step(step, models=["xgboost"], trials=4)
        assert done.returncode == 0, done.stderr
    told = other.said("train", "parameters.json")
    assert told["tuned_model"] == "xgboost" and 2 <= told["tuned_max_depth"] <= 4
    asked = json.dumps(features.matrix(problem.records()[:20]))
    script = (
        "import joblib, json, numpy, sys; model = joblib.load(sys.argv[1]);"
        "print(type(model[-1]).__module__, json.dumps(model.predict(numpy.array(json.loads(sys.argv[2]))).tolist()))"
    )
    command = [sys.executable, "-c", script, str(other.work / "train" / "model.joblib"), asked]
    answer = subprocess.run(command, cwd=tmp_path, env={}, capture_output=True, text=True, check=True)
    module, said = answer.stdout.split(maxsplit=1)
    assert module == "xgboost.sklearn" and set(json.loads(said)) == {0, 1}


def test_a_model_that_is_unfair_is_refused_and_the_gates_are_named(run: Run) -> None:
    """No less accurate: without the patients' sex one of the two groups is told yes less often."""
    for step in ("tune", "train", "evaluate", "fairness"):
        assert run.step(step, leave_out=["sex"]).returncode == 0
    done = run.step("register", leave_out=["sex"])
    assert done.returncode == FAILED_A_GATE
    assert "gate demographic_parity is 0.6" in done.stderr and "accuracy" not in done.stderr
    assert {said.split()[0] for said in run.said("register", "verdict.json")["failed"]} == {
        "demographic_parity",
        "equal_opportunity",
    }


@pytest.mark.parametrize(
    ("change", "gate"),
    [({"bmi": None}, "completeness"), ({"bmi": 900.0}, "ranges"), ({"bmi": "large"}, "schema"), (None, "unique")],
)
def test_records_that_are_wrong_are_not_trained_on(
    run: Run, begins: Beginner, tmp_path: Path, change: dict[str, Any] | None, gate: str
) -> None:
    broken = Run(tmp_path, begins)
    records = run.said("prepare", "records.json")
    wrong = [records[0]] * 221 if change is None else [record | change for record in records[:221]]
    (broken.work / "prepare").mkdir(parents=True)
    (broken.work / "prepare" / "records.json").write_text(json.dumps(wrong + records[221:]))
    (broken.work / "prepare" / "data.json").write_text(json.dumps(run.said("prepare", "data.json")))
    done = broken.step("validate")
    assert done.returncode == FAILED_A_GATE and f"gate {gate} is" in done.stderr, done.stderr


def test_a_step_that_misses_an_earlier_one_says_so(begins: Beginner, tmp_path: Path) -> None:
    done = Run(tmp_path, begins).step("evaluate")
    assert done.returncode == NOT_READ and "train/answers.json, which step train leaves" in done.stderr


def test_a_model_of_texts_passes_its_gates_and_needs_no_code_of_its_problem(begins: Beginner, tmp_path: Path) -> None:
    """As the model server has it: one text a row, out of another process."""
    run = Run(tmp_path, begins, "text")
    for step in STEPS:
        done = run.step(step)
        assert done.returncode == 0, f"{step}: {done.stderr}"
    asked = [["ventilator restarts\nHe was without oxygen for a minute."], ["scanner is slow\nOnly for training."]]
    script = "import joblib, json, sys; print(joblib.load(sys.argv[1]).predict(json.loads(sys.argv[2])).tolist())"
    command = [sys.executable, "-c", script, str(run.work / "train" / "model.joblib"), json.dumps(asked)]
    found = subprocess.run(command, cwd=tmp_path, env={}, capture_output=True, text=True, check=True)
    assert json.loads(found.stdout) == [1, 0]


def test_a_model_that_reads_too_little_is_refused(begins: Beginner, tmp_path: Path) -> None:
    run = Run(tmp_path, begins, "text")
    codes = [run.step(step, leave_out=["body"]).returncode for step in STEPS]
    assert codes == [0] * (len(STEPS) - 1) + [FAILED_A_GATE]
    assert any(each.startswith("auc_roc") for each in run.said("register", "verdict.json")["failed"])


def test_a_search_that_comes_to_nothing_is_ended_early_with_a_code_of_its_own(
    run: Run, begins: Beginner, tmp_path: Path
) -> None:
    """Regularised until nothing is left of the model: each answer is the same, which is no better than chance."""
    other = Run(tmp_path, begins)
    shutil.copytree(run.work, other.work)
    done = other.step("tune", models=["linear"], strengths=[1e-9, 1e-8], trials=40, patience=3, pruner="none")
    assert done.returncode == CAME_TO_NOTHING, done.stderr
    assert "the last 3 are no better than 0.5" in done.stderr
    assert len(done.stdout.splitlines()) < 10, "it went on for long"


def test_a_training_that_comes_to_nothing_leaves_no_model(run: Run, begins: Beginner, tmp_path: Path) -> None:
    """With what the search could never have chosen."""
    other = Run(tmp_path, begins)
    shutil.copytree(run.work, other.work)
    best = run.said("tune", "best.json")
    nothing = {"model": "linear", "strength": 1e-9, "l1_ratio": 1.0}
    (other.work / "tune" / "best.json").write_text(
        json.dumps({"parameters": nothing, "of_fold": [nothing] * len(best["of_fold"])})
    )
    shutil.rmtree(other.work / "train")
    done = other.step("train")
    assert done.returncode == CAME_TO_NOTHING, done.stderr
    assert "5 checks in a row are no better than 0.5" in done.stderr
    assert not (other.work / "train" / "model.joblib").exists()


@pytest.mark.parametrize(
    ("content", "said"), [(None, "No such file"), ("{", "Expecting property name")], ids=["away", "cut off"]
)
def test_data_that_can_t_be_read_is_named(
    run: Run, begins: Beginner, tmp_path: Path, content: str | None, said: str
) -> None:
    other = Run(tmp_path, begins)
    shutil.copytree(run.work, other.work)
    file = other.work / "prepare" / "records.json"
    file.unlink() if content is None else file.write_text(content)
    done = other.step("validate")
    assert done.returncode == NOT_READ and "prepare/records.json, which step prepare leaves" in done.stderr
    assert said in done.stderr
