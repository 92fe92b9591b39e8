"""The plan of sizes, the inputs of planning, and how both are told."""

from __future__ import annotations

from dataclasses import replace

import pytest

from common.places import REPOSITORY
from components.kit import machines
from components.kit.discovery import rooms
from components.kit.settings import SiteFacts
from components.storage.settings import Volume
from stacks import capacity, composition
from stacks.asked import Workload, of_pod, placed, quantity
from stacks.inputs import Inputs, effects
from stacks.sizing import Plan, Share, Sizing

SIZING = Sizing.read()
STAGE = composition.compose("stage").facts({})


def test_the_parts_add_up_to_the_tables_own_totals() -> None:
    """As they are printed below table 1, and in the columns of tables 2 and 3."""
    stage, production = Plan.of("stage", SIZING), Plan.of("production", SIZING)
    assert stage.whole() == Share(cpu=106, ram_gb=416, hdd_gb=2200, ssd_gb=1860, gpu=2)
    assert stage.servers() == Share(cpu=128, ram_gb=512, hdd_gb=4000, ssd_gb=2000, gpu=2)
    assert production.servers() == Share(cpu=640, ram_gb=2560, hdd_gb=20_000, ssd_gb=10_000, gpu=4)


def test_the_plan_leaves_a_fifth_of_the_servers_free() -> None:
    for name, scale in SIZING.sites.items():
        plan = Plan.of(name, SIZING)
        for key in ("cpu", "ram_gb"):
            use = 100 * getattr(plan.whole(), key) / getattr(plan.servers(), key)
            assert abs(use - scale.use_percent) <= 5, (name, key, use)
        assert plan.whole().ssd_gb <= plan.servers().ssd_gb and plan.whole().hdd_gb <= plan.servers().hdd_gb


def test_stage_is_never_less_than_agreed_of_production() -> None:
    small, full = (Plan.of(name, SIZING).servers() for name in ("stage", "production"))
    least = SIZING.least_of_production_percent / 100
    assert all(getattr(small, key) >= least * getattr(full, key) for key in Share.model_fields)


def test_another_plan_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(ValueError, match=r"'lab'; allowed: production, stage"):
        Plan.of("lab", SIZING)


@pytest.mark.parametrize("site", SIZING.sites)
def test_the_samples_are_as_large_as_their_tables(site: str) -> None:
    """The pools' servers and cards, on the hosts of the inventory; its volumes were compared as it was read."""
    facts, plan = composition.compose(site).facts({}), Plan.of(site, SIZING)
    there = list(capacity.servers(facts, SIZING, []))
    inventory = composition.inventory(site, REPOSITORY)
    assert inventory is not None
    assert sorted(server.name for server in there) == machines.hosts(inventory)
    whole = Share.total(server.has for server in there)
    assert (whole.cpu, whole.gpu) == (plan.servers().cpu, plan.scale.gpu)
    assert whole.ram_gb == pytest.approx(plan.servers().ram_gb, rel=0.01)


def test_every_room_is_of_one_part() -> None:
    plan, named = Plan.of("stage", SIZING), [room for part in SIZING.parts.values() for room in part.rooms]
    assert len(named) == len(set(named))
    assert sum(part.rest for part in SIZING.parts.values()) == 1
    assert {plan.part_of(room.name) for room in rooms()} <= set(SIZING.parts)


@pytest.mark.parametrize(
    ("text", "amount"), [("250m", 0.25), (2, 2), ("1Gi", 1024**3), ("96Mi", 96 * 1024**2), ("512Ki", 2**19)]
)
def test_amounts_are_read_as_kubernetes_writes_them(text: object, amount: float) -> None:
    assert quantity(text) == pytest.approx(amount)


def test_a_pod_asks_for_its_containers_or_for_what_comes_before_them() -> None:
    def container(cpu: str, memory: str) -> dict[str, object]:
        return {"resources": {"requests": {"cpu": cpu, "memory": memory}}}

    before = [container("100m", "3Gi")]
    pod = {"containers": [container("1", "1Gi"), container("500m", "0")], "initContainers": before}
    assert of_pod(pod) == Share(cpu=1.5, ram_gb=3 * 1024**3 / 1000**3)


def test_members_are_placed_apart_and_where_their_volumes_are() -> None:
    room = {host: Share(cpu=4, ram_gb=8) for host in ("a", "b", "c")}
    there = [Volume(host, "x", "ssd", 10, "x") for host in ("a", "b")]
    member = Workload("x", "x", 3, Share(cpu=1, ram_gb=1, ssd_gb=10), apart=True, tolerates=frozenset())
    on, lost = placed([member], room, {}, there)
    assert lost == ["x-2"] and on["c"].cpu == 0 and on["a"].cpu == on["b"].cpu == 1
    _, lost = placed([replace(member, replicas=2)], room, {"b": ("cards",)}, there)
    assert lost == ["x-1"]
    _, lost = placed([replace(member, replicas=2, tolerates=frozenset({"cards"}))], room, {"b": ("cards",)}, there)
    assert lost == []
    _, lost = placed([replace(member, each=Share(cpu=5, ram_gb=1), replicas=1)], room, {}, there)
    assert lost == ["x-0"]


