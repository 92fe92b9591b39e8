"""Layers whose stack file is gone: which they are, and that data needs a word."""

from __future__ import annotations

from pathlib import Path

import pytest

from road import retire
from road.place import Place, place


@pytest.fixture
def where(tmp_path: Path) -> Place:
    found = Place("lab", tmp_path / "cache", tmp_path / "state", tmp_path / "bundle", tmp_path)
    made = found.state / "pulumi" / ".pulumi" / "stacks" / "apadana"
    made.mkdir(parents=True)
    (tmp_path / "stacks").mkdir()
    for layer in ("cluster", "data", "ml"):
        (made / f"lab-{layer}.json").write_text("{}")
    (made / "other-ml.json").write_text("{}")
    (tmp_path / "stacks" / "Pulumi.lab-cluster.yaml").write_text("")
    return found


def test_the_highest_goes_first_and_other_sites_stay(where: Place) -> None:
    assert retire.retired(where) == ["ml", "data"]
    (where.repository / "stacks" / "Pulumi.lab-data.yaml").write_text("")
    (where.repository / "stacks" / "Pulumi.lab-ml.yaml").write_text("")
    assert retire.retired(where) == []


def test_what_holds_data_is_found_in_the_state() -> None:
    def resource(kind: str, name: str) -> dict[str, object]:
        metadata = {"name": name, "namespace": "platform", "labels": {"a": "b"}}
        return {"type": kind, "outputs": {"metadata": metadata}}

    export = {
        "deployment": {
            "resources": [
                {"type": "pulumi:pulumi:Stack"},
                resource("kubernetes:apps/v1:Deployment", "mlflow"),
                resource("kubernetes:apps/v1:StatefulSet", "prometheus"),
            ]
        }
    }
    (only,) = retire.held(export)
    assert str(only) == "statefulset prometheus"
    assert only.labels == {"a": "b"}
    assert retire.held({}) == []


@pytest.mark.parametrize(
    ("said", "forget"), [("", set()), ("lab-ml", {"lab-ml"}), ("lab-ml,lab-data", {"lab-ml", "lab-data"})]
)
def test_stacks_to_forget_are_named(said: str, forget: set[str]) -> None:
    assert place("lab", {"FORGET": said}).forget == forget
