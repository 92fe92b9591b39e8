"""Serves one scikit-learn model by the Open Inference Protocol, v2.

The folder holds `model.joblib`, `model.pkl` or `model.skops`, or what MLflow's flavour `sklearn`
saves: then its file MLmodel says which file is the model. Reading a model runs its code; the pod
has no token, no Secret but its reader's, and no way out but to the store.
"""

from __future__ import annotations

import argparse
import importlib
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kserve
from kserve.errors import InvalidInput, ModelMissingError
from kserve.utils.utils import get_predict_input, get_predict_response

SUFFIXES = (".joblib", ".pkl", ".skops")


def described(folder: Path) -> Path | None:
    """What MLflow says is the model; None: this is none of MLflow's."""
    about = folder / "MLmodel"
    if not about.is_file():
        return None
    flavours = importlib.import_module("yaml").safe_load(about.read_text())["flavors"]
    if "sklearn" not in flavours:
        raise ModelMissingError(f"{about} has the flavours {', '.join(flavours)}, not sklearn")
    inside: Path = (folder / flavours["sklearn"]["pickled_model"]).resolve()
    if not inside.is_relative_to(folder.resolve()):
        raise ModelMissingError(f"{about} leads out of {folder}")
    return inside


def found(folder: Path) -> Path:
    """The one file that is the model."""
    told = described(folder)
    files = [told] if told else [f for f in sorted(folder.iterdir()) if f.suffix in SUFFIXES]
    if len(files) != 1 or files[0].suffix not in SUFFIXES:
        names = ", ".join(f.name for f in files) or "none"
        raise ModelMissingError(f"{folder}: one of *{', *'.join(SUFFIXES)} is needed, found: {names}")
    return files[0]


def read(file: Path) -> Any:
    """The estimator."""
    if file.suffix == ".skops":
        skops = importlib.import_module("skops.io")
        # Whoever may serve a model here may run code in this pod: no type is worse than another.
        return skops.load(file, trusted=skops.get_untrusted_types(file=file))
    name = "joblib" if file.suffix == ".joblib" else "cloudpickle"
    with file.open("rb") as stream:
        return importlib.import_module(name).load(stream)


class Served(kserve.Model):  # type: ignore[misc]  # it has no types
    """One model."""

    def __init__(self, name: str, folder: Path) -> None:
        super().__init__(name)
        self._folder = folder
        self._predict: Callable[[Any], Any] | None = None

    def load(self) -> bool:
        """Read it; the server is not ready before."""
        self._predict = read(found(self._folder)).predict
        self.ready = True
        return self.ready

    def predict(self, payload: Any, headers: Any = None, response_headers: Any = None) -> Any:
        """One answer for each row. What the model can't take is the caller's mistake."""
        del headers, response_headers
        assert self._predict is not None
        try:
            answers = self._predict(get_predict_input(payload))
        except (ValueError, TypeError, LookupError) as error:
            raise InvalidInput(str(error).splitlines()[0]) from None
        return get_predict_response(payload, answers, self.name)


def main() -> None:
    """One process, REST alone."""
    parser = argparse.ArgumentParser(parents=[kserve.model_server.parser])
    parser.add_argument("--model_dir", type=Path, required=True)
    parser.set_defaults(enable_grpc=False, enable_latency_logging=False)
    told = parser.parse_args()
    model = Served(told.model_name, told.model_dir)
    model.load()
    server = kserve.ModelServer(
        http_port=told.http_port,
        enable_grpc=told.enable_grpc,
        workers=told.workers,
        enable_latency_logging=told.enable_latency_logging,
    )
    # A line or two for each answer would cost as much as the answer.
    for name in ("kserve.trace", "uvicorn.access"):
        logging.getLogger(name).setLevel(logging.WARNING)
    server.start([model])


if __name__ == "__main__":
    main()
