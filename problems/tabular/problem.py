"""What is asked, of which data, and what an answer has to be worth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from problems import settings as reading
from problems.quality import Record
from problems.tabular import features

# scikit-learn takes seconds to import: only a step that uses it waits for it, and not who looks at the settings.
if TYPE_CHECKING:
    from sklearn.model_selection import GridSearchCV

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
SOURCE = "scikit-learn's `diabetes`: 442 patients of Efron, Hastie, Johnstone, Tibshirani (2004)"


@dataclass(frozen=True)
class Settings(reading.Searching):
    """What may be said at `submit` or `run`, as KEY=VALUE with JSON on the right."""

    # Below 0.3 what the model knows of the group is washed out, and the two groups are no longer told yes alike: the
    # gates refuse it.
    strengths: tuple[float, ...] = (0.3, 1.0, 3.0)

    def __post_init__(self) -> None:
        """Raises ValueError for what can't be trained with."""
        super().__post_init__()
        features.names(self.leave_out)


def records() -> list[Record]:
    """As they arrive: one flat record for each patient."""
    from sklearn.datasets import load_diabetes

    data = load_diabetes(scaled=False)
    names = [*data.feature_names, features.MEASURED]
    return [
        dict(zip(names, [*map(float, row), float(y)], strict=True))
        for row, y in zip(data.data, data.target, strict=True)
    ]


def search(settings: Settings) -> GridSearchCV:
    """Fits every strength by cross-validation and keeps the best."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    return GridSearchCV(model, {"logisticregression__C": list(settings.strengths)}, cv=5, scoring="roc_auc")


def given(settings: Mapping[str, object]) -> Settings:
    """Settings out of JSON. Raises ValueError for a key that there is not, or a value of another kind."""
    return reading.given(Settings, settings)
