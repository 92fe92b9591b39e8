"""What holds for every room of the data layer, also one that is added tomorrow: rendered with the
lab's own settings, as the stack renders them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import yaml

from components.kit.discovery import COMPONENTS, layer
from components.kit.loading import load
from components.kit.settings import SiteFacts
from tests.rendered.datarooms import Document, assert_namespaced, assert_restricted, helm_template

pytestmark = pytest.mark.rendered

ROOMS = [room.name for room in layer("data")]
BUDGET_MIB = 9 * 1024  # of the 24 GiB machine; the cluster itself takes about 2.5 GiB
BUDGET_CPU = 1600  # millicores of requests on hosts that share two cores
OBJECTS = 150  # of the whole data stack: what keeps an unchanged `pulumi up` within 4 s


class AnyImage(dict[str, str]):
    """Every image is in the bundle."""

    def __missing__(self, name: str) -> str:
        return f"apadana.local/{name}@sha256:{'1' * 64}"


SITE = SiteFacts("lab", images=AnyImage())


@pytest.fixture(scope="module")
def rendered() -> dict[str, list[Document]]:
    file = COMPONENTS.parent / "stacks" / "Pulumi.lab-data.yaml"
    classes = {room.name: room.settings_class() for room in layer("data")}
    loaded = load("lab-data", yaml.safe_load(file.read_text())["config"], classes)
    found = {}
    for room in layer("data"):
        values = room.module("settings").values(loaded.rooms[room.name], SITE)
        done = helm_template(room.name, values)
        assert done.returncode == 0, done.stderr
        found[room.name] = [d for d in yaml.safe_load_all(done.stdout) if d]
    return found


def workloads(documents: list[Document]) -> list[Document]:
    return [d for d in documents if d["kind"] in ("StatefulSet", "Deployment")]


def matches(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    return all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items())


@pytest.mark.parametrize("room", ROOMS)
def test_a_restricted_namespace_takes_it(rendered: dict[str, list[Document]], room: str) -> None:
    assert_namespaced(rendered[room])
    assert_restricted(rendered[room])


@pytest.mark.parametrize("room", ROOMS)
def test_every_pod_is_fenced_and_guarded(rendered: dict[str, list[Document]], room: str) -> None:
    documents = rendered[room]
    policies = [d["spec"] for d in documents if d["kind"] == "NetworkPolicy"]
    budgets = [d["spec"] for d in documents if d["kind"] == "PodDisruptionBudget"]
    for workload in workloads(documents):
        name, labels = (
            workload["metadata"]["name"],
            workload["spec"]["template"]["metadata"]["labels"],
        )
        mine = [p for p in policies if matches(p["podSelector"], labels)]
        assert any(not p.get("ingress") and not p.get("egress") for p in mine), f"{name}: no deny"
        assert all(set(p["policyTypes"]) <= {"Ingress", "Egress"} for p in mine)
        if workload["kind"] == "StatefulSet" and workload["spec"]["replicas"] > 1:
            assert any(matches(b["selector"], labels) for b in budgets), f"{name}: no PDB"


@pytest.mark.parametrize("room", ROOMS)
def test_members_stand_on_different_hosts(rendered: dict[str, list[Document]], room: str) -> None:
    for workload in workloads(rendered[room]):
        if workload["kind"] == "StatefulSet":
            affinity = workload["spec"]["template"]["spec"]["affinity"]["podAntiAffinity"]
            assert affinity["requiredDuringSchedulingIgnoredDuringExecution"]


@pytest.mark.parametrize("room", ROOMS)
def test_every_container_is_bounded_and_pinned(
    rendered: dict[str, list[Document]], room: str
) -> None:
    for workload in workloads(rendered[room]):
        spec = workload["spec"]["template"]["spec"]
        for container in [*spec["containers"], *spec.get("initContainers", [])]:
            assert "@sha256:" in container["image"], container["name"]
            for kind in ("requests", "limits"):
                assert set(container["resources"][kind]) >= {"cpu", "memory"}, container["name"]


def requested(spec: Mapping[str, Any], what: str) -> int:
    """Of one pod in MiB or millicores; init containers run before, not beside."""
    amounts = [str(c["resources"]["requests"][what]) for c in spec["containers"]]
    units = {"Mi": 1, "Gi": 1024, "m": 1}
    total = 0
    for amount in amounts:
        unit = next((u for u in units if amount.endswith(u)), None)
        total += int(amount.removesuffix(unit)) * units[unit] if unit else int(amount) * 1000
    return total


@pytest.mark.parametrize(("what", "budget"), [("memory", BUDGET_MIB), ("cpu", BUDGET_CPU)])
def test_the_lab_fits_its_machine(
    rendered: dict[str, list[Document]], what: str, budget: int
) -> None:
    sums = {
        room: sum(
            w["spec"]["replicas"] * requested(w["spec"]["template"]["spec"], what)
            for w in workloads(documents)
        )
        for room, documents in rendered.items()
    }
    assert sum(sums.values()) <= budget, sums


def test_the_stack_stays_small(rendered: dict[str, list[Document]]) -> None:
    assert sum(len(documents) + 6 for documents in rendered.values()) <= OBJECTS


def test_a_service_of_the_client_leaves_nothing_to_install() -> None:
    """Mode external for every store (profile granit): settings load, and no chart is needed."""
    given = {"mode": "external", "external": {"addresses": ["db.client:1"], "secret_ref": "given"}}
    for room in layer("data"):
        assert room.settings_class().model_validate(given).external is not None
