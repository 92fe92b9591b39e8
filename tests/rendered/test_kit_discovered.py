"""What holds for every room of the platform's layers, also one that is added tomorrow: rendered
with the lab's own settings, as the stacks render them."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
import yaml

from components.kit import connection, layers
from components.kit.discovery import layer, rooms
from components.kit.discovery import room as find
from components.kit.manifests import WHOLE_NAMES
from components.kit.providing import ExternalStore
from components.kit.settings import External, Mode, SiteFacts
from stacks.composition import STACKS, compose
from tests.images import AnyImage
from tests.rendered import objects
from tests.rendered.datarooms import Document, assert_namespaced, assert_restricted, helm_template

pytestmark = pytest.mark.rendered

STANDING = layers.platform(layers.standing(STACKS, "lab"))
LAB = compose("lab")
ROOMS = [
    room.name
    for room in rooms()
    if room.settings_class().layer in STANDING
    and room.has("chart/Chart.yaml")
    and LAB.rooms[room.name].mode is Mode.MANAGED
]
BUDGET_MIB = 10 * 1024  # of the 24 GiB machine; the cluster itself takes about 2.5 GiB
BUDGET_CPU = 1600  # millicores of requests on hosts that share two cores
OBJECTS = 250  # of a stack: what keeps an unchanged `pulumi up` within 4 s


SITE = LAB.facts(AnyImage())
HOSTS = {"cidr": "10.77.0.0/24"}  # the network of the lab's hosts


@pytest.fixture(scope="module")
def rendered() -> dict[str, list[Document]]:
    found = {}
    for name in ROOMS:
        values = importlib.import_module(f"components.{name}.settings").values(LAB.rooms[name], SITE)
        done = helm_template(name, values)
        assert done.returncode == 0, done.stderr
        found[name] = [d for d in yaml.safe_load_all(done.stdout) if d]
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
        name, labels = (workload["metadata"]["name"], workload["spec"]["template"]["metadata"]["labels"])
        mine = [p for p in policies if matches(p["podSelector"], labels)]
        assert any(not p.get("ingress") and not p.get("egress") for p in mine), f"{name}: no deny"
        assert all(set(p["policyTypes"]) <= {"Ingress", "Egress"} for p in mine)
        guarded = [b for b in budgets if matches(b["selector"], labels)]
        if workload["spec"]["replicas"] == 1:
            assert not guarded, f"{name}: a budget of one pod keeps its host from being drained"
            continue
        assert guarded, f"{name}: no PDB"
        if workload["kind"] == "Deployment":
            assert guarded[0]["unhealthyPodEvictionPolicy"] == "AlwaysAllow", name


@pytest.mark.parametrize("room", ROOMS)
def test_members_stand_on_different_hosts(rendered: dict[str, list[Document]], room: str) -> None:
    for workload in workloads(rendered[room]):
        if workload["spec"]["replicas"] > 1:
            affinity = workload["spec"]["template"]["spec"]["affinity"]["podAntiAffinity"]
            assert affinity["requiredDuringSchedulingIgnoredDuringExecution"]


@pytest.mark.parametrize("room", ROOMS)
def test_every_container_is_bounded_and_pinned(rendered: dict[str, list[Document]], room: str) -> None:
    for workload in workloads(rendered[room]):
        spec = workload["spec"]["template"]["spec"]
        for container in [*spec["containers"], *spec.get("initContainers", [])]:
            assert "@sha256:" in container["image"], container["name"]
            for kind in ("requests", "limits"):
                assert set(container["resources"][kind]) >= {"cpu", "memory"}, container["name"]


@pytest.mark.parametrize("room", ROOMS)
def test_every_pod_has_its_priority(rendered: dict[str, list[Document]], room: str) -> None:
    for workload in workloads(rendered[room]):
        found = workload["spec"]["template"]["spec"].get("priorityClassName")
        assert found == LAB.rooms[room].priority, workload["metadata"]["name"]


@pytest.mark.parametrize("room", ROOMS)
def test_every_pod_asks_for_whole_names(rendered: dict[str, list[Document]], room: str) -> None:
    for workload in workloads(rendered[room]):
        assert workload["spec"]["template"]["spec"]["dnsConfig"] == WHOLE_NAMES, workload["metadata"]["name"]


@pytest.mark.parametrize("room", ROOMS)
def test_a_full_deployment_is_rolled_without_a_host_to_spare(rendered: dict[str, list[Document]], room: str) -> None:
    for workload in workloads(rendered[room]):
        if workload["kind"] == "Deployment" and workload["spec"]["replicas"] > 1:
            rolling = workload["spec"]["strategy"]["rollingUpdate"]
            assert rolling == {"maxUnavailable": 1, "maxSurge": 0}, workload["metadata"]["name"]


@pytest.mark.parametrize("room", ROOMS)
def test_who_needs_a_room_may_reach_it(rendered: dict[str, list[Document]], room: str) -> None:
    """Each need opens the way out of the asking pods and is let in by the provider's policy.

    An account of another owner (a probe's) is asked for by the room and used by others.
    """
    asked = connection.providers(SITE, LAB.rooms[room])
    own = [need for need in LAB.rooms[room].needs() if need.owner == room]
    used = [name for name in asked if any(isinstance(need, LAB.rooms[name].provides) for need in own)]
    for workload in workloads(rendered[room]):
        labels = workload["spec"]["template"]["metadata"]["labels"]
        if labels["app.kubernetes.io/component"] != "server":
            continue
        for provider in used:
            assert labels.get(f"apadana.io/uses-{provider}") == "true"
    for provider in asked:
        admitted = [
            peer["podSelector"]["matchLabels"]
            for d in rendered[provider]
            if d["kind"] == "NetworkPolicy"
            for rule in d["spec"].get("ingress") or []
            for peer in rule.get("from", [])
        ]
        assert {f"apadana.io/uses-{provider}": "true"} in admitted


@pytest.mark.parametrize("room", ROOMS)
def test_a_page_has_its_service(rendered: dict[str, list[Document]], room: str) -> None:
    """The gateway sends people to the Service that is called like the room."""
    web = type(LAB.rooms[room]).web
    if web is None:
        return
    (service,) = (d for d in rendered[room] if d["kind"] == "Service" and d["metadata"]["name"] == room)
    assert web.port in [port["port"] for port in service["spec"]["ports"]]
    assert service["spec"]["selector"]["app.kubernetes.io/component"] == web.pods


def requested(spec: Mapping[str, Any], what: str) -> int:
    """Of one pod in MiB or millicores; init containers run before, not beside."""
    amounts = [str(c["resources"]["requests"][what]) for c in spec["containers"]]
    units = {"Mi": 1, "Gi": 1024, "m": 1}
    total = 0
    for amount in amounts:
        unit = next((u for u in units if amount.endswith(u)), None)
        total += int(amount.removesuffix(unit)) * units[unit] if unit else int(amount) * 1000
    return total


def everything() -> SiteFacts:
    """The lab with every room, as its defaults are where the lab has it off."""
    on = {name: s if s.mode is not Mode.OFF else type(s)() for name, s in LAB.rooms.items()}
    return replace(SITE, rooms=on)


def ways_out(documents: Sequence[Mapping[str, Any]]) -> list[tuple[str, Mapping[str, Any]]]:
    policies = [d for d in documents if d["kind"] == "NetworkPolicy"]
    return [(d["metadata"]["name"], rule) for d in policies for rule in d["spec"].get("egress") or []]


def made(room: str, site: SiteFacts) -> list[Document]:
    """Of its chart and of its half, where it has them."""
    documents = objects.halved(room, site.rooms[room], site)
    return documents + (objects.rendered(room, site.rooms[room], site) if find(room).has("chart/Chart.yaml") else [])


@pytest.mark.parametrize("room", sorted(LAB.rooms))
def test_no_pod_may_reach_the_whole_world(room: str) -> None:
    """Out to pods that a policy names, and to the hosts' network, where the API servers are."""
    for name, rule in ways_out(made(room, everything())):
        assert rule.get("to"), f"{name}: a way out without a target leads everywhere"
        for peer in rule["to"]:
            assert peer.get("ipBlock", HOSTS) == HOSTS, name
            assert "ipBlock" not in peer or rule["ports"], name


@pytest.mark.parametrize("room", ["postgres", "models", "workflows", "gateway", "kserve"])
def test_the_api_servers_are_reached_in_the_hosts_network_and_where_a_client_has_them(room: str) -> None:
    for site, to in ((everything(), [{"ipBlock": HOSTS}]), (replace(everything(), inventory=None), None)):
        ways = [
            rule for _, rule in ways_out(made(room, site)) if {"protocol": "TCP", "port": 6443} in rule.get("ports", ())
        ]
        assert ways and all(rule.get("to") == to for rule in ways)


@pytest.mark.parametrize(("what", "budget"), [("memory", BUDGET_MIB), ("cpu", BUDGET_CPU)])
def test_the_lab_fits_its_machine(rendered: dict[str, list[Document]], what: str, budget: int) -> None:
    sums = {
        room: sum(w["spec"]["replicas"] * requested(w["spec"]["template"]["spec"], what) for w in workloads(documents))
        for room, documents in rendered.items()
    }
    assert sum(sums.values()) <= budget, sums


@pytest.mark.parametrize("of", STANDING)
def test_the_stack_stays_small(rendered: dict[str, list[Document]], of: str) -> None:
    mine = [rendered[room.name] for room in layer(of) if room.name in rendered]
    assert sum(len(documents) + 6 for documents in mine) <= OBJECTS


def test_a_service_of_the_client_leaves_nothing_to_install() -> None:
    """Mode external for every store (profile granit): settings load, and no chart is needed. A room
    that has to know more of the client's service than a store has tests of its own."""
    given = {"mode": "external", "external": {"addresses": ["db.client:1"], "secret_ref": "given"}}
    for room in layer("data"):
        if room.settings_class().model_fields["external"].annotation in (External | None, ExternalStore | None):
            assert room.settings_class().model_validate(given).external is not None
