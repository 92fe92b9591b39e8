"""What is asked, of which machines, and what an answer has to be worth."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from problems import settings as reading
from problems.machines import features

# scikit-learn takes seconds to import: only a step that uses it waits for it, and not who looks at the settings.
if TYPE_CHECKING:
    from optuna import Trial
    from sklearn.ensemble import RandomForestClassifier

GROUP = "number"  # no kind of machine may be called worn more often than another that is worn as often
FRESH = timedelta(hours=1)  # from the look into the store to the training

#: The least of each figure.
QUALITY = {"schema": 1.0, "completeness": 0.99, "ranges": 0.99, "unique": 0.99, "freshness": 1.0}
MODEL = {
    "accuracy": 0.9,
    "precision": 0.9,
    "recall": 0.9,
    "f1": 0.9,
    "auc_roc": 0.95,
    "demographic_parity": 0.8,
    "equal_opportunity": 0.8,
    "predictive_parity": 0.8,
}
SOURCE = "the feature store: what came by the stream"
MOST = 20_000  # machines of one training


@dataclass(frozen=True)
class Settings(reading.Searching):
    """What may be said at `submit` or `run`, as KEY=VALUE with JSON on the right."""

    folds: int = 4
    trials: int = 6
    machines: str = "machine-"  # how their keys begin; the rest is a number from 0 on
    count: int = 200

    def wrong(self) -> Iterator[str]:
        """The mistakes."""
        yield from super().wrong()
        if not 1 <= self.count <= MOST:
            yield f"count is {self.count}; from 1 to {MOST} are allowed"
        try:
            features.names(self.leave_out)
        except ValueError as error:
            yield str(error)


def keys(settings: Settings) -> list[str]:
    """Of the machines that are learnt from."""
    return [f"{settings.machines}{number}" for number in range(settings.count)]


def space(trial: Trial, settings: Settings) -> None:
    """Every parameter of a model, and between what it is searched."""
    trial.suggest_int("n_estimators", 20, 40)
    trial.suggest_int("max_depth", 5, 9)


def model(parameters: Mapping[str, Any], settings: Settings) -> RandomForestClassifier:
    """Not fitted yet. Each split may look at every column: what vibration means depends on the kind of machine."""
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(**parameters, max_features=None, n_jobs=1, random_state=settings.seed)


def given(settings: Mapping[str, object]) -> Settings:
    """Settings out of JSON. Raises ValueError for a key that there is not, or a value of another kind."""
    return reading.given(Settings, settings)
