"""Keeps Kafka's users, permissions and topics as wanted.json says, until it is told to stop.

It logs in with the members' certificate, so no password has to exist before the first user does.
Only what the file names is touched: other users and topics belong to whoever made them.
"""

from __future__ import annotations

import json
import signal
import sys
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialAlteration,
    UserScramCredentialUpsertion,
)

READY, ALIVE = Path("/tmp/ready"), Path("/tmp/alive")  # noqa: S108  # the pod's own emptyDir
RETRY_SECONDS, ROUND_SECONDS, CALL_SECONDS = 2, 300, 15
ITERATIONS = 8192
REPLICAS = 3
RESOURCES = {
    "topic": ResourceType.TOPIC,
    "group": ResourceType.GROUP,
    "cluster": ResourceType.BROKER,
    "transactional_id": ResourceType.TRANSACTIONAL_ID,
}


def log(level: str, message: str) -> None:
    """One JSON line; never a password."""
    sys.stdout.write(json.dumps({"level": level, "logger": "accounts", "message": message}) + "\n")
    sys.stdout.flush()


def connect(bootstrap: str) -> AdminClient:
    """The super user, by certificate."""
    return AdminClient(
        {
            "bootstrap.servers": bootstrap,
            "security.protocol": "ssl",
            "ssl.ca.location": "/tls/ca.crt",
            "ssl.certificate.location": "/tls/tls.crt",
            "ssl.key.location": "/tls/tls.key",
            "socket.connection.setup.timeout.ms": 2000,
            "log_level": 3,
        }
    )


def wait(futures: Iterable[Any]) -> list[Any]:
    """Results; the first error is raised."""
    return [future.result(timeout=CALL_SECONDS) for future in futures]


def users(admin: AdminClient, wanted: list[dict[str, Any]], *, rewrite: bool) -> None:
    """Kafka does not tell a password, so each start writes it, and later only a missing user."""
    names = [user["name"] for user in wanted]
    known: set[str] = set()
    told: dict[str, Any] = dict(admin.describe_user_scram_credentials(names))  # type: ignore[arg-type]
    for name, future in told.items():
        try:
            future.result(timeout=CALL_SECONDS)
            known.add(name)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.RESOURCE_NOT_FOUND:
                raise
    changes: list[UserScramCredentialAlteration] = []
    for name in names:
        if name in known and not rewrite:
            continue
        password = Path(f"/auth/{name}-password").read_bytes().strip()
        info = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, ITERATIONS)
        changes.append(UserScramCredentialUpsertion(name, info, password))
        log("INFO", f"user {name}: password written")
    if changes:
        wait(admin.alter_user_scram_credentials(changes).values())


def bindings(user: dict[str, Any]) -> set[AclBinding]:
    """All permissions of one user."""
    found = set()
    for acl in user["acls"]:
        whole_cluster = acl["resource"] == "cluster"
        for operation in acl["operations"]:
            found.add(
                AclBinding(
                    RESOURCES[acl["resource"]],
                    "kafka-cluster" if whole_cluster else acl["name"],
                    ResourcePatternType.PREFIXED if acl["prefix"] else ResourcePatternType.LITERAL,
                    f"User:{user['name']}",
                    "*",
                    AclOperation[operation.upper()],
                    AclPermissionType.ALLOW,
                )
            )
    return found


def permissions(admin: AdminClient, user: dict[str, Any]) -> None:
    """Exactly those of the file: what is more is taken away."""
    any_value: Any = None  # the types of the library forbid what its filters are made for
    anything = AclBindingFilter(
        ResourceType.ANY,
        any_value,
        ResourcePatternType.ANY,
        f"User:{user['name']}",
        any_value,
        AclOperation.ANY,
        AclPermissionType.ANY,
    )
    have = set(admin.describe_acls(anything).result(timeout=CALL_SECONDS))
    wanted = bindings(user)
    if missing := list(wanted - have):
        wait(admin.create_acls(missing).values())
        log("INFO", f"user {user['name']}: {len(missing)} permissions given")
    if surplus := have - wanted:
        exact = [
            AclBindingFilter(
                acl.restype,
                acl.name,
                acl.resource_pattern_type,
                acl.principal,
                acl.host,
                acl.operation,
                acl.permission_type,
            )
            for acl in surplus
        ]
        wait(admin.delete_acls(exact).values())
        log("WARN", f"user {user['name']}: {len(surplus)} permissions taken away")


def configuration(topic: dict[str, Any]) -> dict[str, str]:
    """How long the topic keeps its records, and on how many brokers before they are acknowledged."""
    return {"min.insync.replicas": "2", **keeping(topic)}


def keeping(topic: dict[str, Any]) -> dict[str, str]:
    """For how long a topic's records stay, as its configuration says it."""
    return {
        "retention.ms": str(topic["retention_hours"] * 3_600_000),
        "retention.bytes": str(topic["retention_mib_per_partition"] * 1024 * 1024),
        "segment.bytes": str(topic["retention_mib_per_partition"] * 512 * 1024),
    }


def topics(admin: AdminClient, wanted: list[dict[str, Any]]) -> None:
    """Topics that are missing are made. Of existing ones, which hold records, only their keeping is put right."""
    have = admin.list_topics(timeout=CALL_SECONDS).topics
    new = [
        NewTopic(
            topic["name"], num_partitions=topic["partitions"], replication_factor=REPLICAS, config=configuration(topic)
        )
        for topic in wanted
        if topic["name"] not in have
    ]
    for name, future in admin.create_topics(new).items() if new else ():
        try:
            future.result(timeout=CALL_SECONDS)
            log("INFO", f"topic {name}: made")
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise
    kept(admin, [topic for topic in wanted if topic["name"] in have])


def kept(admin: AdminClient, wanted: list[dict[str, Any]]) -> None:
    """Written where the server's answer is not what is wanted: another setting, or somebody else's hand."""
    asked = [ConfigResource(ConfigResource.Type.TOPIC, topic["name"]) for topic in wanted]
    told = admin.describe_configs(asked) if asked else {}
    have = {resource.name: future.result(timeout=CALL_SECONDS) for resource, future in told.items()}
    changes = []
    for topic in wanted:
        now = have[topic["name"]]
        if differs := {k: v for k, v in keeping(topic).items() if k not in now or now[k].value != v}:
            was = ", ".join(f"{key} {now[key].value if key in now else 'unset'} -> {v}" for key, v in differs.items())
            log("WARN", f"topic {topic['name']}: {was}")
            entries = [ConfigEntry(k, v, incremental_operation=AlterConfigOpType.SET) for k, v in differs.items()]
            changes.append(ConfigResource(ConfigResource.Type.TOPIC, topic["name"], incremental_configs=entries))
    if changes:
        wait(admin.incremental_alter_configs(changes).values())


def main() -> int:
    """One round at start, then one every few minutes."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    wanted = json.loads(Path("/accounts/wanted.json").read_text(encoding="utf-8"))
    admin = connect(wanted["bootstrap"])
    rewrite = True
    while not stop.is_set():
        pause = ROUND_SECONDS
        try:
            users(admin, wanted["users"], rewrite=rewrite)
            for user in wanted["users"]:
                permissions(admin, user)
            topics(admin, wanted["topics"])
            rewrite = False
            READY.touch()
        except Exception as error:  # noqa: BLE001  # whatever it was, the next round tries again
            log("WARN", f"this round failed, trying again: {type(error).__name__}: {error}")
            pause = RETRY_SECONDS
        ALIVE.touch()
        stop.wait(pause)
    return 0


if __name__ == "__main__":
    sys.exit(main())
