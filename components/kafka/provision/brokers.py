"""Users, rights and topics at a Kafka of the client, as an account that may perhaps make them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ConfigResource,
    NewTopic,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from components.kafka.provision import accounts, by_hand
from components.kafka.provision.telling import Report

NO_AUTHORITY = KafkaError.SECURITY_DISABLED
SAYS_NO = {
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.TOPIC_ALREADY_EXISTS,  # one that the account may not see
    KafkaError.POLICY_VIOLATION,
    KafkaError.INVALID_CONFIG,
    KafkaError.INVALID_REPLICATION_FACTOR,
    KafkaError.UNSUPPORTED_VERSION,
}
LOGIN_SECONDS = 10.0
Client = Callable[[str, str], dict[str, Any]]  # settings of a user by name and password


class Brokers:
    """The account's connection."""

    def __init__(self, admin: AdminClient, client: Client, report: Report) -> None:
        self._admin, self._client, self._report = admin, client, report
        told = admin.describe_cluster(include_authorized_operations=True).result(timeout=accounts.CALL_SECONDS)
        self._may = frozenset(told.authorized_operations or ())

    @contextmanager
    def _allowed(self, what: str, typed: str) -> Iterator[None]:
        try:
            yield
        except KafkaException as error:
            if error.args[0].code() not in SAYS_NO:
                raise
            self._report.refused(what, error.args[0].str(), typed)

    # ---- users

    def user(self, name: str, password: str, before: str | None, secret: str) -> None:
        """A user of SCRAM-SHA-512 with the password of its Secret."""
        what, typed = f"user {name}", by_hand.user(name, secret)
        # Where it may not, the library's answer to the question is a crash (confluent-kafka 2.16): it is not asked.
        lacks = {AclOperation.DESCRIBE, AclOperation.ALTER} - self._may
        if lacks:
            some = " and ".join(sorted(each.name.lower() for each in lacks))
            self._report.refused(what, f"{some} of the cluster is not among its rights", typed)
            return
        with self._allowed(what, typed):
            if not self._known(name):
                self._write(name, password)
                self._report.made(f"made {what}")
            elif not self.takes(name, password):
                if before is None or not self.takes(name, before):
                    self._report.not_ours(what, secret, typed)
                    return
                self._write(name, password)
                self._report.made(f"{what}: its new password was written")

    def _known(self, name: str) -> bool:
        told: dict[str, Any] = dict(self._admin.describe_user_scram_credentials([name]))  # type: ignore[arg-type]
        try:
            accounts.wait(told.values())
        except KafkaException as error:
            if error.args[0].code() != KafkaError.RESOURCE_NOT_FOUND:
                raise
            return False
        return True

    def _write(self, name: str, password: str) -> None:
        info = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, accounts.ITERATIONS)
        change = UserScramCredentialUpsertion(name, info, password.encode())
        accounts.wait(self._admin.alter_user_scram_credentials([change]).values())

    def takes(self, name: str, password: str) -> bool:
        """Whether the user is let in with this password. Raises KafkaException where nobody answers."""
        refused: list[KafkaError] = []

        def heard(error: KafkaError) -> None:
            if error.code() == KafkaError._AUTHENTICATION:
                refused.append(error)

        asking = AdminClient(self._client(name, password) | {"error_cb": heard, "log_level": 0})
        try:
            asking.list_topics(timeout=LOGIN_SECONDS)
        except KafkaException:
            asking.poll(0)
            if not refused:
                raise
            return False
        return True

    # ---- rights

    def rights(self, user: dict[str, Any], name: str) -> None:
        """Those of the user's needs; what it has beyond them is told."""
        renamed = user | {"name": name}
        what, wanted = f"rights of user {name}", accounts.bindings(renamed)
        typed = "; ".join(by_hand.right(name, acl) for acl in user["acls"])
        try:
            with self._allowed(what, typed):
                have = set(self._admin.describe_acls(all_of(name)).result(timeout=accounts.CALL_SECONDS))
                if missing := list(wanted - have):
                    accounts.wait(self._admin.create_acls(missing).values())
                    self._report.made(f"{what}: {len(missing)} given")
                # What a user of the client's may do besides is the client's.
                for more in sorted(have - wanted if user["made"] else (), key=str):
                    one = f"{more.operation.name.lower()} on {more.restype.name.lower()} {more.name}"
                    how = f"take it away with kafka-acls.sh {by_hand.HOW} --remove, if nothing else needs it"
                    self._report.differs(what, "what its needs ask for", f"also {one}", how)
        except KafkaException as error:
            if error.args[0].code() != NO_AUTHORITY:
                raise
            self._report.note("these brokers keep no rights: whoever logs in may read and write every topic")

    # ---- topics

    def topics(self, wanted: list[dict[str, Any]]) -> None:
        """Missing ones are made; those that are there are looked at and left, for they hold records."""
        have = self._admin.list_topics(timeout=accounts.CALL_SECONDS).topics
        for topic in wanted:
            if topic["name"] in have:
                self._compare(topic, have[topic["name"]])
                continue
            name, settings = topic["name"], self._settings(topic)
            with self._allowed(f"topic {name}", by_hand.topic(topic, settings)):
                new = NewTopic(name, topic["partitions"], topic["replicas"], config=settings)
                accounts.wait(self._admin.create_topics([new]).values())
                self._report.made(f"made topic {name}")

    def _settings(self, topic: dict[str, Any]) -> dict[str, str]:
        least = min(int(accounts.configuration(topic)["min.insync.replicas"]), topic["replicas"])
        return accounts.configuration(topic) | {"min.insync.replicas": str(least)}

    def _compare(self, topic: dict[str, Any], there: Any) -> None:
        name, what = topic["name"], f"topic {topic['name']}"
        alter = f"kafka-topics.sh {by_hand.HOW} --alter --topic {name}"
        if (count := len(there.partitions)) != topic["partitions"]:
            how = f"{alter} --partitions {topic['partitions']} (keys move to other partitions; they can't become fewer)"
            self._report.differs(what, f"{topic['partitions']} partitions", f"{count} partitions", how)
        copies = min((len(each.replicas) for each in there.partitions.values()), default=0)
        if copies < topic["replicas"]:
            how = "kafka-reassign-partitions.sh with more replicas"
            self._report.differs(what, f"{topic['replicas']} replicas", f"{copies} replicas", how)
        with self._allowed(what, f"let the account describe the configuration of {name}"):
            asked = self._admin.describe_configs([ConfigResource(ConfigResource.Type.TOPIC, name)])
            (has,) = accounts.wait(asked.values())
            for key, value in self._settings(topic).items():
                if key != "segment.bytes" and has[key].value != value:
                    how = f"kafka-configs.sh {by_hand.HOW} --alter --topic {name} --add-config {key}={value}"
                    self._report.differs(what, f"{key}={value}", f"{key}={has[key].value}", how)


def all_of(name: str) -> AclBindingFilter:
    """Every right of a user."""
    anything: Any = None  # the types of the library forbid what its filters are made for
    every = ResourceType.ANY, anything, ResourcePatternType.ANY, f"User:{name}", anything
    return AclBindingFilter(*every, AclOperation.ANY, AclPermissionType.ANY)
