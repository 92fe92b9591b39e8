"""A version's figures once more, from nothing but what its lineage names: `python -m problems.reproducing MODEL@VERSION
--work FOLDER`, with MLFLOW_TRACKING_URI. The standard library alone: it runs in a pod, too.

Exit codes: 0 the same figures, 1 others, 2 it can't be done.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from problems import STUDIES_ADDRESS, lineage, origin, store, tracking
from problems.asking import AskedError
from problems.lineage import FILE, TAG, Lineage, LineageError, Named, kept
from problems.tracking import Mlflow

#: Of two figures, relatively: the last digits may be another processor's.
CLOSE = 1e-9
#: What the steps leave of figures.
FIGURES = {"validate": "quality.json", "evaluate": "metrics.json", "fairness": "fairness.json"}
#: Not told to the steps: what is done again tells nobody and asks nobody.
UNTOLD = (tracking.URI, store.URI, STUDIES_ADDRESS)
FAILED_A_GATE = 3  # as in steps.py, which takes scikit-learn to import
Json = dict[str, Any]


@dataclass(frozen=True)
class Version:
    """What MLflow says of one."""

    named: Named
    number: str
    aliases: tuple[str, ...]
    digest: str  # of its lineage
    place: str  # of the artefacts of its run
    experiment: str
    lineage: Lineage

    def __str__(self) -> str:
        """As everybody else says it."""
        return f"{self.named.model}@{self.number}"


@dataclass(frozen=True)
class Compared:
    """One figure, then and now."""

    name: str
    then: float
    now: float | None

    @property
    def equal(self) -> bool:
        """To what another processor may change."""
        return self.now is not None and math.isclose(self.then, self.now, rel_tol=CLOSE, abs_tol=CLOSE)

    def __str__(self) -> str:
        """One line."""
        now = "not there" if self.now is None else f"{self.now:.6f}"
        return f"{self.name:20} {self.then:.6f}  {now}  {'equal' if self.equal else 'differs'}"


def find(mlflow: Mlflow, named: Named) -> Version:
    """Raises LineageError for a version that is not there, has no lineage, or one that is not its own."""
    told = _version(mlflow, named)
    tags = {each["key"]: each["value"] for each in told.get("tags", [])}
    if TAG not in tags:
        raise LineageError([f"{named} has no lineage: it was registered before versions had one (tag {TAG})"])
    run = mlflow.get("runs/get", run_id=told["run_id"])["run"]
    place = mlflow.place(run)
    if (content := mlflow.fetch(f"{place}/{FILE}")) is None:
        raise LineageError([f"{FILE} of {named} is gone from MLflow's {place}"])
    found = lineage.read(kept(content, tags[TAG], f"{FILE} of {named}"))
    if found.model != named.model:
        raise LineageError([f"{FILE} of {named} is of the model {found.model}"])
    aliases = tuple(sorted(map(str, told.get("aliases", []))))
    return Version(named, str(told["version"]), aliases, tags[TAG], place, run["info"]["experiment_id"], found)


def _version(mlflow: Mlflow, named: Named) -> Json:
    try:
        if named.alias:
            found = mlflow.get("registered-models/alias", name=named.model, alias=named.alias)["model_version"]
            number = str(found["version"])
        elif named.digest:
            number = _of_digest(mlflow, named)
        else:
            number = named.number
        whole: Json = mlflow.get("model-versions/get", name=named.model, version=number)["model_version"]
    except AskedError as error:
        if error.status not in (400, 404):  # MLflow's words for an alias, and for a number, that there is not
            raise
        raise LineageError([f"MLflow knows no {named}: {error}"]) from None
    return whole


def _of_digest(mlflow: Mlflow, named: Named) -> str:
    """Several versions may have the same lineage: then it does not matter which."""
    found: dict[str, str] = {}
    for each in mlflow.versions(f"name = '{named.model}'"):
        for tag in each.get("tags", []):
            if tag["key"] == TAG and tag["value"].startswith(named.digest):
                found.setdefault(tag["value"], str(each["version"]))
    if len(found) != 1:
        raise LineageError([f"{len(found)} lineages of {named.model} begin with sha256:{named.digest}; one is needed"])
    return next(iter(found.values()))


@dataclass(frozen=True)
class Fetched:
    """All of it, each as it was kept."""

    code: bytes
    data: bytes
    features: bytes


def fetch(mlflow: Mlflow, version: Version, *, anyway: bool = False) -> Fetched:
    """Raises LineageError with everything that can't be had; `anyway`: other libraries will do."""
    found, contents = version.lineage, mlflow.contents(version.experiment)
    named = (
        ("code", found.code.sha256, "the code"),
        ("data", found.data.sha256, "the data (records as they arrived)"),
        ("features", found.features.sha256, "the features (records as they were trained on)"),
    )
    wrong: list[str] = []
    had: dict[str, bytes] = {}
    for key, digest, what in named:
        try:
            had[key] = contents.get(digest, what)
        except LineageError as error:
            wrong += error.wrong
    for name, digest in found.files.items():
        wrong += _altered(mlflow, f"{version.place}/model/{name}", digest, f"{name} of {version}")
    wrong += [] if anyway else list(_ground(found.ground))
    if wrong:
        raise LineageError(wrong)
    return Fetched(**had)


