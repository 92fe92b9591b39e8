"""Kafka's settings and what is computed from them."""

from __future__ import annotations

import base64

import pytest
from pydantic import ValidationError

from components.kafka import settings as kafka
from components.kit.contract import Component
from components.kit.settings import SiteFacts

DIGEST = "sha256:" + "1" * 64
SITE = SiteFacts("test", images={n: f"apadana.local/{n}@{DIGEST}" for n in ("kafka", "clients")})


def combined() -> kafka.Settings:
    return kafka.Settings(topology=kafka.Topology.COMBINED)


def test_separate_is_the_default() -> None:
    pools = kafka.pools(kafka.Settings(), SITE)
    assert [(p.name, p.process_roles, p.replicas) for p in pools] == [
        ("kafka-controller", "controller", 3),
        ("kafka", "broker", 3),
    ]
    assert pools[1].initial_controllers == ""


def test_combined_members_vote_and_serve() -> None:
    (pool,) = kafka.pools(combined(), SITE)
    assert (pool.name, pool.process_roles) == ("kafka", "broker,controller")
    assert pool.initial_controllers == kafka.initial_controllers(combined(), SITE)


@pytest.mark.parametrize("settings", [kafka.Settings(), combined()])
def test_each_voter_has_its_own_stable_directory_id(settings: kafka.Settings) -> None:
    voters = kafka.initial_controllers(settings, SITE).split(",")
    ids = [voter.rpartition(":")[2] for voter in voters]
    assert voters == kafka.initial_controllers(settings, SITE).split(",")
    assert len(set(ids)) == 3
    for found in ids:
        assert len(base64.urlsafe_b64decode(found + "==")) == 16
        assert found[0] not in "-A" or found.strip("A")


def test_ids_differ_between_sites_and_are_never_options() -> None:
    ids = [kafka.stable_id(SiteFacts(f"site-{n}"), "cluster") for n in range(500)]
    assert len(set(ids)) == 500
    assert not [found for found in ids if found.startswith("-")]


def test_node_ids_of_brokers_and_controllers_do_not_meet() -> None:
    pools = kafka.pools(kafka.Settings(), SITE)
    ids = [pool.id_base + number for pool in pools for number in range(pool.replicas)]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("settings", [kafka.Settings(), combined()])
def test_the_contract_fits_and_names_every_member(settings: kafka.Settings) -> None:
    checked = Component.model_validate(kafka.contract(settings, SITE))
    bootstrap, metrics = checked.endpoints_in
    assert bootstrap.address.startswith("kafka-0.kafka-members.platform.svc.cluster.local:9092,")
    assert len(metrics.address.split(",")) == len(checked.members)
    assert checked.client.required["acks"] == "all"


def test_every_address_is_in_the_certificate() -> None:
    names = kafka.dns_names(SITE)
    for settings in (kafka.Settings(), combined()):
        for endpoint in kafka.endpoints(settings, SITE):
            for address in str(endpoint["address"]).split(","):
                assert address.rpartition(":")[0] in names


def test_an_unknown_key_is_refused() -> None:
    with pytest.raises(ValidationError):
        kafka.Settings.model_validate({"replicas": 5})


def test_java_options_are_single_words() -> None:
    with pytest.raises(ValidationError):
        kafka.Settings(java_options=("-Xint; rm",))
