"""What is asked, of which data, and what an answer has to be worth."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from problems import settings as reading
from problems.quality import Record
from problems.tabular import features

# scikit-learn and XGBoost take seconds to import: only a step that uses one waits for it, and not who looks at the
# settings.
if TYPE_CHECKING:
    from optuna import Trial
    from sklearn.base import ClassifierMixin, TransformerMixin

GROUP = "sex"  # no patient may fare worse for it
FRESH = timedelta(days=1)  # from the arrival of the records to the training

#: The least of each figure. Four fifths is the usual bound of a fair share.
QUALITY = {"schema": 1.0, "completeness": 0.99, "ranges": 0.99, "unique": 0.99, "freshness": 1.0}
MODEL = {
    "accuracy": 0.70,
    "precision": 0.68,
    "recall": 0.68,
    "f1": 0.68,
    "auc_roc": 0.78,
    "demographic_parity": 0.8,
    "equal_opportunity": 0.8,
    "predictive_parity": 0.8,
}
MODELS = ("linear", "xgboost")
SOURCE = "scikit-learn's `diabetes`: 442 patients of Efron, Hastie, Johnstone, Tibshirani (2004)"


@dataclass(frozen=True)
class Settings(reading.Searching):
    """What may be said at `submit` or `run`, as KEY=VALUE with JSON on the right."""

    # Below 0.3 what the model knows of the group is washed out, and the two groups are no longer told yes alike: the
    # gates refuse it.
    strengths: tuple[float, ...] = (0.3, 3.0)
    models: tuple[str, ...] = MODELS  # of which the search takes one

    def wrong(self) -> Iterator[str]:
        """The mistakes."""
        yield from super().wrong()
        if not self.models or set(self.models) - set(MODELS):
            yield f"models are {list(self.models)}; one or more of {', '.join(MODELS)} are needed"
        elif self.sampler == "cmaes" and len(self.models) > 1:
            yield f"sampler cmaes searches among numbers alone: say one of {', '.join(self.models)} as models"
        try:
            features.names(self.leave_out)
        except ValueError as error:
            yield str(error)


def records() -> list[Record]:
    """As they arrive: one flat record for each patient."""
    from sklearn.datasets import load_diabetes

    data = load_diabetes(scaled=False)
    names = [*data.feature_names, features.MEASURED]
    return [
        dict(zip(names, [*map(float, row), float(y)], strict=True))
        for row, y in zip(data.data, data.target, strict=True)
    ]


def space(trial: Trial, settings: Settings) -> None:
    """Every parameter of a model, and between what it is searched."""
    if trial.suggest_categorical("model", settings.models) == "linear":
        trial.suggest_float("strength", *settings.strengths, log=True)
        trial.suggest_float("l1_ratio", 0.0, 1.0)
        return
    trial.suggest_float("learning_rate", 0.05, 0.2, log=True)
    trial.suggest_int("max_depth", 2, 4)
    trial.suggest_int("n_estimators", 30, 90)
    trial.suggest_float("subsample", 0.6, 1.0)


def model(parameters: Mapping[str, Any], settings: Settings) -> ClassifierMixin:
    """Not fitted yet. It makes one feature of two by itself, so that whoever asks it need not know of that."""
    from sklearn.pipeline import make_pipeline

    own, columns = dict(parameters), features.names(settings.leave_out)
    if own.pop("model") == "linear":
        from sklearn.linear_model import LogisticRegression
        from sklearn.preprocessing import StandardScaler

        own["C"] = own.pop("strength")
        fitted = LogisticRegression(**own, solver="saga", max_iter=2000, random_state=settings.seed)
        return make_pipeline(_widened(columns), StandardScaler(), fitted)
    from xgboost import XGBClassifier

    return make_pipeline(_widened(columns), XGBClassifier(**own, n_jobs=1, random_state=settings.seed))


def _widened(columns: list[str]) -> TransformerMixin:
    """All columns, then pressure times body mass, where both are among them."""
    from numpy import prod
    from sklearn.compose import ColumnTransformer
    from sklearn.preprocessing import FunctionTransformer

    parts: list[tuple[str, Any, list[int]]] = [("plain", "passthrough", [*range(len(columns))])]
    if {"bp", "bmi"} <= set(columns):
        product = FunctionTransformer(prod, kw_args={"axis": 1, "keepdims": True})
        parts.append(("bp_bmi", product, [columns.index("bp"), columns.index("bmi")]))
    return ColumnTransformer(parts)


def given(settings: Mapping[str, object]) -> Settings:
    """Settings out of JSON. Raises ValueError for a key that there is not, or a value of another kind."""
    return reading.given(Settings, settings)
