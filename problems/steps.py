"""One step of a problem, by itself: `python -m problems.steps NAME STEP --work FOLDER --out FOLDER`.

Each step reads what earlier ones left in `FOLDER/<step>` and writes a folder of its own, so it runs alone, as one of a
whole, as a process of this machine or as a pod, and twice if it has to.

Exit codes: 0 done, 2 wrong use, 3 a gate was failed, 4 the training came to nothing, 5 something could not be read or
reached. The page of runs and the alerts know them (components/workflows/reasons.py).
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from problems import STEPS, archive, online, origin, progress, quality, recording, reference, store, tracking
from problems.asking import AskedError
from problems.convergence import Course, Diverged, finite
from problems.gates import Gate, Refused, failed, fairness, judge, metrics

# NumPy and scikit-learn take more than a second to import: only a step that learns waits for them.
FAILED_A_GATE, CAME_TO_NOTHING, NOT_READ = 3, 4, 5
CHANCE = 0.5  # AUC-ROC of answers that know nothing


class InputError(Exception):
    """What an earlier step left can't be read; the text names it."""


@dataclass(frozen=True)
class Job:
    """What one step is given."""

    name: str  # of the problem
    work: Path  # a folder for each step that was done
    out: Path  # this step's own
    run: str
    settings: Mapping[str, Any]
    worker: int = 0  # of several that do this step at once
    now: datetime = field(default_factory=lambda: datetime.now(UTC))

    def part(self, module: str) -> Any:
        """One of the problem's own modules."""
        return importlib.import_module(f"problems.{self.name}.{module}")

    def read(self, step: str, file: str) -> Any:
        """JSON that an earlier step left. Raises InputError."""
        place = self.work / step / file
        try:
            return json.loads(place.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise InputError(f"can't read {place}, which step {step} leaves: {error}") from error

    def write(self, file: str, content: object) -> None:
        """JSON for later steps, and for whoever looks into the store."""
        (self.out / file).write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def prepare(job: Job) -> None:
    """Takes the records in, with their count, digest and time of arrival."""
    problem = job.part("problem")
    records = _streamed(job) if streamed(problem) else problem.records()
    job.write("records.json", records)
    digest = archive.sha256((job.out / "records.json").read_bytes())
    about = {"source": problem.SOURCE, "records": len(records), "sha256": digest, "arrived": job.now.isoformat()}
    job.write("data.json", about)


def streamed(problem: Any) -> bool:
    """Whether its records come by the stream: it names their keys, and the feature store has them already."""
    return hasattr(problem, "keys")


def _streamed(job: Job) -> list[dict[str, object]]:
    """What the feature store knows now of each key that the problem names. Raises InputError where there is none."""
    problem, module = job.part("problem"), job.part("features")
    if (kept := store.from_environment()) is None:
        raise InputError(f"the records of {job.name} are in the feature store, and {store.URI} is not set")
    keys = problem.keys(problem.given(job.settings))
    return kept.history(store.view(module, job.name), list(module.COLUMNS), keys, job.now.isoformat())


def validate(job: Job) -> None:
    """Judges the records; raises Refused for those that nothing may be trained on."""
    problem, columns = job.part("problem"), job.part("features").COLUMNS
    arrived = datetime.fromisoformat(job.read("prepare", "data.json")["arrived"])
    records = job.read("prepare", "records.json")
    found = quality.figures(records, columns, arrived, job.now, problem.FRESH)
    job.write("quality.json", found)
    job.write("judged.json", {"at": job.now.isoformat()})
    gates = judge(found, problem.QUALITY)
    if failed(gates):
        _tell(job, gates, {}, ())
        raise Refused(failed(gates))


def features(job: Job) -> None:
    """Hands the whole records to the feature store, and takes back what it knew of each at that moment: what is trained
    on is what will be known when an answer is wanted. Without a store the records themselves are the features, and
    what came from the store needs no second look."""
    module = job.part("features")
    view = store.view(module, job.name)
    records = quality.complete(job.read("prepare", "records.json"), module.COLUMNS)
    about = job.read("prepare", "data.json")
    names = [name for name in module.COLUMNS if name != module.MEASURED]
    known, source, moment = records, "the records", about["arrived"]
    if streamed(job.part("problem")):
        source = online.TOLD_BY
    elif (kept := store.from_environment()) is not None:
        moment = kept.keep(view, names, records, about["arrived"])
        found = kept.history(view, names, range(len(records)), moment)
        pairs = zip(found, records, strict=True)
        known, source = [row | {module.MEASURED: record[module.MEASURED]} for row, record in pairs], online.TOLD_BY
    job.write("records.json", known)
    job.write("features.json", {"source": source, "known_at": moment, "view": view.name, "names": names})


@dataclass(frozen=True)
class Lesson:
    """What is learnt from, and on which records each model is asked that has learnt from the others."""

    rows: Any  # an array: a fold takes some of them
    truth: Any
    group: Sequence[str]
    folds: Sequence[tuple[Any, Any]]  # numbers of the records that are learnt from, and of those that are asked


def _lesson(job: Job, settings: Any) -> Lesson:
    """Of the same records and settings always the same folds."""
    import numpy as np
    from sklearn.model_selection import StratifiedKFold

    problem, module = job.part("problem"), job.part("features")
    records = quality.complete(job.read("features", "records.json"), module.COLUMNS)
    rows, truth = module.matrix(records, settings.leave_out), module.label(records)
    group = [str(record[problem.GROUP]) for record in records]
    # As many of each group and of each answer in every fold.
    kinds = [f"{who}/{yes}" for who, yes in zip(group, truth, strict=True)]
    folds = StratifiedKFold(settings.folds, shuffle=True, random_state=settings.seed)
    return Lesson(np.asarray(rows), np.asarray(truth), group, list(folds.split(rows, kinds)))


def tune(job: Job) -> None:
    """Searches for the model's parameters: for all records, and for each fold by what the other folds said, so that
    nobody has a say in how he is answered for."""
    from problems import studies, tuning  # they take a second to import, and no other step needs them

    problem = job.part("problem")
    settings = problem.given(job.settings)
    lesson = _lesson(job, settings)

    def scores(trial: Any) -> Iterator[float]:
        problem.space(trial, settings)
        for learnt, asked in lesson.folds:
            model = problem.model(trial.params, settings).fit(lesson.rows[learnt], lesson.truth[learnt])
            yield _score(model, lesson, asked, f"trial {trial.number} with {trial.params}: chance")[0]

    search = tuning.Search(
        settings.trials, settings.sampler, settings.pruner, settings.seed, job.worker, CHANCE, settings.patience
    )
    storage = tuning.patiently(studies.from_environment)
    study = tuning.study_of(storage, f"{job.name}/{job.run}", search)
    trials = tuning.run(study, search, scores, lambda over: progress.told(over, settings.trials, "trials"))
    of_fold = [tuning.best(trials, without=fold) for fold in range(settings.folds)]
    job.write("best.json", {"parameters": tuning.best(trials), "of_fold": of_fold})
    job.write("trials.json", tuning.told(trials))
    if job.worker == 0:
        tuning.patiently(lambda: studies.forget_old(storage, job.name))


def _score(model: Any, lesson: Lesson, asked: Any, what: str) -> tuple[float, Any]:
    """AUC-ROC of a model's answers to records that it has not seen, and its chances. Raises Diverged for one that gives
    no numbers."""
    from sklearn.metrics import roc_auc_score

    chances = model.predict_proba(lesson.rows[asked])[:, 1]
    finite(chances, what)
    return float(roc_auc_score(lesson.truth[asked], chances)), chances


def train(job: Job) -> None:
    """Fits the best model on all records. The answers that are judged are of models fitted on the other folds: nobody
    is answered for by a model that has seen him. Raises Diverged where none of these is better than chance."""
    import joblib
    import numpy as np

    problem = job.part("problem")
    settings = problem.given(job.settings)
    lesson, best = _lesson(job, settings), job.read("tune", "best.json")
    if len(best["of_fold"]) != settings.folds:
        raise ValueError(f"the search had {len(best['of_fold'])} folds, and now there are {settings.folds}: tune again")
    chances, course = np.empty(len(lesson.truth)), Course("training", CHANCE, min(settings.patience, settings.folds))
    for fold, ((learnt, asked), parameters) in enumerate(zip(lesson.folds, best["of_fold"], strict=True)):
        progress.told(fold, settings.folds + 1, "models")
        model = problem.model(parameters, settings).fit(lesson.rows[learnt], lesson.truth[learnt])
        score, chances[asked] = _score(model, lesson, asked, f"fold {fold}: chance")
        course.check(score, f"fold {fold}")
    progress.told(settings.folds, settings.folds + 1, "models")
    scores = [float(each) for each in chances]
    said = [int(each >= 0.5) for each in scores]
    job.write("answers.json", {"truth": lesson.truth.tolist(), "said": said, "score": scores, "group": lesson.group})
    best_of_all = problem.model(best["parameters"], settings).fit(lesson.rows, lesson.truth)
    joblib.dump(best_of_all, job.out / "model.joblib")
    module = job.part("features")
    names = module.names(settings.leave_out)
    answers = best_of_all.predict(lesson.rows).tolist()
    job.write(reference.FILE, reference.reference(names, lesson.rows.tolist(), answers))
    of_store = job.read("features", "features.json")
    if (asked := online.declaration(of_store, store.view(module, job.name), names, lesson.rows.tolist())) is not None:
        job.write(online.FILE, asked)
    told = asdict(settings) | {"features": names}
    told |= {f"tuned_{key}": value for key, value in best["parameters"].items()}
    told |= {f"features_{key}": of_store[key] for key in ("source", "view", "known_at")}
    job.write("parameters.json", told)


def evaluate(job: Job) -> None:
    """How good the answers are on what no training saw."""
    found = job.read("train", "answers.json")
    job.write("metrics.json", metrics(found["truth"], found["said"], found["score"]))


def fair(job: Job) -> None:
    """Whether a group fares worse."""
    found = job.read("train", "answers.json")
    job.write("fairness.json", fairness(found["truth"], found["said"], found["group"]))


def register(job: Job) -> None:
    """Tells MLflow, and makes a version that may be deployed of a model that passed every gate; else raises Refused."""
    problem = job.part("problem")
    figures = job.read("evaluate", "metrics.json") | job.read("fairness", "fairness.json")
    gates = judge(job.read("validate", "quality.json"), problem.QUALITY) + judge(figures, problem.MODEL)
    lost = failed(gates)
    trained = job.work / "train"
    files = (trained / name for name in ("model.joblib", reference.FILE, online.FILE))
    model = () if lost else tuple(file for file in files if file.is_file())
    version = _tell(job, gates, figures, model)
    job.write(
        "verdict.json", {"version": version, "failed": [str(gate) for gate in lost], "passed": len(gates) - len(lost)}
    )
    if lost:
        raise Refused(lost)


def _tell(job: Job, gates: Sequence[Gate], figures: Mapping[str, float | None], model: Sequence[Path]) -> str | None:
    """The version that was made of it. Without MLFLOW_TRACKING_URI nobody is told, and this is said. Raises ValueError
    for a model that nobody could have again."""
    mlflow = tracking.from_environment()
    if mlflow is None:
        sys.stderr.write("nobody is told: MLFLOW_TRACKING_URI is not set\n")
        return None
    trained = (job.work / "train" / "parameters.json").is_file()
    data = job.read("prepare", "data.json")
    record = tracking.Record(
        problem=job.name,
        run=job.run,
        parameters=job.read("train", "parameters.json") if trained else dict(job.settings),
        figures={gate.name: gate.value for gate in gates} | dict(figures),
        tags={
            "data.sha256": data["sha256"],
            "data.source": data["source"],
            "gates": "failed: " + ", ".join(g.name for g in failed(gates)) if failed(gates) else "passed",
        },
    )
    return mlflow.tell(record, model, _lineage(job, gates, record.figures, model) if model else None)


def _lineage(
    job: Job, gates: Sequence[Gate], figures: Mapping[str, float | None], model: Sequence[Path]
) -> recording.Told:
    settings = json.loads(json.dumps(asdict(job.part("problem").given(job.settings))))  # tuples are lists in JSON
    return recording.Ended(job.name, job.run, settings, job.work, gates, figures, model).told()


BODIES: Mapping[str, Callable[[Job], None]] = {
    "prepare": prepare,
    "validate": validate,
    "features": features,
    "tune": tune,
    "train": train,
    "evaluate": evaluate,
    "fairness": fair,
    "register": register,
}


@contextmanager
def told(work: Path, step: str) -> Iterator[Path]:
    """The folders that this step is said to read, and no other: a pod is given those alone."""
    with TemporaryDirectory() as place:
        for each in STEPS[step]:
            (Path(place) / each).symlink_to((work / each).absolute())
        yield Path(place)


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(prog="python -m problems.steps", description=__doc__)
    parser.add_argument("name", help="the problem, a folder of problems/")
    parser.add_argument("step", choices=STEPS)
    parser.add_argument("--work", type=Path, required=True, help="where the folders of earlier steps are")
    parser.add_argument("--out", type=Path, required=True, help="this step's own folder")
    parser.add_argument("--run", default="local", help="what the run is called in MLflow")
    parser.add_argument("--settings", default="{}", help="JSON; the problem's Settings says which there are")
    parser.add_argument("--worker", type=int, default=0, help="the number of this one, where several do the step")
    parser.add_argument("--now", type=datetime.fromisoformat, help="the moment of it, where a step is done again")
    given = parser.parse_args(arguments)
    given.out.mkdir(parents=True, exist_ok=True)
    at = (given.now,) if given.now else ()
    try:
        with told(given.work, given.step) as work:
            job = Job(given.name, work, given.out, given.run, json.loads(given.settings), given.worker, *at)
            job.part("problem").given(job.settings)
            BODIES[given.step](job)
            job.write(origin.FILE, origin.of_process(given.name))
    except Refused as error:
        sys.stderr.write(f"{given.name} {given.step}: {error}\n")
        return FAILED_A_GATE
    except Diverged as error:
        sys.stderr.write(f"{given.name} {given.step}: {error}\n")
        return CAME_TO_NOTHING
    except (InputError, AskedError, OSError) as error:
        sys.stderr.write(f"{given.name} {given.step}: {error}\n")
        return NOT_READ
    except (ValueError, ModuleNotFoundError) as error:
        sys.stderr.write(f"{given.name} {given.step}: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
