"""What a person does at the store so that a bucket or a user is as wanted. Pure, standard library only.

S3 itself knows buckets and no users: how a user gets a policy is the store's own (`mc admin` for MinIO).
"""

from __future__ import annotations

import json
from typing import Any


def bucket(wanted: dict[str, Any]) -> str:
    """A bucket with its versions and days."""
    name = wanted["name"]
    versions = f"; mc version enable STORE/{name}" if wanted["versioning"] else ""
    return f"mc mb STORE/{name}{versions}; {days(wanted)}"


def days(wanted: dict[str, Any]) -> str:
    """How long objects and their old versions stay."""
    whole = f"--expire-days {wanted['expire_days']}" if wanted["expire_days"] else "--expire-delete-marker"
    old = wanted["old_versions_days"]
    return f"mc ilm rule add STORE/{wanted['name']} {whole} --noncurrent-expire-days {old}"


def user(name: str, secret: str, policy: dict[str, Any]) -> str:
    """A user with the keys of its Secret and a policy of its name."""
    return f"make a user with the two keys of the Secret {secret} and give it this policy, {name}: {json.dumps(policy)}"
