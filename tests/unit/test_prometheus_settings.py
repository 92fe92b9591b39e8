"""Prometheus: what it watches follows from the contracts of all rooms."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import yaml
from pydantic import ValidationError

from components.alertmanager import settings as alertmanager
from components.cluster import settings as cluster
from components.kafka import settings as kafka
from components.kit import fronts
from components.kit.contract import Component, Listed, Metrics
from components.kit.discovery import room
from components.kit.providing import ExternalStore
from components.kit.settings import ComponentSettings, External, Mode, SiteFacts
from components.minio import settings as minio
from components.nodepool import settings as nodepool
from components.postgres import settings as postgres
from components.prometheus import certificates, probe, targets
from components.prometheus import settings as prometheus
from components.redis import settings as redis
from components.storage import settings as storage
from tests.unit import test_outcomes_settings as outcomes
from validate.suites import coverage


def site(**more: ComponentSettings) -> SiteFacts:
    rooms: dict[str, ComponentSettings] = {
        "alertmanager": alertmanager.Settings(),
        "kafka": kafka.Settings(),
        "minio": minio.Settings(),
        "postgres": postgres.Settings(),
        "prometheus": prometheus.Settings(),
        "redis": redis.Settings(),
    }
    images = {name: f"apadana.local/{name}@sha256:0" for name in rooms}
    return SiteFacts("test", "platform", images=images, rooms=rooms | more)


def job(name: str, facts: SiteFacts) -> targets.Scrape:
    return next(scrape for scrape in targets.scrapes(facts) if scrape.job == name)


def test_every_member_that_a_contract_names_is_a_target() -> None:
    found = job("minio-erasure-set", site())
    assert found.hosts[3] == "minio-3.minio-members.platform.svc.cluster.local"
    assert (found.scheme, found.port, len(found.hosts)) == ("https", 9000, 4)


def test_controllers_are_found_behind_their_own_service() -> None:
    found = job("kafka", site())
    assert "kafka-controller-0.kafka-controller-members.platform.svc.cluster.local" in found.hosts
    assert len(found.hosts) == 6


def test_pods_without_names_are_found_by_their_service() -> None:
    found = job("postgres-8404", site())
    assert found.service == "postgres-pooler-members.platform.svc.cluster.local"
    assert found.hosts == () and found.server_name == ""


def test_an_address_is_checked_for_the_name_of_its_service() -> None:
    part = Component(
        name="web", version="1", mode="managed", metrics=[Metrics(port=1, scheme="https", service="web-members")]
    )
    made = targets.scrape_of(part, part.metrics[0], site())
    assert made.server_name == "web-members.platform.svc.cluster.local"


def test_what_the_client_runs_or_nobody_runs_is_not_watched() -> None:
    given = ExternalStore(addresses=("db.client:5432",), secret_ref="given")
    away = postgres.Settings(mode=Mode.EXTERNAL, external=given)
    off = kafka.Settings(mode=Mode.OFF, off_because="not needed")
    facts = site(postgres=away, kafka=off)
    jobs = {scrape.room for scrape in targets.scrapes(facts)}
    assert not {"postgres", "kafka"} & jobs
    assert not {"postgres", "kafka"} & set(targets.rules(facts))


def test_a_room_that_shows_nothing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    assert targets.unwatched(site()) == []
    told = redis.contract
    monkeypatch.setattr(redis, "contract", lambda *given: {**told(*given), "metrics": []})
    assert targets.unwatched(site()) == ["redis"]


def test_no_two_jobs_are_called_alike() -> None:
    names = [scrape.job for scrape in targets.scrapes(site())]
    assert len(names) == len(set(names))


def test_pods_that_come_and_go_are_listed_by_whoever_makes_them() -> None:
    told = Listed(path="/pods", room="kserve", namespace="platform-work", port=8080)
    both = [Metrics(port=1, scheme="https", service="web-members"), Metrics(port=1, service="web-members", listed=told)]
    part = Component(name="web", version="1", mode="managed", metrics=both)
    own, listed = (targets.scrape_of(part, each, site()) for each in part.metrics)
    assert (own.job, own.listed) == ("web", "")
    assert (listed.job, listed.listed) == ("web-pods", "/pods")


def test_watching_opens_the_way_and_is_no_dependency() -> None:
    facts = site()
    made = prometheus.values(prometheus.Settings(), facts)
    uses = {use["room"]: use["ports"] for use in made["uses"]}  # type: ignore[attr-defined]
    assert uses["postgres"] == [8008, 8404] and uses["kafka"] == [9404]
    assert "prometheus" not in uses
    assert prometheus.Settings().needs() == ()


def test_every_rule_says_of_which_room_it_is() -> None:
    facts = site()
    counted = targets.expected(facts)["rules"]
    for name, text in targets.rules(facts).items():
        original = yaml.safe_load((room(name).path / "alerts.yaml").read_text())
        rules = [r for group in yaml.safe_load(text)["groups"] for r in group["rules"]]
        assert len(rules) == sum(len(group["rules"]) for group in original["groups"])
        assert counted[name] == len(rules)
        assert all(rule["labels"]["component"] for rule in rules)
        assert all(rule["labels"]["cause"] for rule in rules)
        for rule in rules:
            assert rule["annotations"]["runbook"] == f"components/{name}/RUNBOOK.md"
            assert probe.labels_lacking(rule) == [], rule["alert"]


@pytest.mark.parametrize(
    ("part", "word"), [("annotations", "summary"), ("annotations", "runbook"), ("labels", "severity")]
)
def test_an_alert_that_helps_nobody_is_found(part: str, word: str) -> None:
    alert = {
        "annotations": {"summary": "it is full", "runbook": "RUNBOOK.md"},
        "labels": {"component": "kafka", "severity": "warning"},
    }
    assert probe.labels_lacking(alert) == []
    alert[part][word] = ""
    assert probe.labels_lacking(alert) == [word]


def test_samples_never_take_the_whole_volume() -> None:
    small = prometheus.Settings.model_validate({"storage": {"class": "ssd", "size_gib": 1}})
    assert small.retention_mib() == 665
    assert small.retention_mib() * 1.1 < 0.95 * 1024


@pytest.mark.parametrize("wrong", [{"replicas": 1}, {"scrape_seconds": 1}, {"retention_days": 0}, {"replica": 2}])
def test_what_cannot_work_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        prometheus.Settings.model_validate(wrong)


def test_a_foreign_alertmanager_is_refused_in_words() -> None:
    given = External(addresses=("alerts.client:443",), secret_ref="given")
    facts = site(alertmanager=alertmanager.Settings(mode=Mode.EXTERNAL, external=given))
    (mistake,) = prometheus.Settings().misfits(facts)
    assert mistake.key == "alertmanager.mode"
    assert prometheus.alertmanagers(facts) == ()


def test_contracts_fit_and_need_no_backup() -> None:
    facts = site()
    for module, own in ((prometheus, prometheus.Settings()), (alertmanager, alertmanager.Settings())):
        made = Component.model_validate(module.contract(own, facts))
        assert not coverage.needed(made, "backup.py"), made.name
        assert made.metrics[0].scheme == "https"


def test_one_metrics_is_as_good_as_a_list_of_one() -> None:
    base = {"name": "x", "version": "1", "mode": "managed"}
    alone = Component.model_validate(base | {"metrics": {"port": 9404}})
    assert alone.metrics == [Metrics(port=9404)]
    assert Component.model_validate(base | {"metrics": None}).metrics == []
    assert Component.model_validate(json.loads(alone.model_dump_json())) == alone


def test_a_password_that_the_front_would_misread_is_refused() -> None:
    assert "user probe insecure-password abc-_=\n" in fronts.users_file({"probe": "abc-_="})
    for bad in ("", "a b", 'a"b', "a#b", "a\\b", "a$b"):
        with pytest.raises(ValueError, match="probe"):
            fronts.users_file({"probe": bad})


def test_certificates_are_looked_at_where_a_port_begins_with_tls() -> None:
    found = {(look.room, look.server_name): look.places for look in certificates.looks(site())}
    assert {room for room, _ in found} == {"alertmanager", "kafka", "minio", "postgres", "prometheus", "redis"}
    ports = {room: {place.rpartition(":")[2] for place in places} for (room, _), places in found.items()}
    assert (ports["kafka"], ports["postgres"], ports["redis"]) == ({"9092"}, {"8008"}, {"26379"})
    assert targets.expected(site())["certificates"]["postgres"] == 3


def test_the_gateway_s_certificate_is_asked_for_by_a_name_that_it_has_and_once() -> None:
    looks = certificates.looks(outcomes.site())
    (way_in,) = [look for look in looks if look.room == "gateway"]
    assert way_in.server_name.endswith("lab.internal") and len(way_in.places) == 1
    places = [place for look in looks for place in look.places]
    assert len(places) == len(set(places))


def lab_like(**own: object) -> SiteFacts:
    """With the rooms of the cluster layer, four cards promised."""
    pool = {"nodes": ["g1", "g2"], "cpu_cores": 8, "memory_gib": 32, "gpus": 2}
    pools = nodepool.Settings.model_validate({"pools": {"gpu": pool}})
    watching = prometheus.Settings.model_validate(own)
    return site(cluster=cluster.Settings(), nodepool=pools, storage=storage.Settings(), prometheus=watching)


def alerts(facts: SiteFacts, name: str) -> set[str]:
    groups = yaml.safe_load(targets.rules(facts).get(name, "groups: []"))["groups"]
    return {rule.get("alert") or rule["record"] for group in groups for rule in group["rules"]}


CARDS = {"service": "cards", "namespace": "gpu-operator"}


def test_an_alert_without_a_source_is_not_loaded() -> None:
    blind = lab_like(watch_volumes=False, watch_control_planes=False, watch_names=False)
    assert (alerts(blind, "cluster"), alerts(blind, "storage")) == (set(), set())
    assert alerts(blind, "nodepool") == {targets.PROMISED}
    assert not set(targets.watched(blind)) & set(targets.expected(blind)["targets"])
    whole = lab_like(cards=CARDS)
    assert {"ApiServerDown", "EtcdMemberSilent", "KubeletCertificateEnds", "CoreDnsDown"} < alerts(whole, "cluster")
    assert {"HostDown", "CardBusy", "CardsMissing", targets.PROMISED} < alerts(whole, "nodepool")
    assert "CardBusy" not in alerts(lab_like(), "nodepool")
    assert "KubeletCertificateEnds" not in alerts(lab_like(watch_volumes=False), "cluster")
    assert "UsageFiguresMissing" not in alerts(lab_like(watch_control_planes=False), "cluster")
    assert "CoreDnsDown" not in alerts(lab_like(watch_names=False), "cluster")


def test_cards_are_expected_as_the_pools_promise_them_and_watched_where_the_exporter_is() -> None:
    facts = lab_like(cards=CARDS)
    assert "expr: vector(4)" in targets.rules(facts)["nodepool"]
    assert targets.PROMISED not in targets.rules(site(nodepool=nodepool.Settings()))["nodepool"]
    assert targets.expected(facts)["targets"]["cards"] == 0
    made = prometheus.values(facts.rooms["prometheus"], facts)  # type: ignore[arg-type]
    assert made["cards"] == [CARDS | {"port": 9400}]
    (way,) = [use for use in made["uses"] if use["room"] == "cards"]  # type: ignore[attr-defined]
    assert (way["namespace"], way["ports"]) == ("gpu-operator", [9400])


def test_a_clients_api_servers_may_be_where_nobody_sees_them() -> None:
    seen = replace(lab_like(), inventory={"all": {"hosts": {"cp1": {}}}})
    for job in ("api-servers", "usage-figures", "coredns"):
        assert targets.expected(lab_like())["targets"][job] == probe.ANY
        assert targets.expected(seen)["targets"][job] == 0
