"""What is in a version's folder, and who answers with it: an estimator as scikit-learn's are, or a graph of ONNX.

Reading an estimator runs its code; reading a graph runs none.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from components.kserve.image.server.graphs import SUFFIX, Graph
from components.kserve.image.server.ports import Output

ESTIMATORS = (".joblib", ".pkl", ".skops")
SUFFIXES = (*ESTIMATORS, SUFFIX)
#: MLflow's flavours that are served, and their word for the file.
FLAVOURS = {"sklearn": "pickled_model", "onnx": "data"}


class FormError(Exception):
    """A folder holds no model, or one that can't be served so; the reason."""


class Model(Protocol):
    """One that answers. What it can't take it says by ValueError, TypeError, LookupError or ArithmeticError."""

    classes: Any  # labels that it gives, as an array; None: it does not say
    metadata: tuple[list[dict[str, Any]], list[dict[str, Any]]]  # inputs and outputs, if it says

    def rows(self, payload: Any) -> Any:
        """What is asked, as the model takes it."""

    def measured(self, rows: Any) -> Any:
        """The same for drift: an array, in which no text is."""

    def answers(self, rows: Any) -> list[Output]:
        """The first one is the answer; all that is counted, compared and kept is of it."""

    def chances(self, rows: Any, answers: Sequence[Output]) -> Any:
        """How probable each class is, for each row."""

    def unsure(self) -> str:
        """Why nobody can say how sure it is; "": it says so."""

    def unfit(self, columns: int) -> str:
        """Why it can't be asked by so many columns at once; "": it can."""


class Estimator:
    """What has `predict`."""

    metadata: tuple[list[dict[str, Any]], list[dict[str, Any]]] = ([], [])

    def __init__(self, estimator: Any) -> None:
        self._estimator = estimator
        self._predict = estimator.predict
        self.classes = getattr(estimator, "classes_", None)

    def rows(self, payload: Any) -> Any:
        """As KServe's library reads a question."""
        return importlib.import_module("kserve.utils.utils").get_predict_input(payload)

    def measured(self, rows: Any) -> Any:
        """As they are: drift leaves texts alone."""
        return rows

    def answers(self, rows: Any) -> list[Output]:
        """One."""
        return [Output("", self._predict(rows))]

    def chances(self, rows: Any, answers: Sequence[Output]) -> Any:
        """Each row is predicted once more."""
        del answers
        return self._estimator.predict_proba(rows)

    def unsure(self) -> str:
        """Only what has `predict_proba` says it."""
        if callable(getattr(self._estimator, "predict_proba", None)):
            return ""
        return f"{type(self._estimator).__name__} has no predict_proba, so it does not say how sure it is"

    def unfit(self, columns: int) -> str:
        """What it takes is seen when it is asked."""
        del columns
        return ""


def described(folder: Path) -> Path | None:
    """What MLflow says is the model; None: this is none of MLflow's."""
    about = folder / "MLmodel"
    if not about.is_file():
        return None
    flavours = importlib.import_module("yaml").safe_load(about.read_text())["flavors"]
    served = [name for name in FLAVOURS if name in flavours]
    if not served:
        raise FormError(f"{about} has the flavours {', '.join(flavours)}; allowed: {', '.join(FLAVOURS)}")
    inside: Path = (folder / flavours[served[0]][FLAVOURS[served[0]]]).resolve()
    if not inside.is_relative_to(folder.resolve()):
        raise FormError(f"{about} leads out of {folder}")
    return inside


def found(folder: Path) -> Path:
    """The one file that is the model."""
    told = described(folder)
    files = [told] if told else [f for f in sorted(folder.iterdir()) if f.suffix in SUFFIXES]
    if len(files) != 1 or files[0].suffix not in SUFFIXES:
        names = ", ".join(f.name for f in files) or "none"
        raise FormError(f"{folder}: one of *{', *'.join(SUFFIXES)} is needed, found: {names}")
    return files[0]


def read(folder: Path) -> Model:
    """The model of a folder."""
    file = found(folder)
    return Graph(file) if file.suffix == SUFFIX else Estimator(_estimator(file))


def _estimator(file: Path) -> Any:
    if file.suffix == ".skops":
        skops = importlib.import_module("skops.io")
        # Whoever may serve a model here may run code in this pod: no type is worse than another.
        return skops.load(file, trusted=skops.get_untrusted_types(file=file))
    name = "joblib" if file.suffix == ".joblib" else "cloudpickle"
    with file.open("rb") as stream:
        return importlib.import_module(name).load(stream)
