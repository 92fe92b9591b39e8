"""The MinIO chart, rendered as the stack renders it."""

from __future__ import annotations

import json

import pytest
import yaml

from components.kit.settings import SiteFacts
from components.minio import settings as minio
from tests.rendered import datarooms

pytestmark = pytest.mark.rendered
IMAGES = {n: f"apadana.local/{n}@{datarooms.DIGEST}" for n in ("minio", "clients")}
SITE = SiteFacts("test", "platform", images=IMAGES)


def render(settings: minio.Settings) -> list[datarooms.Document]:
    done = datarooms.helm_template("minio", minio.values(settings, SITE))
    assert done.returncode == 0, done.stderr
    return [document for document in yaml.safe_load_all(done.stdout) if document]


@pytest.fixture(scope="module")
def documents() -> list[datarooms.Document]:
    return render(minio.Settings())


def test_it_is_what_a_restricted_namespace_takes(documents: list[datarooms.Document]) -> None:
    datarooms.assert_sound(documents)


def test_no_pod_gets_a_token(documents: list[datarooms.Document]) -> None:
    for _, template in datarooms.templates(documents):
        assert template["spec"]["automountServiceAccountToken"] is False


@pytest.mark.parametrize("drives", [1, 4])
def test_each_drive_has_its_claim_and_its_mount(drives: int) -> None:
    settings = minio.Settings(drives_per_member=drives)
    spec = datarooms.named(render(settings), "StatefulSet", "minio")["spec"]
    claims = [claim["metadata"]["name"] for claim in spec["volumeClaimTemplates"]]
    assert claims == [f"d{number}" for number in range(drives)]
    container = spec["template"]["spec"]["containers"][0]
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert {f"d{n}": f"/data/d{n}" for n in range(drives)}.items() <= mounts.items()
    assert container["args"][-1] == (
        f"https://minio-{{0...3}}.minio-members.platform.svc.cluster.local:9000/data/d{{0...{drives - 1}}}/drive"
    )


def test_a_dead_host_is_given_up_soon(documents: list[datarooms.Document]) -> None:
    spec = datarooms.named(documents, "StatefulSet", "minio")["spec"]["template"]["spec"]
    env = {each["name"]: each["value"] for each in spec["containers"][0]["env"]}
    assert env["MINIO_DRIVE_MAX_TIMEOUT"] == env["MINIO_CONN_USER_TIMEOUT"] == "5s"
    assert "MINIO_ROOT_PASSWORD" not in env


def test_the_servers_see_no_password_of_a_user(documents: list[datarooms.Document]) -> None:
    spec = datarooms.named(documents, "StatefulSet", "minio")["spec"]["template"]["spec"]
    auth = next(volume for volume in spec["volumes"] if volume["name"] == "auth")
    assert {item["key"] for item in auth["secret"]["items"]} == {"root-user", "root-password"}


def test_only_the_settings_users_and_buckets_are_made(documents: list[datarooms.Document]) -> None:
    data = datarooms.named(documents, "ConfigMap", "minio-accounts")["data"]
    wanted = json.loads(data["wanted.json"])
    assert [user["name"] for user in wanted["users"]] == ["probe"]
    assert [bucket["name"] for bucket in wanted["buckets"]] == ["probe"]
    compile(data["accounts.py"], "accounts.py", "exec")
