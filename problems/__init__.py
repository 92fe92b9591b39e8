"""Problems as a client would write them: data, features, model, gates and pipeline, each in a folder of its own.

`archive`, `asking`, `convergence`, `due`, `gates`, `lineage`, `online`, `origin`, `progress`, `quality`, `recording`,
`reproducing`, `settings`, `steps`, `store`, `studies`, `tracking`, `tuning` and a problem's own modules run in a step's
pod: the standard library, scikit-learn, XGBoost, and for the search Optuna. `house`, `pipeline`, `cluster` and the
command line run where the workflow is submitted.
"""

from __future__ import annotations

from collections.abc import Mapping

#: In their order; each with the steps whose folders it reads.
STEPS: Mapping[str, tuple[str, ...]] = {
    "prepare": (),
    "validate": ("prepare",),
    "features": ("prepare",),
    "tune": ("features",),
    "train": ("features", "tune"),
    "evaluate": ("train",),
    "fairness": ("train",),
    "register": ("prepare", "validate", "features", "tune", "train", "evaluate", "fairness"),
}
#: How a step is told where the trials of its search are kept; without an address: in its memory.
STUDIES_ADDRESS, STUDIES_DATABASE = "STUDIES_ADDRESS", "STUDIES_DATABASE"
STUDIES_LOGIN, STUDIES_CA = "STUDIES_LOGIN", "STUDIES_CA"  # a folder with username and password, and a file
