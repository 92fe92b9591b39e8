"""The search for parameters: how many trials there are, which is the best, what ends one early, what is told."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path

import optuna
import pytest
from optuna.storages import BaseStorage, InMemoryStorage
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial
from sqlalchemy.exc import OperationalError

from bundle import wheels
from problems import studies, tuning
from problems.convergence import Diverged
from problems.settings import PRUNERS, SAMPLERS

REPOSITORY = Path(__file__).parents[2]
FOLDS = 3


def hill(trial: Trial) -> Iterator[float]:
    """The best is at (0.3, 6)."""
    x, y = trial.suggest_float("x", 0, 1), trial.suggest_int("y", 0, 10)
    for fold in range(FOLDS):
        yield 1 - (x - 0.3) ** 2 - ((y - 6) / 10) ** 2 + fold / 100


def searched(
    search: tuning.Search, scores: tuning.Scores = hill, storage: BaseStorage | None = None
) -> list[FrozenTrial]:
    return tuning.run(tuning.study_of(storage or InMemoryStorage(), "x/1", search), search, scores)


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("pruner", PRUNERS)
def test_as_many_trials_as_were_asked_for_and_the_best_of_them(sampler: str, pruner: str) -> None:
    found = searched(tuning.Search(20, sampler, pruner))
    assert len(found) == 20 and all(each.state in tuning.OVER for each in found)
    whole = [each for each in found if each.state is TrialState.COMPLETE]
    assert tuning.best(found) == max(whole, key=lambda each: each.value or 0).params
    assert any(each.state is TrialState.PRUNED for each in found) == (pruner != "none")


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_one_worker_with_the_same_seed_finds_the_same_and_another_worker_another(sampler: str) -> None:
    def parameters(search: tuning.Search) -> list[dict[str, object]]:
        return [each.params for each in searched(search)]

    first = parameters(tuning.Search(10, sampler, seed=1))
    assert parameters(tuning.Search(10, sampler, seed=1)) == first
    assert parameters(tuning.Search(10, sampler, seed=1, worker=1))[0] != first[0]
    assert parameters(tuning.Search(10, sampler, seed=2))[0] != first[0]


@pytest.mark.parametrize("sampler", ["tpe", "cmaes"])
def test_it_learns_from_its_trials(sampler: str) -> None:
    """Over ten searches: those that learn come nearer than chance does."""

    def away(kind: str) -> float:
        found = [searched(tuning.Search(40, kind, "none", seed)) for seed in range(10)]
        return sum(1.01 - max(each.value or 0 for each in trials) for trials in found)

    assert away(sampler) < away("random")


def test_a_study_that_was_left_goes_on_with_what_it_has() -> None:
    storage = InMemoryStorage()
    begun = searched(tuning.Search(4, "random"), storage=storage)
    found = searched(tuning.Search(9, "random"), storage=storage)
    assert [each.params for each in found[:4]] == [each.params for each in begun] and len(found) == 9


def test_a_trial_that_another_worker_was_faster_with_does_not_count() -> None:
    """It begins while the last one runs that was asked for."""
    storage, search = InMemoryStorage(), tuning.Search(3, "random", "none")
    study = tuning.study_of(storage, "x/1", search)
    asked: list[int] = []

    def others(trial: Trial) -> Iterator[float]:
        asked.append(trial.number)
        if trial.number == 2:  # a second worker took its look before this one began
            tuning.attempt(tuning.study_of(storage, "x/1", search), search, others)
        yield from hill(trial)

    found = tuning.run(study, search, others)
    assert asked == [0, 1, 2], "the fourth was never scored"
    assert [each.state for each in found] == [*[TrialState.COMPLETE] * 3, TrialState.FAIL]
    assert [each["number"] for each in tuning.told(found)] == [0, 1, 2]


def test_a_lost_trial_is_made_up_for() -> None:
    storage, search = InMemoryStorage(), tuning.Search(5, "random")
    study = tuning.study_of(storage, "x/1", search)
    lost = study.ask()
    next(hill(lost))
    study.tell(lost, state=TrialState.FAIL)
    found = tuning.run(study, search, hill)
    assert [each.state in tuning.OVER for each in found] == [False, *[True] * 5]
    assert tuning.told(found)[0]["state"] == "fail"


def test_each_fold_is_answered_for_by_what_the_others_say() -> None:
    def trial(x: float, *scores: float) -> FrozenTrial:
        kind = optuna.distributions.FloatDistribution(0, 1)
        value = sum(scores) / len(scores)
        return create_trial(
            params={"x": x}, distributions={"x": kind}, value=value, user_attrs={"scores": list(scores)}
        )

    found = [trial(0.1, 1.0, 0.1, 0.1), trial(0.2, 0.3, 0.3, 0.3), trial(0.3, 0.0, 0.2, 0.9)]
    assert tuning.best(found) == {"x": 0.1}
    assert [tuning.best(found, without=fold)["x"] for fold in range(3)] == [0.3, 0.1, 0.1]


def test_a_search_that_finds_nothing_better_than_chance_is_ended_early_and_says_so() -> None:
    told: list[int] = []

    def nothing(trial: Trial) -> Iterator[float]:
        trial.suggest_float("x", 0, 1)
        yield 0.5

    search = tuning.Search(20, "random", "none", baseline=0.5, patience=4)
    with pytest.raises(Diverged, match=r"after 4 trials: the last 4 are no better than 0.5.*: 0.500, 0.500"):
        tuning.run(tuning.study_of(InMemoryStorage(), "x/1", search), search, nothing, told.append)
    assert told == [0, 1, 2, 3]


def test_a_search_with_bad_trials_among_good_ones_goes_on_and_tells_how_far_it_is() -> None:
    told: list[int] = []

    def now_and_then(trial: Trial) -> Iterator[float]:
        trial.suggest_float("x", 0, 1)
        yield 0.6 if trial.number % 4 == 3 else 0.4

    search = tuning.Search(9, "random", "none", baseline=0.5, patience=4)
    found = tuning.run(tuning.study_of(InMemoryStorage(), "x/1", search), search, now_and_then, told.append)
    assert len(found) == 9 and told == list(range(10))


def test_what_the_model_raises_is_raised_and_a_score_that_is_none_is_a_mistake() -> None:
    def broken(trial: Trial) -> Iterator[float]:
        yield 1 / trial.number

    def unknown(trial: Trial) -> Iterator[float]:
        yield float("nan") * trial.suggest_float("x", 0, 1)

    with pytest.raises(ZeroDivisionError):
        searched(tuning.Search(3), broken)
    with pytest.raises(Diverged, match=r"trial 0 with .* is nan, which is no number"):
        searched(tuning.Search(3), unknown)
    with pytest.raises(ValueError, match="say pruner none"):
        tuning.best([])


def failing(times: int) -> Callable[[], str]:
    left = [times]

    def do() -> str:
        left[0] -= 1
        if left[0] >= 0:
            raise OperationalError("SELECT 1", None, Exception("the primary is gone"))
        return "done"

    return do


def test_it_waits_for_a_store_that_is_away_but_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuning, "PAUSE_S", 0)
    assert tuning.patiently(failing(tuning.TRIES - 1)) == "done"
    with pytest.raises(tuning.StoreError, match=r"the database of trials: .*the primary is gone"):
        tuning.patiently(failing(tuning.TRIES))


def test_studies_that_nobody_goes_on_with_are_forgotten() -> None:
    storage = InMemoryStorage()
    for name in ("x/old", "x/new", "y/old"):
        study = optuna.create_study(study_name=name, storage=storage)
        then = datetime.now() - timedelta(days=studies.KEPT_DAYS + 1 if name.endswith("old") else 1)
        study.add_trial(create_trial(value=1.0))
        storage._studies[study._study_id].trials[0].datetime_start = then
    studies.forget_old(storage, "x")
    assert sorted(optuna.get_all_study_names(storage)) == ["x/new", "y/old"]


def test_a_model_is_served_with_the_same_libraries_that_made_it() -> None:
    made, served = (
        wheels.pins((REPOSITORY / folder / "requirements.lock").read_text())
        for folder in ("validate/image-trainer", "components/kserve/image/server")
    )
    for name in ("numpy", "scikit-learn", "scipy", "xgboost-cpu"):
        assert made[name].version == served[name].version, name
