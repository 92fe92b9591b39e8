"""The job that makes users, rights and topics at a client's Kafka, on a real broker."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, KafkaException, Producer
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    NewTopic,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialAlteration,
    UserScramCredentialDeletion,
    UserScramCredentialUpsertion,
)

from components.kafka import probe as kafka
from components.kafka import provisioning
from components.kafka.provision import accounts
from components.kafka.provision.brokers import all_of
from components.kit.probing import Target
from components.kit.telling import WHOLE, WRONG
from tests.engine import built, provisioned, stores
from tests.engine.provisioned import Pod, login, word
from tests.engine.test_integration_stores import target
from validate.ground.kubectl import wait_for

pytestmark = pytest.mark.engine
ASKED = [
    {"owner": "asker", "name": "asked", "partitions": 2, "retention_hours": 5},
    {"owner": "reader", "name": "asked", "rights": "read"},
]
PASSWORDS = {name: word(name) for name in ("asker", "reader", "weak")}
SCRAM = ScramMechanism.SCRAM_SHA_512


class Brokers:
    """The client's, of which there is one; `probe` is its administrator."""

    def __init__(self, given: Target, made: stores.Platform) -> None:
        self.given, self.made = given, made
        self.admin = AdminClient(kafka.config(given))
        self.write("weak", PASSWORDS["weak"])

    def write(self, name: str, password: str) -> None:
        change = UserScramCredentialUpsertion(name, ScramCredentialInfo(SCRAM, 8192), password.encode())
        accounts.wait(self.admin.alter_user_scram_credentials([change]).values())

    def config(self, user: str, password: str = "", **more: Any) -> dict[str, Any]:
        other = {"sasl.username": user, "sasl.password": password or PASSWORDS[user]}
        return kafka.config(self.given, **other, **more)

    def topics(self) -> dict[str, int]:
        found = self.admin.list_topics(timeout=20).topics
        return {name: len(each.partitions) for name, each in found.items() if not name.startswith("__")}

    def has(self, count: int) -> dict[str, int]:
        """Once each broker's metadata tells of so many topics."""
        wait_for(f"{count} topics", lambda: len(self.topics()) == count or None, timeout=30, every=0.1)
        return self.topics()

    def users(self) -> set[str]:
        found: Any = self.admin.describe_user_scram_credentials()
        return set(found.result(timeout=20)) & {"asker", "reader"}

    def empty(self) -> None:
        """As if nothing had ever been made."""
        if there := list(self.topics()):
            accounts.wait(self.admin.delete_topics(there).values())
        wait_for("the topics to go", lambda: not self.topics(), timeout=30, every=0.05)
        gone: list[UserScramCredentialAlteration] = [UserScramCredentialDeletion(name, SCRAM) for name in self.users()]
        if gone:
            accounts.wait(self.admin.alter_user_scram_credentials(gone).values())
        for name in ("asker", "reader", "probe"):
            accounts.wait(self.admin.delete_acls([all_of(name)]).values())


@pytest.fixture(scope="module")
def brokers() -> Iterator[Brokers]:
    with stores.platform() as made:
        built.add_kafka(made, built.GUARDED)
        yield Brokers(target(made, "kafka"), made)


@pytest.fixture(autouse=True)
def clean(brokers: Brokers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provisioning, "MEMBERS", 1)  # of the replicas that a topic has: there is one broker
    brokers.empty()


def secrets(brokers: Brokers, account: str = "", **passwords: str) -> provisioned.Secrets:
    admin = login(brokers.given.username, brokers.given.password)
    return provisioned.secrets("kafka", login(account, word(account)) if account else admin, admin, **passwords)


def pod(folder: Path, brokers: Brokers, held: provisioned.Secrets, **more: Any) -> Pod:
    port = brokers.given.endpoint("kafka").hosts()[0][1]
    wanted = provisioned.settings("kafka", port, **{"topics": ASKED, **more})
    return Pod(folder, wanted, held, (brokers.made.state / "pki" / "ca.crt").read_text())