def _altered(mlflow: Mlflow, place: str, digest: str, what: str) -> Sequence[str]:
    if (content := mlflow.fetch(place)) is None:
        return [f"{what} is gone from MLflow's {place}"]
    try:
        kept(content, digest, what)
    except LineageError as error:
        return error.wrong
    return []


def _ground(wanted: lineage.Ground) -> Iterator[str]:
    """Python's line, the processor's kind, and each library that was in use."""
    here = platform.python_version()
    if _line(here) != _line(wanted.python):
        yield f"Python was {wanted.python}, here it is {here}"
    if platform.machine() != wanted.machine:
        yield f"the machine was {wanted.machine}, here it is {platform.machine()}"
    yield from origin.other(wanted.libraries)


def _line(version: str) -> list[str]:
    return version.split(".")[:2]


def again(found: Lineage, had: Fetched, work: Path) -> dict[str, float | None]:
    """The figures, by the version's own code in processes of their own. Raises LineageError where a step fails."""
    work.mkdir(parents=True, exist_ok=True)
    if any(work.iterdir()):
        raise LineageError([f"{work} is not empty; say another folder"])
    code = work / "code.zip"
    code.write_bytes(had.code)
    _lay(found, had, work)
    environment = {key: value for key, value in os.environ.items() if key not in UNTOLD} | {"PYTHONPATH": str(code)}
    figures: dict[str, float | None] = {}
    for step in origin.AGAIN:
        # -P: what lies in the folder where this was begun is not what is run.
        command = [sys.executable, "-P", "-m", "problems.steps", found.model, step, f"--work={work}"]
        command += [f"--out={work / step}", f"--run={found.run}", f"--now={found.data.judged}"]
        command += [f"--settings={json.dumps(dict(found.training.settings))}"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode not in (0, FAILED_A_GATE):
            raise LineageError([f"the step {step} ended with {done.returncode}: {done.stderr[-2000:].strip()}"])
        if step in FIGURES:
            figures |= json.loads((work / step / FIGURES[step]).read_text(encoding="utf-8"))
    return figures


def _lay(found: Lineage, had: Fetched, work: Path) -> None:
    """The folders of the steps that are not done again, as `format` 1 of a lineage has them."""
    data, features, training = found.data, found.features, found.training
    about = {"source": data.source, "records": data.records, "sha256": data.sha256, "arrived": data.arrived}
    known = {"source": features.source, "view": features.view, "known_at": features.known_at}
    best = {"parameters": dict(training.parameters), "of_fold": [dict(each) for each in training.of_fold]}
    laid: Mapping[str, bytes] = {
        "prepare/records.json": had.data,
        "prepare/data.json": json.dumps(about).encode(),
        "features/records.json": had.features,
        "features/features.json": json.dumps(known | {"names": list(features.names)}).encode(),
        "tune/best.json": json.dumps(best).encode(),
    }
    for name, content in laid.items():
        (work / name).parent.mkdir(exist_ok=True)
        (work / name).write_bytes(content)


def compare(then: Mapping[str, float], now: Mapping[str, float | None]) -> list[Compared]:
    """Each figure that the version has."""
    return [Compared(name, value, now.get(name)) for name, value in sorted(then.items())]


def reproduce(mlflow: Mlflow, named: Named, work: Path, *, anyway: bool = False) -> tuple[list[str], bool]:
    """What is to be told, and whether every figure is the same. Raises LineageError."""
    version = find(mlflow, named)
    found = version.lineage
    had = fetch(mlflow, version, anyway=anyway)
    compared = compare(found.figures, again(found, had, work))
    lines = [
        f"{version}: code sha256:{found.code.sha256[:12]}, data sha256:{found.data.sha256[:12]}, "
        f"features sha256:{found.features.sha256[:12]}, lineage sha256:{version.digest[:12]}"
    ]
    lines += [f"other than then: {each}" for each in _ground(found.ground)]
    if (here := os.environ.get(origin.IMAGE, "")) != found.ground.image:
        lines.append(f"the image was {found.ground.image or 'none'}, here it is {here or 'none'}")
    lines += map(str, compared)
    return lines, all(each.equal for each in compared)


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(prog="python -m problems.reproducing")
    parser.add_argument("version", help="MODEL@VERSION")
    parser.add_argument("--work", type=Path, required=True, help="an empty folder")
    parser.add_argument("--anyway", choices=("yes", "no"), default="no", help="with other libraries than then, too")
    given = parser.parse_args(arguments)
    try:
        mlflow = tracking.from_environment()
        if mlflow is None:
            raise LineageError([f"{tracking.URI} is not set: nobody knows of versions"])
        lines, equal = reproduce(mlflow, lineage.named(given.version), given.work, anyway=given.anyway == "yes")
    except (LineageError, AskedError, OSError) as error:
        sys.stderr.write(f"{given.version} can't be had again:\n{error}\n")
        return 2
    print(*lines, "the same figures" if equal else "other figures", sep="\n")  # noqa: T201  a person reads it
    return 0 if equal else 1


if __name__ == "__main__":
    sys.exit(main())
