"""The PostgreSQL chart, rendered as the stack renders it."""

from __future__ import annotations

import json

import pytest
import yaml

from tests.rendered import datarooms

pytestmark = pytest.mark.rendered


@pytest.fixture(scope="module")
def documents() -> list[datarooms.Document]:
    return datarooms.render("postgres")


def test_it_is_what_a_restricted_namespace_takes(documents: list[datarooms.Document]) -> None:
    datarooms.assert_sound(documents)


def test_patroni_may_touch_config_maps_and_pods_only(documents: list[datarooms.Document]) -> None:
    rules = datarooms.named(documents, "Role", "postgres")["rules"]
    assert {kind for rule in rules for kind in rule["resources"]} == {"configmaps", "pods"}
    assert all(rule["apiGroups"] == [""] for rule in rules)


def test_only_members_get_a_token(documents: list[datarooms.Document]) -> None:
    mounted = {
        name: template["spec"]["automountServiceAccountToken"] for name, template in datarooms.templates(documents)
    }
    assert mounted == {"postgres": True, "postgres-pooler": False}


def test_our_files_do_not_take_patronis_names(documents: list[datarooms.Document]) -> None:
    names = {d["metadata"]["name"] for d in documents if d["kind"] == "ConfigMap"}
    theirs = {f"postgres-{end}" for end in ("config", "leader", "failover", "sync", "failsafe")}
    assert not names & theirs


def test_patroni_is_told_what_was_promised(documents: list[datarooms.Document]) -> None:
    files = datarooms.named(documents, "ConfigMap", "postgres-files")["data"]
    patroni = yaml.safe_load(files["patroni.yaml"])
    dynamic = json.loads(files["dynamic.json"])
    assert patroni["bootstrap"]["dcs"] == dynamic
    assert patroni["kubernetes"]["use_endpoints"] is False
    assert "data-checksums" in patroni["bootstrap"]["initdb"]
    assert (dynamic["ttl"], dynamic["loop_wait"], dynamic["retry_timeout"]) == (20, 5, 5)
    assert dynamic["failsafe_mode"] is True
    assert dynamic["synchronous_mode"] == "quorum"
    assert dynamic["synchronous_mode_strict"] is True
    # What diverged may hold commits that were acknowledged by a member alone: a person gives it up.
    kept = {key: value for key, value in patroni["postgresql"].items() if key.startswith("remove_data_directory")}
    assert set(kept.values()) == {False}


def test_nobody_connects_in_plain_text(documents: list[datarooms.Document]) -> None:
    files = datarooms.named(documents, "ConfigMap", "postgres-files")["data"]
    rules = [line.split() for line in yaml.safe_load(files["patroni.yaml"])["postgresql"]["pg_hba"]]
    pooler = datarooms.named(documents, "ConfigMap", "postgres-pooler-files")["data"]
    assert rules[-1] == ["hostnossl", "all", "all", "all", "reject"]
    assert all(rule[0] in ("local", "hostssl", "hostnossl") for rule in rules)
    assert "client_tls_sslmode = require" in pooler["pgbouncer.ini"]
    assert "server_tls_sslmode = verify-full" in pooler["pgbouncer.ini"]


def test_the_pooler_follows_every_member(documents: list[datarooms.Document]) -> None:
    files = datarooms.named(documents, "ConfigMap", "postgres-pooler-files")["data"]
    haproxy = files["haproxy.cfg"]
    servers = [line.split() for line in haproxy.splitlines() if line.startswith("  server ")]
    assert [server[1] for server in servers] == ["postgres-0", "postgres-1", "postgres-2"]
    assert "on-marked-down shutdown-sessions" in haproxy
    assert "verify required" in haproxy


def test_the_pooler_sees_no_password_but_its_own(documents: list[datarooms.Document]) -> None:
    pooler = datarooms.named(documents, "Deployment", "postgres-pooler")
    volumes = pooler["spec"]["template"]["spec"]["volumes"]
    auth = next(v["secret"] for v in volumes if v["name"] == "auth")
    assert [item["key"] for item in auth["items"]] == ["pooler-password"]


def test_a_value_of_another_type_is_refused() -> None:
    wrong = datarooms.values("postgres") | {"synchronous": "sometimes"}
    done = datarooms.helm_template("postgres", wrong)
    assert done.returncode != 0
    assert "synchronous" in done.stderr


@pytest.mark.parametrize("placement", ["required", "preferred", "none"])
def test_placement_is_negotiable(placement: str) -> None:
    found = datarooms.render("postgres", placement=placement)
    spec = datarooms.named(found, "StatefulSet", "postgres")["spec"]["template"]["spec"]
    assert ("required" in json.dumps(spec["affinity"])) is (placement == "required")
