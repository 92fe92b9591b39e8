"""The commands that make a user, its rights, a topic: for a person who types them. Pure, standard library only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

HOW = "--bootstrap-server BROKER --command-config ACCOUNT"
FLAGS = {"topic": "--topic", "group": "--group", "transactional_id": "--transactional-id", "cluster": "--cluster"}


def user(name: str, secret: str) -> str:
    """A user of SCRAM-SHA-512."""
    held = f"'SCRAM-SHA-512=[password=<password of the Secret {secret}>]'"
    return f"kafka-configs.sh {HOW} --alter --entity-type users --entity-name {name} --add-config {held}"


def right(name: str, acl: dict[str, Any]) -> str:
    """What a user may do with one resource, or with those whose names begin so."""
    does = " ".join(f"--operation {each.title().replace('_', '')}" for each in acl["operations"])
    pattern = "--resource-pattern-type prefixed" if acl["prefix"] else ""
    said = f"--allow-principal User:{name} {does} {FLAGS[acl['resource']]} {acl['name']} {pattern}".rstrip()
    return f"kafka-acls.sh {HOW} --add {said}"


def topic(wanted: dict[str, Any], configuration: Mapping[str, str]) -> str:
    """A topic with its configuration."""
    said = " ".join(f"--config {key}={value}" for key, value in configuration.items())
    size = f"--partitions {wanted['partitions']} --replication-factor {wanted['replicas']}"
    return f"kafka-topics.sh {HOW} --create --topic {wanted['name']} {size} {said}"
