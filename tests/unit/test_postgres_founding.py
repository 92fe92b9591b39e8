"""When a member gives up a claim to found the cluster, and when it leaves it alone."""

from __future__ import annotations

from typing import Any

import pytest

from tests import scripts

FILES = scripts.PLAYBOOKS.parent / "components" / "postgres" / "chart" / "files"
founding = scripts.load(FILES / "founding.py")
QUIET = ["stopped", "stopped", "stopped"]
LONG = founding.GIVE_UP_SECONDS


@pytest.mark.parametrize(
    ("annotations", "claim"),
    [
        ({"initialize": ""}, "7"),
        ({"initialize": "7321"}, ""),  # founded: this is PostgreSQL's identity
        ({"config": "{}"}, ""),
        (None, ""),
    ],
)
def test_a_claim_is_one_without_an_identity(annotations: dict[str, str] | None, claim: str) -> None:
    assert founding.claimed({"metadata": {"resourceVersion": "7", "annotations": annotations}}) == claim


@pytest.mark.parametrize(
    ("looks", "given_up"),
    [
        ([("7", QUIET, 0.0), ("7", QUIET, LONG)], True),
        ([("7", QUIET, 0.0), ("7", QUIET, LONG - 1)], False),
        ([("7", QUIET, 0.0), ("7", ["stopped", "initdb failed", "stopped"], LONG)], True),
        ([("7", QUIET, 0.0), ("7", ["initializing new cluster", "stopped", "stopped"], LONG)], False),
        ([("7", QUIET, 0.0), ("7", ["starting", "stopped", "stopped"], 20.0), ("7", QUIET, LONG)], False),
        ([("7", QUIET, 0.0), ("9", QUIET, LONG)], False),  # somebody claimed anew
        ([("", [], 0.0), ("", [], LONG)], False),
        ([("7", QUIET, 0.0), ("", [], 20.0), ("7", QUIET, LONG)], False),
    ],
)
def test_a_claim_is_given_up_when_all_were_idle_all_the_time(
    looks: list[tuple[str, list[str], float]], given_up: bool
) -> None:
    waiting = founding.Waiting()
    assert [waiting.overdue(*look) for look in looks][-1] is given_up


def test_a_silent_member_counts_as_one_that_founds(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """Its silence starts the count anew; once all have answered for long enough, the claim goes."""
    clock, silent_until = [0.0], LONG
    written: list[dict[str, Any]] = []
    version = tmp_path / "PG_VERSION"

    def config_map(change: dict[str, Any] | None = None) -> dict[str, Any]:
        if change is not None:
            written.append(change | {"at": clock[0]})
            version.write_text("17", encoding="utf-8")
        return {"metadata": {"resourceVersion": "7", "annotations": {"initialize": ""}}}

    def states() -> list[str]:
        if clock[0] < silent_until:
            raise TimeoutError("no answer")
        return QUIET

    monkeypatch.setattr(founding, "DATA", version)
    monkeypatch.setattr(founding, "config_map", config_map)
    monkeypatch.setattr(founding, "states", states)
    monkeypatch.setattr(founding.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(founding.time, "sleep", lambda seconds: clock.__setitem__(0, clock[0] + seconds))
    founding.main()
    [change] = written
    assert change["metadata"] == {"resourceVersion": "7", "annotations": {"initialize": None}}
    assert change["at"] >= silent_until + LONG