def needed(**given: float) -> dict[str, tuple[float, bool]]:
    return {f"{each.key} {each.unit}": (each.needs, each.enough) for each in effects(Inputs.checked(given), STAGE)}


def test_each_input_asks_for_what_the_manual_says() -> None:
    """By hand: 168 h of 100 records/s of 1000 bytes are 56.3 GiB, and a broker is filled to 80 %."""
    size, enough = needed(records_mean=100)["kafka.storage.size_gib GiB"]
    assert size == pytest.approx(56.327 / 0.8, rel=1e-3) and not enough
    assert needed(records_mean=1, records_peak=2**20)["kafka.storage.class hdd MiB/s"] == (1000, False)
    assert needed(records_mean=1)["kafka.storage.class hdd MiB/s"][0] == pytest.approx(1000 / 2**20)
    month = needed(records_mean=23.1, months=2)["postgres.storage.size_gib GiB"][0]
    assert month - needed(records_mean=23.1)["postgres.storage.size_gib GiB"][0] == pytest.approx(79.66, rel=1e-3)
    assert needed(features_gib=4)["redis.maxmemory_mib MiB"][0] == 4 * 1024 + 24
    assert needed(features_gib=9)["redis.maxmemory_mib MiB"][1] is False
    assert needed(extraction=201)["feast.replicas replicas"] == (3, False)
    assert needed(models=2, served_peak=201)["models.replicas pods a model"] == (3, False)
    assert needed(models=1, served_mean=60)["models.replicas % of their time"] == (60, True)
    assert needed(pipelines=11)["workflows.at_once pipelines"] == (11, False)
    step = needed(pipelines=1)["cluster.work.cpu_millicores millicores"][0]
    assert needed(pipelines=3)["cluster.work.cpu_millicores millicores"][0] == 3 * step > 0
    assert needed(models=3)["cluster.work.memory_mib MiB"][0] == 3 * 2 * 1024


def test_a_room_that_is_not_here_asks_for_nothing() -> None:
    without = replace(STAGE, rooms={name: room for name, room in STAGE.rooms.items() if name != "kafka"})
    assert not [each for each in effects(Inputs(records_mean=5), without) if each.key.startswith("kafka")]


def test_wrong_inputs_are_all_told() -> None:
    with pytest.raises(ValueError, match=r"--models -3: .*\n--record-bytes 0: "):
        Inputs.checked({"models": -3, "record_bytes": 0})
    with pytest.raises(ValueError, match=r"--records-peak 1: allowed is at least the mean, --records-mean 5"):
        Inputs.checked({"records_mean": 5, "records_peak": 1})


def site_told(site: SiteFacts, objects: dict[str, list[dict[str, object]]]) -> tuple[capacity.Capacity, str]:
    found = capacity.measured(site, Plan.of("stage", SIZING), objects)
    return found, "\n".join(capacity.told(found))


def test_what_is_over_is_told_and_what_is_not_here_keeps_its_share() -> None:
    asked = {"requests": {"cpu": "3", "memory": "4Gi"}}
    spec = {"replicas": 3, "template": {"spec": {"containers": [{"resources": asked}]}}}
    found, text = site_told(STAGE, {"minio": [{"kind": "Deployment", "metadata": {"name": "m"}, "spec": spec}]})
    assert found.over() == ["minio is over: cores"]
    assert "| minio | minio | 9.0 of 4 | 12.9 of 24 |" in text and "- minio is over: cores." in text
    assert "| nexus | - | 0.0 of 2 |" in text and "kept free: it is not here" in text
    assert "That is 20 % of Production's 20 servers; at least 20 % is agreed: enough." in text
    spec["replicas"], asked["requests"]["cpu"] = 1, "33"
    found, _ = site_told(STAGE, {"minio": [{"kind": "Deployment", "metadata": {"name": "m"}, "spec": spec}]})
    assert "m-0 finds no server" in found.over()


def test_a_site_without_machines_is_refused() -> None:
    rooms_of = {name: room for name, room in STAGE.rooms.items() if name != "nodepool"}
    with pytest.raises(ValueError, match=r"neither apadana:nodepool.pools nor inventories/stage/hosts.yml"):
        list(capacity.servers(replace(STAGE, rooms=rooms_of), SIZING, []))
