"""faults.yaml: what is read, and every mistake with its place."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from components.kit import contract
from validate.ground.site import REPOSITORY
from validate.suites.chaos import spec, suite

GOOD = {
    "name": "leader-frozen",
    "do": {"kind": "freeze"},
    "target": "leader",
    "duration_s": 20,
    "rationale": "a stalled leader",
    "remediation": "heartbeats and a lock",
}


def parsed(*faults: object) -> tuple[list[spec.Fault], list[str]]:
    return spec.parse(yaml.safe_dump({"faults": list(faults)}), "room/faults.yaml")


def test_what_is_left_out_has_careful_defaults() -> None:
    (fault,), wrong = parsed(GOOD)
    assert wrong == []
    assert (fault.during, fault.promise, fault.weight) == ("continues", "one host", "wide")
    assert fault.bounds.max_gap_s is None  # the contract's own promise
    assert fault.steady.during == ("writes",)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"do": {"kind": "frezze"}}, "faults[leader-frozen].do: Input tag 'frezze'"),
        ({"do": {"kind": "loss", "percent": 95}}, ".do.percent: Input should be less than or"),
        ({"do": {"kind": "loss"}}, ".do.percent: Field required"),
        ({"do": {"kind": "freeze", "percent": 5}}, ".do.percent: Extra inputs are not permitted"),
        ({"do": {"kind": "service-stop", "unit": "x; rm", "port": 1}}, ".do.unit: String should"),
        ({"target": "clients"}, "target 'clients' does not go with freeze: all members, leader"),
        ({"target": "everything"}, ".target: Input should be 'one member', 'leader'"),
        ({"duration_s": 0}, ".duration_s: Input should be greater than or equal to 1, not 0"),
        ({"duration_s": "long"}, "unable to parse string as an integer, not 'long'"),
        ({"until": 3}, ".until: Extra inputs are not permitted, not 3"),
        ({"name": "Leader Frozen"}, "faults[Leader Frozen].name: String should match pattern"),
        ({"rationale": "why"}, ".rationale: String should have at least 10"),
        ({"during": "may-stop", "bounds": {"max_gap_s": 5}}, "bounds.max_gap_s says how long"),
        ({"steady": {"during": ["reads"]}}, ".steady.during.0: Input should be 'writes' or"),
    ],
)
def test_a_mistake_is_told_with_its_place(change: dict[str, object], told: str) -> None:
    faults, wrong = parsed({**GOOD, **change})
    assert faults == []
    assert any(told in line for line in wrong), wrong
    assert all(line.startswith("room/faults.yaml: faults[") for line in wrong)


def test_all_mistakes_of_all_files_at_once(tmp_path: Path) -> None:
    for room, text in {"a": "faults: [{name: x}, 7]", "b": "faults: {}", "c": "faults: [", "d": "fault: []"}.items():
        (tmp_path / room).mkdir()
        (tmp_path / room / "faults.yaml").write_text(text)
    with pytest.raises(spec.FaultsError) as error:
        spec.read(tmp_path.glob("*/faults.yaml"))
    told = str(error.value)
    assert "a/faults.yaml: faults[x].do: Field required" in told
    for place in ("a/faults.yaml: faults[1]", "b/faults.yaml.faults", "c/faults.yaml: not YAML", "d/faults.yaml.fault"):
        assert place in told


def test_a_name_that_occurs_twice() -> None:
    _, wrong = parsed(GOOD, GOOD)
    assert wrong == ["room/faults.yaml: faults[leader-frozen]: the name occurs twice"]


def test_an_empty_file_has_no_faults() -> None:
    assert spec.parse("", "room/faults.yaml") == ([], [])


def test_the_rooms_of_this_repository_are_readable_and_cover_the_kinds() -> None:
    found = spec.read((REPOSITORY / "components").glob("*/faults.yaml"))
    assert {"kafka", "minio", "postgres", "redis", "cluster"} <= set(found)
    tried = {f.kind for faults in found.values() for f in faults}
    # A wrong clock needs images that run under libfaketime; pairs come from the contract.
    assert set(spec.KINDS) - tried == {"clock-wrong", "service-stop"}
    for room in ("kafka", "minio", "postgres", "redis"):
        assert any(f.during == "refuses-cleanly" for f in found[room]), room
        assert any(f.promise == "all hosts" for f in found[room]), room


def platform(*components: dict[str, object]) -> contract.Platform:
    return contract.Platform.model_validate(
        {
            "site": "lab",
            "deployer": "pulumi",
            "namespace": "platform",
            "bundle_digest": "sha256:" + "0" * 64,
            "components": [{"version": "1", "mode": "managed", **c} for c in components],
        }
    )


def test_each_pair_of_the_contract_becomes_a_fault() -> None:
    told = platform({"name": "kv"}, {"name": "web", "depends_on": ["kv", "log"]}, {"name": "log"})
    assert spec.pairs(told) == [("web", "kv"), ("web", "log")]
    fault = spec.of_pair("web", "kv")
    assert (fault.name, fault.kind, fault.do.on) == ("cut-from-kv", "dependency-cut", "kv")  # type: ignore[union-attr]
    assert spec.of_pair("web", "a" * 60).name == "cut-from-" + "a" * 31


def test_a_room_without_faults_and_a_pair_that_nothing_breaks_are_gaps(tmp_path: Path) -> None:
    (tmp_path / "kv").mkdir()
    (tmp_path / "kv" / "faults.yaml").write_text(yaml.safe_dump({"faults": [GOOD]}))
    chosen = platform({"name": "kv", "depends_on": ["log"]}, {"name": "log"}).components
    found = spec.read(tmp_path.glob("*/faults.yaml"))
    told = {
        (component, check.name): (check.verdict, check.evidence.get("cause"))
        for component, check in suite.coverage(tmp_path, chosen, found)
    }
    assert told == {
        ("kv", "faults of the room"): ("PASS", None),
        ("kv", "pair with log"): ("FAIL", "not-covered"),
        ("log", "faults of the room"): ("FAIL", "not-covered"),
    }