def send(brokers: Brokers, user: str, password: str = "") -> None:
    told: list[Any] = []
    producer = Producer(brokers.config(user, password))
    producer.produce("asked", b"a", on_delivery=lambda error, _: told.append(error))
    producer.flush(20)
    assert told, "nothing was heard"
    if told[0] is not None:
        raise KafkaException(told[0])


def test_users_rights_and_topics_are_made_once(brokers: Brokers, tmp_path: Path) -> None:
    held = secrets(brokers)
    job = pod(tmp_path, brokers, held)
    code, said = job.run()
    assert code == WHOLE, said
    provisioned.nothing_leaks(said, held)
    assert brokers.has(5)["asked"] == 2
    send(brokers, "asker")
    with pytest.raises(KafkaException, match="TOPIC_AUTHORIZATION_FAILED"):
        send(brokers, "reader")
    reader = Consumer(brokers.config("reader", **{"group.id": "reader.a", "auto.offset.reset": "earliest"}))
    reader.subscribe(["asked"])
    found = wait_for("the record", lambda: reader.poll(0.5), timeout=60)
    assert found.error() is None and found.value() == b"a"
    reader.close()
    code, again = job.run()
    assert code == WHOLE and "made" not in again and "given" not in again, again


def test_a_job_that_is_killed_in_the_middle_is_gone_on_with(brokers: Brokers, tmp_path: Path) -> None:
    job = pod(tmp_path, brokers, secrets(brokers))
    job.kill("the first user", lambda: brokers.users() or None)
    assert len(brokers.topics()) < 5, "it was too late"
    code, said = job.run()
    assert code == WHOLE, said
    brokers.has(5)
    send(brokers, "asker")


def test_a_new_epoch_gives_users_of_ours_their_password(brokers: Brokers, tmp_path: Path) -> None:
    assert pod(tmp_path / "1", brokers, secrets(brokers)).run()[0] == WHOLE
    held = secrets(brokers, asker="another-one-of-asker")
    held |= provisioned.before("kafka")
    code, said = pod(tmp_path / "2", brokers, held, epoch=2).run()
    assert code == WHOLE, said
    assert "user asker: its new password" in said and "user reader" not in said
    send(brokers, "asker", "another-one-of-asker")


def test_an_account_that_may_not_is_told_with_the_commands(brokers: Brokers, tmp_path: Path) -> None:
    held = secrets(brokers, "weak")
    code, said = pod(tmp_path, brokers, held).run()
    assert code == WRONG, said
    provisioned.nothing_leaks(said, held)
    for typed in (
        "--alter --entity-type users --entity-name asker --add-config",
        "--add --allow-principal User:asker --operation Describe --operation DescribeConfigs",
        "--create --topic asked --partitions 2 --replication-factor 1 --config min.insync.replicas=1",
    ):
        assert typed in said
    assert not brokers.topics() and not brokers.users()


def test_what_is_otherwise_is_told_and_left(brokers: Brokers, tmp_path: Path) -> None:
    brokers.write("reader", "the-password-of-another")
    new = NewTopic("asked", 3, 1, config={"retention.ms": "1000"})
    accounts.wait(brokers.admin.create_topics([new]).values())
    more = AclBinding(
        ResourceType.TOPIC,
        "asked",
        ResourcePatternType.LITERAL,
        "User:asker",
        "*",
        AclOperation.ALTER,
        AclPermissionType.ALLOW,
    )
    accounts.wait(brokers.admin.create_acls([more]).values())
    code, said = pod(tmp_path, brokers, secrets(brokers)).run()
    assert code == WRONG, said
    for words in (
        "user reader\n    wanted: the password of the Secret kafka-client-reader\n    is:     there with another",
        "topic asked\n    wanted: 2 partitions\n    is:     3 partitions",
        "topic asked\n    wanted: retention.ms=18000000\n    is:     retention.ms=1000",
        "rights of user asker\n    wanted: what its needs ask for\n    is:     also alter on topic asked",
    ):
        assert words in said
    assert brokers.has(5)["asked"] == 3, "what is right was not made"
    AdminClient(brokers.config("reader", "the-password-of-another")).list_topics(timeout=20)
