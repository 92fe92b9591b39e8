"""The job that makes buckets and users at a client's S3 store, on a real MinIO."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from minio import Minio
from minio.commonconfig import ENABLED, Filter
from minio.credentials import StaticProvider
from minio.error import S3Error
from minio.lifecycleconfig import Expiration, LifecycleConfig, Rule
from minio.minioadmin import MinioAdmin

from components.kit.probing import Target
from components.kit.telling import WHOLE, WRONG
from components.minio import probe as minio
from components.minio.provision import accounts
from tests.engine import built, provisioned, stores
from tests.engine.provisioned import Pod, login, word
from tests.engine.test_integration_stores import target
from validate.ground.kubectl import wait_for

pytestmark = pytest.mark.engine
ASKED: list[dict[str, Any]] = [
    {"owner": "asker", "name": "asked", "expire_days": 9, "old_versions_days": 4},
    {"owner": "reader", "name": "asked", "rights": "read"},
]
NAMES = ("asker", "reader", "their-user")
PASSWORDS = {name: word(name) for name in NAMES}
#: All of S3 and nothing of MinIO's own, as a plain account at any store has.
PLAIN = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": ["s3:*"], "Resource": ["arn:aws:s3:::*"]}],
}


class Store:
    """A MinIO of the client; `probe` is its administrator."""

    def __init__(self, given: Target, made: stores.Platform) -> None:
        self.given, self.made = given, made
        self.address = minio.addresses(given)[0]
        self.client = minio.connect(given, self.address)
        wait_for("the drive", lambda: self.client.list_buckets() is not None, timeout=60, swallow=(Exception,))
        known = StaticProvider(given.username, given.password)
        self.admin = MinioAdmin(endpoint=self.address, credentials=known, http_client=minio.http(given))
        self.admin.user_add("their-user", PASSWORDS["their-user"])
        self.admin.policy_add("plain", policy=PLAIN)
        self.admin.attach_policy(["plain"], user="their-user")

    def user(self, name: str, password: str = "") -> Minio:
        pool = minio.http(self.given)
        return Minio(self.address, name, password or PASSWORDS[name], region="us-east-1", http_client=pool)

    def empty(self) -> None:
        """As if nothing had ever been made."""
        for bucket in self.client.list_buckets():
            for each in self.client.list_objects(bucket.name, recursive=True, include_version=True):
                self.client.remove_object(bucket.name, str(each.object_name), version_id=each.version_id)
            self.client.remove_bucket(bucket.name)
        for name in {"asker", "reader"} & set(json.loads(self.admin.user_list())):
            self.admin.user_remove(name)

    def days(self, name: str) -> dict[str | None, int | None]:
        kept = self.client.get_bucket_lifecycle(name)
        return {
            rule.rule_id: rule.expiration.days if rule.expiration else None for rule in (kept.rules if kept else ())
        }


@pytest.fixture(scope="module")
def store() -> Iterator[Store]:
    with stores.platform() as made:
        built.add_minio(made)
        yield Store(target(made, "minio"), made)


@pytest.fixture(autouse=True)
def clean(store: Store) -> None:
    store.empty()


def secrets(store: Store, account: str = "", **passwords: str) -> provisioned.Secrets:
    admin = login(store.given.username, store.given.password)
    return provisioned.secrets("minio", login(account, word(account)) if account else admin, admin, **passwords)


def pod(folder: Path, store: Store, held: provisioned.Secrets, *, users: bool = True, **more: Any) -> Pod:
    port = int(store.address.rpartition(":")[2])
    wanted = provisioned.settings("minio", port, users=users, **{"buckets": ASKED, **more})
    return Pod(folder, wanted, held, (store.made.state / "pki" / "ca.crt").read_text())


def put(client: Minio, bucket: str) -> None:
    client.put_object(bucket, "a", io.BytesIO(b"x"), 1)


def test_buckets_and_users_are_made_once(store: Store, tmp_path: Path) -> None:
    held = secrets(store)
    job = pod(tmp_path, store, held)
    code, said = job.run()
    assert code == WHOLE, said
    provisioned.nothing_leaks(said, held)
    assert {each.name for each in store.client.list_buckets()} == {"asked", "probe"}
    assert store.client.get_bucket_versioning("asked").status == ENABLED
    assert store.days("asked") == {"expire": 9}
    put(store.user("asker"), "asked")
    assert store.user("reader").get_object("asked", "a").data == b"x"
    for name, bucket in (("reader", "asked"), ("asker", "probe")):
        with pytest.raises(S3Error, match="AccessDenied"):
            put(store.user(name), bucket)
    code, again = job.run()
    assert code == WHOLE and "made" not in again and "wrote" not in again and "written" not in again, again


def test_a_job_that_is_killed_in_the_middle_is_gone_on_with(store: Store, tmp_path: Path) -> None:
    """Killed as soon as the first bucket is there: the rest lacks."""
    job = pod(tmp_path, store, secrets(store))
    job.kill("a bucket", lambda: store.client.list_buckets() or None)
    assert len(store.client.list_buckets()) < 2 or store.days("asked") == {}, "it was too late"
    code, said = job.run()
    assert code == WHOLE, said
    assert store.days("asked") == {"expire": 9} and store.client.get_bucket_versioning("asked").status == ENABLED
    put(store.user("asker"), "asked")


@pytest.mark.parametrize("stage", ["bucket", "user", "policy"])
def test_what_was_half_made_is_made_whole(store: Store, tmp_path: Path, stage: str) -> None:
    """What a kill at these moments leaves."""
    store.client.make_bucket("asked")
    if stage != "bucket":
        store.admin.user_add("asker", PASSWORDS["asker"])
    if stage == "policy":
        store.admin.policy_add("asker", policy=_of_asker())
    code, said = pod(tmp_path, store, secrets(store)).run()
    assert code == WHOLE, said
    assert store.days("asked") == {"expire": 9}
    put(store.user("asker"), "asked")


def _of_asker() -> dict[str, Any]:
    found: dict[str, Any] = accounts.policy({"writes": ["asked"], "reads": [], "observe": False})
    return found


def test_a_new_epoch_gives_users_of_ours_their_key(store: Store, tmp_path: Path) -> None:
    assert pod(tmp_path / "1", store, secrets(store)).run()[0] == WHOLE
    held = secrets(store, asker="another-one-of-asker")
    held |= provisioned.before("minio")
    code, said = pod(tmp_path / "2", store, held, epoch=2).run()
    assert code == WHOLE, said
    assert "user asker: its new key" in said and "user reader: its new key" not in said
    put(store.user("asker", "another-one-of-asker"), "asked")


def test_a_plain_account_makes_buckets_and_is_told_what_it_can_not(store: Store, tmp_path: Path) -> None:
    held = secrets(store, "their-user")
    code, said = pod(tmp_path, store, held).run()
    assert code == WRONG, said
    provisioned.nothing_leaks(said, held)
    assert {each.name for each in store.client.list_buckets()} == {"asked", "probe"}
    assert store.days("asked") == {"expire": 9}
    assert "user asker\n    the account may not: " in said and "external.provision.users: false" in said
    policy = '"Resource": ["arn:aws:s3:::asked/*"]'
    assert "make a user with the two keys of the Secret minio-client-asker" in said and policy in said


def test_users_of_the_client_are_tried_with_their_secrets(store: Store, tmp_path: Path) -> None:
    code, said = pod(tmp_path / "1", store, secrets(store, "their-user"), users=False).run()
    assert code == WRONG and "it reads bucket asked\n    is:     InvalidAccessKeyId" in said
    for name in ("asker", "reader"):
        store.admin.user_add(name, PASSWORDS[name])
        store.admin.attach_policy(["readonly"], user=name)
    code, said = pod(tmp_path / "2", store, secrets(store, "their-user"), users=False).run()
    assert code == WRONG and "AccessDenied" in said  # MinIO's own policy `readonly` lists nothing
    for name in ("asker", "reader"):
        store.admin.attach_policy(["plain"], user=name)
    code, said = pod(tmp_path / "3", store, secrets(store, "their-user"), users=False).run()
    assert code == WHOLE, said


def test_an_account_that_may_nothing_is_told_with_the_commands(store: Store, tmp_path: Path) -> None:
    store.admin.user_add("reader", PASSWORDS["reader"])
    store.admin.attach_policy(["readonly"], user="reader")
    code, said = pod(tmp_path, store, secrets(store, "reader"), users=False).run()
    assert code == WRONG, said
    assert "mc mb STORE/asked; mc version enable STORE/asked; mc ilm rule add STORE/asked --expire-days 9" in said
    assert not store.client.list_buckets()


def test_what_is_otherwise_is_told_and_left(store: Store, tmp_path: Path) -> None:
    store.client.make_bucket("asked")
    put(store.client, "asked")
    store.admin.user_add("reader", "the-password-of-another")
    code, said = pod(tmp_path, store, secrets(store)).run()
    assert code == WRONG, said
    assert "bucket asked\n    wanted: objects stay 9 days, old versions 4 days" in said
    assert "user reader\n    wanted: the key of the Secret minio-client-reader" in said
    assert store.days("asked") == {}, "objects of the client would have gone"
    with pytest.raises(S3Error, match="AccessDenied"):  # by its own key still, and without any right
        store.user("reader", "the-password-of-another").list_buckets()
    put(store.user("asker"), "asked")


def test_days_grow_and_never_shrink(store: Store, tmp_path: Path) -> None:
    assert pod(tmp_path / "1", store, secrets(store)).run()[0] == WHOLE
    longer = [{**ASKED[0], "expire_days": 30}, ASKED[1]]
    code, said = pod(tmp_path / "2", store, secrets(store), buckets=longer).run()
    assert code == WHOLE and "stays longer, objects stay 30 days" in said, said
    own = Rule(ENABLED, rule_filter=Filter(prefix="logs/"), rule_id="theirs", expiration=Expiration(days=2))
    kept = store.client.get_bucket_lifecycle("asked")
    assert kept is not None
    store.client.set_bucket_lifecycle("asked", LifecycleConfig([*kept.rules, own]))
    more = {**PLAIN, "Statement": [*_of_asker()["Statement"], *PLAIN["Statement"]]}
    store.admin.policy_add("asker", policy=more)
    code, said = pod(tmp_path / "3", store, secrets(store)).run()
    assert code == WRONG and "wanted: objects stay 9 days" in said and "is:     objects stay 30 days" in said
    assert "policy asker\n    wanted: what the user needs\n    is:     also s3:* on *" in said
    assert store.days("asked") == {"expire": 30, "theirs": 2}
