"""A short campaign on the running lab, as a person would call it, down to its signature."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import cast

import pytest

from components.kit.probing import Check, Verdict
from tests import lab
from tests.chain import Retraining, Sabotaged
from validate.core import causes
from validate.ground import Ground, choose
from validate.suites.integration.expected import ChainOptions
from validate.suites.integration.suite import run

pytestmark = pytest.mark.live

#: One step of each kind that a healthy lab passes on a busy machine; load has its own certificate.
STEPS = ("coverage/*", "safety/*/objects", "backup/redis/*", "chaos/redis/leader-killed")


def test_a_campaign_passes_and_its_report_is_what_was_signed() -> None:
    done = lab.validate("all", "--fresh", "--steps", ",".join(STEPS), "--witness", "make test", timeout=1800)
    assert done.returncode == 0, lab.told(done)
    report = lab.REPORTS / "latest"
    told = json.loads((report / "results.json").read_text())
    suites = {result["suite"] for result in told["results"]}
    assert suites == {"coverage", "safety", "backup", "chaos"}
    assert all(result["verdict"] == Verdict.PASS for result in told["results"])
    # Somebody proved from elsewhere that the fault was there.
    assert any(r["test"].endswith("leader-killed-fault-proved") for r in told["results"])
    proof = lab.run(sys.executable, "-m", "validate", "verify", str(report.resolve()), "--stack", lab.SITE, timeout=180)
    assert proof.returncode == 0, lab.told(proof)


def test_a_plan_of_the_lab_can_be_read_before_it_is_carried_out() -> None:
    done = lab.validate("all", "--dry-run", "--budget", "40m", timeout=180)
    assert done.returncode == 0, lab.told(done)
    assert "chaos/kafka/leader-killed" in done.stdout
    assert "left out" in done.stdout


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("all", "--budget", "3s"), "is too small"),
        (("chaos", "--steps", "chaos/kafka/meteor"), "no step of chaos named"),
        pytest.param(("all", "--only", "oracle"), "has no such component", marks=pytest.mark.campaign),
        pytest.param(("all", "--budget", "soon"), "is no duration", marks=pytest.mark.campaign),
        pytest.param(("all", "--sign-key", "/nonexistent/key.pem"), "/nonexistent/key.pem", marks=pytest.mark.campaign),
    ],
)
def test_wrong_wishes_are_refused_before_anything_is_begun(args: tuple[str, ...], words: str) -> None:
    before = sorted((lab.REPORTS / "campaigns").glob("*"))
    done = lab.validate(*args, timeout=180)
    assert done.returncode == 2, lab.told(done)
    assert words in done.stdout + done.stderr
    assert sorted((lab.REPORTS / "campaigns").glob("*")) == before


@pytest.mark.campaign
def test_a_retraining_that_is_none_is_found_out(tmp_path: Path) -> None:
    """On the real stores and in real pods: the trainer takes the old data and says otherwise."""
    lies = Retraining("trained on the old data, and lies about it")
    ground = cast("Ground", Sabotaged(choose.of(lab.found()), lies))
    found: list[Check] = []
    run(ground, ChainOptions(), tmp_path, print, found.append)
    failed = {check.evidence.get("cause") for check in found if check.verdict is Verdict.FAIL}
    assert causes.STALE_MODEL in failed, [(c.name, c.detail) for c in found]
