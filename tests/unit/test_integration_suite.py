"""The suite's step, its links and verdicts, without a platform."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from components.kit.probing import Verdict
from tests import chain
from validate.core import causes
from validate.ground.pods import code_tar, unpack
from validate.ground.site import REPOSITORY
from validate.suites.integration import judge, links, steps, suite
from validate.suites.integration.expected import ChainOptions, Expected
from validate.suites.plan import Plan, Tools

ALL = ("kafka", "postgres", "minio", "redis")
WISH = ChainOptions(count=50, window=10, per_segment=10)


@pytest.mark.parametrize(
    ("there", "only", "count"),
    [
        (ALL, ALL, 1),
        (ALL, ("kafka",), 0),  # --only: the chain needs the others, too
        (ALL[:3], ALL[:3], 1),
        (("kv", "web"), ("kv", "web"), 0),
        (("kafka",), ("kafka",), 1),  # it says what is missing
    ],
)
def test_the_step_is_offered_where_the_chain_can_be_tried(
    tmp_path: Path, there: tuple[str, ...], only: tuple[str, ...], count: int
) -> None:
    ground = chain.ground(tmp_path, *there)
    chosen = [c for c in ground.site.platform.components if c.name in only]
    assert len(steps(ground, chosen)) == count  # type: ignore[arg-type]


def test_what_decides_the_step_is_in_the_plans_digest(tmp_path: Path) -> None:
    ground = chain.ground(tmp_path)
    (step,) = steps(ground, ground.site.platform.components)  # type: ignore[arg-type]
    assert (step.suite, step.harm) == ("integration", "")
    assert step.wish["rate"] == 231.0 and step.wish["tolerance"] == 0.2
    assert Plan((step,), (), None).digest() == Plan((step,), (), None).digest()


def test_a_missing_store_is_told_and_nothing_is_proved(tmp_path: Path) -> None:
    ground = chain.ground(tmp_path, "kafka")
    (step,) = steps(ground, ground.site.platform.components)  # type: ignore[arg-type]
    told: list[Any] = []
    outcome = step.act(Tools(ground, tmp_path, lambda _: None, told.append))  # type: ignore[arg-type]
    assert {r.verdict for r in outcome.results} == {Verdict.INVALID}
    assert "postgres, minio" in outcome.results[0].detail
    assert [r.test for r in told] == [r.test for r in outcome.results]
    assert all(r.records == (suite.RECORD,) for r in told)
    assert outcome.limits and outcome.assumptions


def test_names_of_links_are_stable_and_unlike() -> None:
    names = links.names(online=True)
    assert len(set(names)) == len(names) == 21
    assert set(links.names(online=False)) < set(names)


def given(expected: Expected, rebuilt: bool, **more: Any) -> dict[str, Any]:
    """Answers that are right, from a model called m."""
    answers = [0.9 if truth else 0.1 for truth in expected.truth(rebuilt)]
    return {"answers": answers, "models": ["m"], "answers_digest": str(rebuilt)} | more


EXPECTED = Expected(WISH, "run")
BEFORE, AFTER = given(EXPECTED, False), given(EXPECTED, True)
OLD = {"model": "o", "answers_digest": "False"}
NEW = {"model": "m", "answers_digest": "True"}


def test_a_change_where_it_belongs_and_only_there_passes() -> None:
    assert judge.changed("c", BEFORE, AFTER, (OLD, NEW), EXPECTED).verdict is Verdict.PASS
    assert judge.stayed("s", BEFORE, AFTER, EXPECTED).verdict is Verdict.PASS


@pytest.mark.parametrize(
    ("after", "cause"),
    [
        (BEFORE, causes.STALE_MODEL),
        (BEFORE | {"answers_digest": "x"}, causes.STALE_MODEL),
        (AFTER | {"models": ["o"]}, causes.STALE_MODEL),
        (AFTER | {"models": ["m", "o"]}, causes.STALE_MODEL),
        (AFTER | {"answers_digest": "x"}, causes.WRONG_ANSWERS),
        (AFTER | {"answers": [0.9] * 50, "answers_digest": "x"}, causes.WRONG_ANSWERS),
    ],
)
def test_a_change_that_did_not_come_or_came_from_elsewhere_fails(after: dict[str, Any], cause: str) -> None:
    found = judge.changed("c", BEFORE, after, (OLD, NEW), EXPECTED)
    assert (found.verdict, found.evidence["cause"]) == (Verdict.FAIL, cause)


def test_an_answer_that_moves_without_a_reason_fails() -> None:
    moved = [min(1.0, a + 0.3) if a < 0.5 else a for a in AFTER["answers"]]  # still right
    found = judge.stayed("s", BEFORE, AFTER | {"answers": [a - 0.0 for a in moved]}, EXPECTED)
    assert found.verdict is Verdict.PASS  # by 0.15 in the mean: tolerated
    far = [a + 0.3 if a < 0.5 else a - 0.3 for a in AFTER["answers"]]
    found = judge.stayed("s", BEFORE, AFTER | {"answers": far}, EXPECTED)
    assert (found.verdict, found.evidence["cause"]) == (Verdict.FAIL, causes.WRONG_ANSWERS)


def test_a_change_of_answers_that_were_wrong_before_shows_nothing() -> None:
    wrong = BEFORE | {"answers": [0.5] * 50}
    assert judge.changed("c", wrong, AFTER, (OLD, NEW), EXPECTED).verdict is Verdict.INVALID
    assert judge.stayed("s", wrong, AFTER, EXPECTED).verdict is Verdict.INVALID


@pytest.mark.parametrize(
    ("found", "verdict", "cause"),
    [
        ({}, Verdict.PASS, None),
        ({"taken": False}, Verdict.FAIL, causes.STALE_MODEL),
        ({"failed": 1}, Verdict.FAIL, causes.ERRORS),
        ({"wanted": "o"}, Verdict.FAIL, causes.STALE_MODEL),
        ({"models": ["o", "n", "o", "n"]}, Verdict.FAIL, causes.STALE_MODEL),
        ({"models": ["n"]}, Verdict.INVALID, None),  # nobody asked before
    ],
)
def test_an_exchange_is_for_good_and_lets_nobody_down(
    found: dict[str, Any], verdict: Verdict, cause: str | None
) -> None:
    told = {
        "wanted": "n",
        "taken": True,
        "failed": 0,
        "asked": 9,
        "seconds": 1.0,
        "models": ["o", "n"],
        "state": {},
    } | found
    check = judge.taken_over("t", told, "o")
    assert (check.verdict, check.evidence.get("cause")) == (verdict, cause)


def test_the_code_that_is_sent_runs_where_nothing_else_is(tmp_path: Path) -> None:
    """Without scikit-learn, without pydantic: as in the pod that answers."""
    unpack(code_tar(REPOSITORY, b"[]"), tmp_path)
    code = (
        "import sys\n"
        "for name in ('sklearn', 'numpy', 'pydantic', 'yaml', 'validate.core.model'):\n"
        "    sys.modules[name] = None\n"
        "sys.argv = ['x', 'integration', '--act', 'publish', '--wish', '{\"run\": \"r\"}']\n"
        "import runpy; runpy.run_module('validate.pod', run_name='__main__')\n"
    )
    place = {**os.environ, "PYTHONPATH": str(tmp_path), "APADANA_WORK": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=place, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["verb"], told["whose"]) == ("publish", "engine"), told
