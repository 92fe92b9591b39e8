"""What keeps MinIO's buckets as wanted.json says, on a real MinIO: days of objects and of old versions."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from minio import Minio
from minio.commonconfig import ENABLED, Filter
from minio.lifecycleconfig import Expiration, LifecycleConfig, Rule

from components.kit.probing import Target
from components.kit.settings import SiteFacts
from components.minio import probe as minio
from components.minio import settings as room
from tests import scripts
from tests.engine import built, stores
from tests.engine.test_integration_stores import target
from validate.ground.kubectl import wait_for

pytestmark = pytest.mark.engine
accounts = scripts.load(Path(minio.__file__).parent / "chart" / "files" / "accounts.py", "apadana_minio_accounts")
NOW = datetime.now(UTC)


@pytest.fixture(scope="module")
def given() -> Iterator[Target]:
    with stores.platform() as made:
        built.add_minio(made)
        yield target(made, "minio")


@pytest.fixture(scope="module")
def client(given: Target) -> Minio:
    found = minio.connect(given, minio.addresses(given)[0])
    wait_for("the drive", lambda: found.list_buckets() is not None, timeout=60, swallow=(Exception,))
    return found


def wanted(name: str, **said: Any) -> list[dict[str, Any]]:
    """As the chart hands it on."""
    settings = room.Settings.model_validate({"buckets": [{"owner": "asker", "name": name, **said}]})
    return [each.model_dump() for each in room.buckets(settings, SiteFacts("test")) if each.name == name]


def told(capsys: pytest.CaptureFixture[str], client: Minio, buckets: list[dict[str, Any]]) -> str:
    """What one round says that it changed."""
    capsys.readouterr()
    accounts.buckets(client, buckets)
    return capsys.readouterr().out


def days(client: Minio, name: str) -> dict[str | None, tuple[int | None, bool | None, int | None]]:
    """By rule: days of objects, whether marks go when nothing is under them, days of old versions."""
    kept = client.get_bucket_lifecycle(name)
    assert kept is not None
    return {
        each.rule_id: (
            each.expiration.days if each.expiration else None,
            each.expiration.expired_object_delete_marker if each.expiration else None,
            each.noncurrent_version_expiration.noncurrent_days if each.noncurrent_version_expiration else None,
        )
        for each in kept.rules
    }


def test_a_bucket_gets_its_days_once_and_new_ones_when_they_change(
    client: Minio, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "days of objects and of old versions written" in told(capsys, client, wanted("plain"))
    assert days(client, "plain") == {"expire": (None, True, 30)}
    assert told(capsys, client, wanted("plain")) == ""
    assert "written" in told(capsys, client, wanted("plain", expire_days=90, old_versions_days=7))
    assert days(client, "plain") == {"expire": (90, None, 7)}
    assert told(capsys, client, wanted("plain", expire_days=90, old_versions_days=7)) == ""
    # Objects that no longer go are not forgotten there.
    assert "written" in told(capsys, client, wanted("plain"))
    assert days(client, "plain") == {"expire": (None, True, 30)}


def test_what_was_replaced_stays_no_longer_than_the_whole(client: Minio, capsys: pytest.CaptureFixture[str]) -> None:
    told(capsys, client, wanted("short", expire_days=3))
    assert days(client, "short") == {"expire": (3, None, 3)}


def test_a_rule_of_somebody_else_stays(client: Minio, capsys: pytest.CaptureFixture[str]) -> None:
    told(capsys, client, wanted("theirs"))
    own = Rule(ENABLED, rule_filter=Filter(prefix="logs/"), rule_id="theirs", expiration=Expiration(days=2))
    client.set_bucket_lifecycle("theirs", LifecycleConfig([own]))
    assert "written" in told(capsys, client, wanted("theirs"))
    assert days(client, "theirs") == {"theirs": (2, None, None), "expire": (None, True, 30)}
    assert told(capsys, client, wanted("theirs")) == ""


def put(client: Minio, given: Target, name: str, age_days: int) -> None:
    """A version that is as old as that, as replication between two MinIO would bring it."""
    made = (NOW - timedelta(days=age_days)).strftime("%Y-%m-%dT%H:%M:%S.000000000Z")
    headers = {"X-Minio-Source-Replication-Request": "true", "X-Minio-Source-Mtime": made}
    url = client.get_presigned_url("PUT", "aged", name)
    answer = minio.http(given).request("PUT", url, body=b"x", headers=headers)
    assert answer.status == 200, answer.data


def versions(client: Minio, name: str) -> int:
    return len(list(client.list_objects("aged", prefix=name, include_version=True)))


def test_old_versions_go_and_young_ones_and_whole_objects_stay(
    client: Minio, given: Target, capsys: pytest.CaptureFixture[str]
) -> None:
    told(capsys, client, wanted("aged"))
    client.delete_bucket_lifecycle("aged")
    for name, ages in {"old": (50, 40), "young": (50, 10), "whole": (400,)}.items():
        for age in ages:
            put(client, given, name, age)
    assert [versions(client, name) for name in ("old", "young", "whole")] == [2, 2, 1]
    told(capsys, client, wanted("aged"))
    wait_for("the old version to go", lambda: versions(client, "old") == 1 or None, timeout=60)
    assert [versions(client, name) for name in ("young", "whole")] == [2, 1]
