"""The search for a model's parameters, with Optuna: the trials of one study, by one worker or by several at once.

A study ends with exactly as many trials as were asked for, finished or ended early, whoever was lost meanwhile. Each
worker stays until all of them are over, so that each leaves the same result.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import optuna
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.pruners import BasePruner, MedianPruner, NopPruner, SuccessiveHalvingPruner
from optuna.samplers import BaseSampler, CmaEsSampler, RandomSampler, TPESampler
from optuna.storages import BaseStorage, fail_stale_trials
from optuna.trial import FrozenTrial, Trial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from problems.convergence import Diverged, finite, hopeless

#: A trial's score on one fold after the other.
Scores = Callable[[Trial], Iterator[float]]
OF_FOLDS = "scores"
OVER = (TrialState.COMPLETE, TrialState.PRUNED)
#: A store may change its primary meanwhile, under load twice.
TRIES, PAUSE_S, LOOK_S = 24, 5.0, 1.0
T = TypeVar("T")

optuna.logging.set_verbosity(optuna.logging.ERROR)


@dataclass(frozen=True)
class Search:
    """How it is searched; `worker` is the number of this one. After `patience` trials in a row that are no better than
    the `baseline` there is nothing to be found."""

    trials: int
    sampler: str = "tpe"
    pruner: str = "median"
    seed: int = 0
    worker: int = 0
    baseline: float = -math.inf
    patience: int = 5

    @property
    def _first(self) -> int:
        """So many trials are by chance and are never ended early: what follows has to have something to go by."""
        return max(2, self.trials // 3)

    def proposes(self, begun: int) -> BaseSampler:
        """Of a seed that no other worker has, nor this one after it was begun anew."""
        seed = random.Random(f"{self.seed}/{self.worker}/{begun}").getrandbits(31)
        if self.sampler == "random":
            return RandomSampler(seed)
        if self.sampler == "cmaes":
            return CmaEsSampler(n_startup_trials=self._first, seed=seed, warn_independent_sampling=False)
        # Trials of others that still run count as bad ones: two workers don't try the same.
        return TPESampler(n_startup_trials=self._first, seed=seed, constant_liar=True)

    def ends_early(self) -> BasePruner:
        """After each fold, by what other trials had at that fold."""
        if self.pruner == "none":
            return NopPruner()
        if self.pruner == "halving":
            return SuccessiveHalvingPruner(min_resource=1, reduction_factor=2)
        return MedianPruner(n_startup_trials=self._first)


class StoreError(OSError):
    """The store of the trials is away."""


class _Surplus(Exception):
    """Another worker was faster with the last one."""


def study_of(storage: BaseStorage, name: str, search: Search) -> optuna.Study:
    """The one of that name, made if it is not there."""
    pruner = search.ends_early()
    return patiently(
        lambda: optuna.create_study(
            study_name=name, storage=storage, direction="maximize", load_if_exists=True, pruner=pruner
        )
    )


def run(
    study: optuna.Study, search: Search, scores: Scores, told: Callable[[int], None] = lambda over: None
) -> list[FrozenTrial]:
    """Works until the study is over; every trial of it. Tells how many are over each time that there are more. Raises
    what `scores` raises, and Diverged for a search that comes to nothing."""
    before = -1
    while True:
        over = patiently(lambda: _next(study, search, scores))
        if over != before:
            told(over)
            before = over
        if over >= search.trials:
            return study.get_trials(deepcopy=False)


def _next(study: optuna.Study, search: Search, scores: Scores) -> int:
    """One trial, or a look at those of others, where not all are over; how many were before."""
    trials = study.get_trials(deepcopy=False)
    over = [each for each in trials if each.state in OVER]
    _worth(over, search)
    if len(over) >= search.trials:
        return len(over)
    if any(each.state is TrialState.WAITING for each in trials) or _counted(trials) < search.trials:
        study.sampler = search.proposes(len(trials))
        attempt(study, search, scores)
    else:
        time.sleep(LOOK_S)  # between two looks; the step's own deadline ends it
        fail_stale_trials(study)
    return len(over)


def _worth(over: Sequence[FrozenTrial], search: Search) -> None:
    values = [each.value for each in over if each.value is not None]
    if hopeless(values, search.baseline, search.patience):
        told = ", ".join(f"{value:.3f}" for value in values[-search.patience :])
        raise Diverged(
            f"the search, after {len(over)} trials: the last {search.patience} are no better than {search.baseline:g}, "
            f"which needs no training: {told}"
        )


def _counted(trials: Sequence[FrozenTrial], before: float = math.inf) -> int:
    """Those that are, or will be, one of the trials that were asked for."""
    return sum(each.state is not TrialState.FAIL and each.number < before for each in trials)


def attempt(study: optuna.Study, search: Search, scores: Scores) -> None:
    """One trial; given up before it begins where there are enough without it. Raises what `scores` raises."""
    raised: list[Exception] = []

    def objective(trial: Trial) -> float:
        # Numbers are given by the store, one at a time: of several that begin at once the last ones are too many.
        if _counted(study.get_trials(deepcopy=False), trial.number) >= search.trials:
            raise _Surplus
        try:
            return _scored(trial, scores)
        except (optuna.TrialPruned, StorageInternalError, UpdateFinishedTrialError):
            raise
        except Exception as error:
            raised.append(error)
            raise

    try:
        study.optimize(objective, n_trials=1, catch=(Exception,))
    except Exception as error:  # never one of `scores`: those are caught
        # This worker stood still for so long that another one has taken its trial over: so be it.
        if not (isinstance(error, ValueError) and str(error).startswith("Cannot tell a")):
            raise StoreError(f"{type(error).__name__}: {error}") from error
    if raised:
        raise raised[0]


def _scored(trial: Trial, scores: Scores) -> float:
    found: list[float] = []
    for score in scores(trial):
        finite((score,), f"trial {trial.number} with {trial.params}: the score")
        found.append(score)
        mean = math.fsum(found) / len(found)
        trial.report(mean, len(found))
        if trial.should_prune():
            raise optuna.TrialPruned
    trial.set_user_attr(OF_FOLDS, found)
    return mean


def best(trials: Sequence[FrozenTrial], without: int | None = None) -> dict[str, Any]:
    """The parameters with the best mean score; `without` this fold, whose records are answered for by them."""

    def worth(trial: FrozenTrial) -> tuple[float, int]:
        scores = [score for fold, score in enumerate(trial.user_attrs[OF_FOLDS]) if fold != without]
        return math.fsum(scores), -trial.number

    whole = [each for each in trials if each.state is TrialState.COMPLETE]
    if not whole:
        raise ValueError("every trial was lost or ended early; say pruner none")
    return dict(max(whole, key=worth).params)


def told(trials: Sequence[FrozenTrial]) -> list[Mapping[str, object]]:
    """What became of each, for whoever looks; one that was lost is "fail". Those that were too many never had
    parameters, and are left out: a worker that was earlier at the end may not have seen them."""
    return [
        {
            "number": each.number,
            "state": each.state.name.lower(),
            "parameters": each.params,
            "mean": each.value,
            OF_FOLDS: each.user_attrs.get(OF_FOLDS, []),
        }
        for each in trials
        if each.params
    ]


def patiently(do: Callable[[], T]) -> T:
    """Again while the store is away; or where two workers met that made its tables at once. Raises StoreError."""
    for left in reversed(range(TRIES)):
        try:
            return do()
        except (StoreError, StorageInternalError, SQLAlchemyError) as error:
            if not left:
                raise StoreError(f"the database of trials: {error}") from error
        time.sleep(PAUSE_S)  # between two tries, which are counted
    raise AssertionError("the last try answers or raises")
