"""The validator's score, cut short: a handful of defects and variations, once each.

The whole of it: `python -m tests.toy score` (docs/validation-score.md).
"""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from tests.toy import defect, score

pytestmark = [pytest.mark.engine, pytest.mark.skipif(os.geteuid() != 0, reason="namespaces and mounts need root")]
EVERY = defect.found()
#: Nothing here is judged by time: the rest of the score needs a quiet machine.
SHORT = ("budget-for-all", "any-password", "back-door", "crashes-on-bad-input", "cut-backup", "other-ports")
NARROW = ("smoke/", "coverage/", "safety/kv/objects", "safety/kv/ways-in", "backup/")


@pytest.mark.parametrize("name", SHORT)
def test_said_as_it_is(name: str) -> None:
    known = EVERY[name]
    made = score.apart(known if known.expected else replace(known, look=NARROW), defect.FOLDER)
    assert made.right, (made.mark, made.broken, made.said, made.unsure)


def test_score_sees_a_validator_that_passes_everything() -> None:
    blind = score.Round("x", ("lost-writes",), "PASS", (), (), (), 1.0)
    loud = replace(blind, expected=(), verdict="FAIL", causes=("leak",))
    starved = replace(blind, expected=(), verdict="INVALID")
    beside = replace(blind, verdict="FAIL", causes=("leak",))
    marks = [r.mark for r in (blind, loud, starved, beside, replace(blind, broken="it hung"))]
    assert marks == ["missed", "false alarm", "unsure", "wrong cause", "broken"]
    assert score.summary([blind, loud, starved])["wrong_rounds"] == 3
