"""The Valkey chart, rendered as the stack renders it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.rendered import alerting, datarooms
from validate.ground.site import REPOSITORY

pytestmark = pytest.mark.rendered
RULES = REPOSITORY / "components" / "redis" / "alerts.yaml"


@pytest.fixture(scope="module")
def documents() -> list[datarooms.Document]:
    return datarooms.render("redis")


def test_it_is_what_a_restricted_namespace_takes(documents: list[datarooms.Document]) -> None:
    datarooms.assert_sound(documents)


def test_no_pod_gets_a_token(documents: list[datarooms.Document]) -> None:
    for _, template in datarooms.templates(documents):
        assert template["spec"]["automountServiceAccountToken"] is False


@pytest.mark.parametrize("name", ["valkey.conf", "sentinel.conf"])
def test_it_speaks_tls_only(documents: list[datarooms.Document], name: str) -> None:
    lines = datarooms.named(documents, "ConfigMap", "redis-files")["data"][name].splitlines()
    assert "port 0" in lines
    assert "tls-replication yes" in lines


def test_a_primary_without_replicas_takes_no_writes(documents: list[datarooms.Document]) -> None:
    lines = datarooms.named(documents, "ConfigMap", "redis-files")["data"]["valkey.conf"]
    assert "min-replicas-to-write 1\n" in lines
    assert "min-replicas-max-lag 2\n" in lines


def test_every_member_has_a_sentinel(documents: list[datarooms.Document]) -> None:
    spec = datarooms.named(documents, "StatefulSet", "redis")["spec"]
    assert spec["replicas"] == 3
    containers = [c["name"] for c in spec["template"]["spec"]["containers"]]
    assert containers == ["valkey", "sentinel", "metrics"]


def test_the_default_user_is_off(documents: list[datarooms.Document]) -> None:
    files = datarooms.named(documents, "ConfigMap", "redis-files")["data"]
    for name in ("valkey.sh", "sentinel.sh"):
        assert "user default off resetkeys resetchannels -@all" in files[name]


def test_the_scripts_are_sound_shell(documents: list[datarooms.Document], tmp_path: Path) -> None:
    files = datarooms.named(documents, "ConfigMap", "redis-files")["data"]
    for name in [name for name in files if name.endswith(".sh")]:
        script = tmp_path / name
        script.write_text(files[name])
        done = subprocess.run(["sh", "-n", script], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


def test_a_value_of_another_type_is_refused() -> None:
    wrong = datarooms.values("redis") | {"fsync": "never"}
    done = datarooms.helm_template("redis", wrong)
    assert done.returncode != 0
    assert "fsync" in done.stderr


def members(metric: str, *values: str, **labels: str) -> list[alerting.Series]:
    """One series for each member, which its place names."""
    return [
        {"series": alerting.labelled(metric, instance=f"redis-{at}", **labels), "values": told}
        for at, told in enumerate(values)
    ]


UP = members("up", "1x20", "1x20", "1x20", component="redis")
DOWN = members("up", "1x20", "1x20", "0x20", component="redis")


@pytest.mark.parametrize(
    ("followers", "up", "told"),
    [("2x20", UP, False), ("1x20", UP, True), ("1x20", DOWN, True), ("1x1 2x20", UP, False)],
    ids=["whole", "one follows no more", "one is away", "one came back"],
)
def test_a_replica_that_is_missing_is_told(
    tmp_path: Path, followers: str, up: list[alerting.Series], told: bool
) -> None:
    series = [*up, *members("redis_connected_slaves", followers, "0x20", "0x20")]
    alerting.expect(RULES, tmp_path, series, "RedisReplicaMissing", {10: [{}] if told else []})


@pytest.mark.parametrize(("primaries", "told"), [(1, False), (0, True), (2, True)])
def test_that_not_exactly_one_is_primary_is_told(tmp_path: Path, primaries: int, told: bool) -> None:
    series = members("redis_instance_info", *["1x20"] * primaries, role="master")
    series += members("redis_instance_info", *["1x20"] * (3 - primaries), role="slave")
    alerting.expect(RULES, tmp_path, series, "RedisNoPrimary", {5: [{}] if told else []})
