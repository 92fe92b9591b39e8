"""A plan that would lose data is refused in words."""

from __future__ import annotations

import json

import pytest

from components.kit.guarded import GUARDED
from road import preview


def plan(*steps: tuple[str, str, str], **summary: int) -> preview.Plan:
    document = {
        "steps": [
            {"op": op, "urn": f"urn:pulumi:lab-data::apadana::apadana:kafka$kubernetes:{kind}::{name}"}
            for op, kind, name in steps
        ],
        "changeSummary": summary,
    }
    return preview.read("warning: a plugin was found on PATH\n" + json.dumps(document))


def test_unchanged_is_no_change() -> None:
    found = plan(same=40)
    assert found.changes == 0
    assert not found.refusals


def test_updates_and_creates_pass() -> None:
    found = plan(("update", "apps/v1:StatefulSet", "kafka"), update=1, create=2, same=3)
    assert found.changes == 3
    assert not found.refusals


@pytest.mark.parametrize("kind", sorted(GUARDED))
@pytest.mark.parametrize("op", sorted(preview.REMOVING))
def test_what_holds_data_is_never_removed(kind: str, op: str) -> None:
    found = plan((op, kind.removeprefix("kubernetes:"), "platform/kafka"))
    (refusal,) = found.refusals
    assert "platform/kafka" in str(refusal)
    assert kind.split(":")[-1] in str(refusal)


def test_the_three_steps_of_one_replacement_make_one_sentence() -> None:
    kind = "apps/v1:StatefulSet"
    found = plan(("create-replacement", kind, "kafka"), ("replace", kind, "kafka"), ("delete-replaced", kind, "kafka"))
    assert len(found.refusals) == 1


def test_other_kinds_may_go() -> None:
    assert not plan(("delete", "core/v1:ConfigMap", "x"), delete=1).refusals


def test_the_sites_ca_stays_whatever_holds_it() -> None:
    for kind in ("core/v1:ConfigMap", "core/v1:Secret"):
        (refusal,) = plan(("delete", kind, "site-ca"), delete=1).refusals
        assert "whom to trust" in str(refusal)


def test_taking_up_protection_is_a_change() -> None:
    """To Pulumi it is none: a stack of an older version would stay without."""
    service = "urn:pulumi:s::p::kubernetes:core/v1:Service::kafka"
    step = {"op": "same", "urn": service, "oldState": {}, "newState": {"protect": True}}
    document = {"steps": [step], "changeSummary": {"same": 2}}
    assert preview.read(json.dumps(document)).changes == 1
    step["oldState"] = {"protect": True}
    assert preview.read(json.dumps(document)).changes == 0


def test_the_reason_is_told() -> None:
    document = {
        "steps": [
            {
                "op": "replace",
                "urn": "urn:pulumi:s::p::kubernetes:apps/v1:StatefulSet::kafka",
                "replaceReasons": ["spec.volumeClaimTemplates"],
            }
        ]
    }
    (refusal,) = preview.read(json.dumps(document)).refusals
    assert "spec.volumeClaimTemplates" in str(refusal)


def test_no_json_is_an_error() -> None:
    with pytest.raises(ValueError, match="no JSON"):
        preview.read("error: something else\n")
