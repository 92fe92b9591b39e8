"""The lineage of a version, out of what its steps left. The standard library alone."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from problems import archive, origin
from problems.gates import Gate
from problems.lineage import FORMAT, TAG, Code, Data, Features, Ground, Lineage, Passed, Training


@dataclass(frozen=True)
class Told:
    """What is kept of a version beside its model."""

    lineage: Lineage
    contents: tuple[bytes, ...]  # code and data, each under its digest

    @property
    def tags(self) -> dict[str, str]:
        """By which a version is found and told apart in MLflow."""
        found, code = self.lineage, self.lineage.code
        said = {
            TAG: archive.sha256(found.text()),
            "code.sha256": code.sha256,
            "mlflow.source.git.commit": code.commit,  # its page shows this one
            "code.uncommitted": {None: "", False: "no", True: "yes"}[code.changed],
            "data.sha256": found.data.sha256,
            "features.sha256": found.features.sha256,
            "features.definition.sha256": found.features.definition,
            "image": found.ground.image,
        }
        return {key: value for key, value in said.items() if value}


@dataclass(frozen=True)
class Ended:
    """A run whose model passed every gate."""

    problem: str
    run: str
    settings: Mapping[str, Any]  # all of them
    work: Path  # a folder for each step
    gates: Sequence[Gate]
    figures: Mapping[str, float | None]
    model: Sequence[Path]

    def told(self) -> Told:
        """Raises ValueError where steps were done with different things, so that nobody could do them again."""
        steps = {step: self._read(step, origin.FILE) for step in origin.AGAIN}
        code = archive.of_process(self.problem)
        steps["register"] = origin.of_process(self.problem) | {"libraries": {}}
        libraries = origin.together(steps)
        commit, changed = origin.commit(each["commit"] for each in steps.values())
        raw, known = (self._content(step, "records.json") for step in ("prepare", "features"))
        about, of_store = self._read("prepare", "data.json"), self._read("features", "features.json")
        best = self._read("tune", "best.json")
        found = Lineage(
            format=FORMAT,
            model=self.problem,
            run=self.run,
            code=Code(archive.sha256(code), commit, changed),
            data=Data(**about, judged=self._read("validate", "judged.json")["at"]),
            features=Features(
                **of_store | {"names": tuple(of_store["names"])},
                definition=archive.definition(code, self.problem),
                sha256=archive.sha256(known),
            ),
            training=Training(self.settings, _seeds(self.settings), best["parameters"], tuple(best["of_fold"])),
            ground=Ground(**{key: steps["train"][key] for key in ("python", "machine", "image")}, libraries=libraries),
            files={file.name: archive.sha256(file.read_bytes()) for file in self.model},
            gates=tuple(Passed(each.name, each.value, each.least) for each in self.gates if each.value is not None),
            figures={key: value for key, value in self.figures.items() if value is not None},
        )
        return Told(found, (code, raw, known))

    def _content(self, step: str, file: str) -> bytes:
        return (self.work / step / file).read_bytes()

    def _read(self, step: str, file: str) -> Any:
        return json.loads(self._content(step, file))


def _seeds(settings: Mapping[str, Any]) -> dict[str, int]:
    return {key: value for key, value in settings.items() if key == "seed" or key.endswith("_seed")}
