"""Status says 'whole' only of what says so itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from road import status


def pod(name: str, ready: str) -> dict[str, Any]:
    return {"metadata": {"name": name}, "status": {"conditions": [{"type": "Ready", "status": ready}]}}


CONTRACT = {
    "components": [
        {
            "name": "kafka",
            "mode": "managed",
            "members": [{"name": "kafka-0"}, {"name": "kafka-1"}],
            "endpoints_in": [{"protocol": "kafka", "address": "kafka:9093"}],
        }
    ]
}


def test_a_member_that_is_not_ready_or_not_there_is_named() -> None:
    (line,) = status.read_components(CONTRACT, {"items": [pod("kafka-0", "True"), pod("kafka-1", "False")]})
    assert not line.whole
    assert "not: kafka-1" in line.detail
    (line,) = status.read_components(CONTRACT, {"items": [pod("kafka-0", "True")]})
    assert not line.whole


def test_all_members_ready_is_whole() -> None:
    pods = {"items": [pod("kafka-0", "True"), pod("kafka-1", "True")]}
    (line,) = status.read_components(CONTRACT, pods)
    assert line.whole
    assert line.detail == "2 of 2 members ready; kafka kafka:9093"


def test_pods_without_a_lasting_name_are_counted_by_their_labels() -> None:
    workload = {"role": "server", "replicas": 2, "labels": {"app": "web"}}
    contract = {"components": [{"name": "web", "mode": "managed", "workloads": [workload]}]}
    pods = [pod("web-x", "True"), pod("web-y", "True")]
    pods[0]["metadata"]["labels"] = {"app": "web"}
    (line,) = status.read_components(contract, {"items": pods})
    assert not line.whole
    assert "1 of 2 members ready (not: server)" in line.detail
    pods[1]["metadata"]["labels"] = {"app": "web"}
    (line,) = status.read_components(contract, {"items": pods})
    assert line.whole


def node(name: str, ready: str, **spec: bool) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "labels": {"apadana.io/pool": "gpu"}},
        "spec": spec,
        "status": {"conditions": [{"type": "Ready", "status": ready}], "nodeInfo": {"kubeletVersion": "v1.36.3"}},
    }


def test_a_cordoned_or_silent_node_is_not_whole() -> None:
    items = [node("a", "True"), node("b", "True", unschedulable=True), node("c", "Unknown")]
    assert [line.whole for line in status.read_nodes({"items": items})] == [True, False, False]


def test_a_report_is_whole_only_when_everything_passed() -> None:
    page = Path("index.html")
    passed, invalid = {"verdict": "PASS"}, {"verdict": "INVALID"}
    assert status.read_report({"results": [passed, passed]}, page).whole
    assert not status.read_report({"results": [passed, invalid]}, page).whole
    assert not status.read_report({"results": []}, page).whole


def test_unreachable_hosts_are_told() -> None:
    text = 'cp1 | SUCCESS => {"changed": false}\ncp2 | UNREACHABLE!: no route to host\n'
    assert [line.whole for line in status.read_pings(text)] == [True, False]
    assert [line.whole for line in status.read_pings("")] == [False]


def test_a_look_that_fails_is_a_line_and_not_a_crash() -> None:
    def look(_place: object) -> list[status.Line]:
        raise FileNotFoundError(2, "no such file", "/nowhere/platform.json")

    (line,) = status.guarded("component", look, None)  # type: ignore[arg-type]
    assert line == status.Line("component", "-", False, "can't be read: /nowhere/platform.json is not there")
