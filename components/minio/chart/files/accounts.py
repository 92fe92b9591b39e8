"""Keeps MinIO's users, policies and buckets as wanted.json says, until it is told to stop.

Only what the file names is touched: other users and buckets belong to whoever made them.
"""

from __future__ import annotations

import json
import signal
import sys
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import urllib3
from minio import Minio
from minio.commonconfig import ENABLED, Filter
from minio.credentials import StaticProvider
from minio.error import MinioAdminException
from minio.lifecycleconfig import Expiration, LifecycleConfig, NoncurrentVersionExpiration, Rule
from minio.minioadmin import MinioAdmin
from minio.versioningconfig import VersioningConfig

READY, ALIVE = Path("/tmp/ready"), Path("/tmp/alive")  # noqa: S108  # the pod's own emptyDir
RETRY_SECONDS, ROUND_SECONDS = 2, 300


def log(level: str, message: str) -> None:
    """One JSON line; never a password."""
    sys.stdout.write(json.dumps({"level": level, "logger": "accounts", "message": message}) + "\n")
    sys.stdout.flush()


def secret(name: str) -> str:
    """A value of the mounted Secret."""
    return Path(f"/auth/{name}").read_text(encoding="utf-8").strip()


def http() -> urllib3.PoolManager:
    """Trusts the site's CA only; the loop is what tries again."""
    return urllib3.PoolManager(
        cert_reqs="CERT_REQUIRED", ca_certs="/tls/ca.crt", timeout=urllib3.Timeout(connect=2, read=15), retries=False
    )


LISTING = (
    "s3:ListBucket",
    "s3:ListBucketVersions",
    "s3:ListBucketMultipartUploads",
    "s3:GetBucketLocation",
    "s3:GetBucketVersioning",
)
READING = ("s3:GetObject", "s3:GetObjectVersion")
WRITING = (
    *READING,
    "s3:PutObject",
    "s3:DeleteObject",
    "s3:DeleteObjectVersion",
    "s3:AbortMultipartUpload",
    "s3:ListMultipartUploadParts",
)


def allow(actions: Iterable[str], resources: Iterable[str]) -> list[dict[str, Any]]:
    """One statement, or none where there is nothing to name."""
    named = [f"arn:aws:s3:::{resource}" for resource in resources]
    found = {"Effect": "Allow", "Action": list(actions), "Resource": named}
    return [found] if named else []


def policy(user: dict[str, Any]) -> dict[str, Any]:
    """What the user may do with its objects; the buckets themselves stay as they are. Observers
    also see the drives' state."""
    writes, reads = user["writes"], user["reads"]
    watch = [{"Effect": "Allow", "Action": ["admin:ServerInfo"]}] if user["observe"] else []
    return {
        "Version": "2012-10-17",
        "Statement": [
            *watch,
            *allow(LISTING, [*writes, *reads]),
            *allow(WRITING, [f"{bucket}/*" for bucket in writes]),
            *allow(READING, [f"{bucket}/*" for bucket in reads]),
        ],
    }


RULE = "expire"  # ours of a bucket's rules; whoever made others keeps them


def rule(bucket: dict[str, Any]) -> Rule:
    """Old versions go after their days, and the mark of a deletion when nothing is left under it.

    Days of the whole objects see to such marks, too, and S3 takes only one of both in a rule.
    """
    days = bucket["expire_days"]
    return Rule(
        ENABLED,
        rule_filter=Filter(prefix=""),
        rule_id=RULE,
        expiration=Expiration(days=days) if days else Expiration(expired_object_delete_marker=True),
        noncurrent_version_expiration=NoncurrentVersionExpiration(noncurrent_days=bucket["old_versions_days"]),
    )


def said(kept: Rule) -> str:
    """A rule's days in words."""
    days = kept.expiration.days if kept.expiration else None
    old = kept.noncurrent_version_expiration
    return f"objects {days or 'for ever'}, old versions {old.noncurrent_days if old else 'for ever'}"


def lifecycle(client: Minio, bucket: dict[str, Any]) -> None:
    """Written where the server's answer is not what is wanted: another setting, or somebody else's hand."""
    name, wanted = bucket["name"], rule(bucket)
    kept = client.get_bucket_lifecycle(name)
    rules = kept.rules if kept else []
    ours = [each for each in rules if each.rule_id == RULE]
    if ours != [wanted]:
        client.set_bucket_lifecycle(name, LifecycleConfig([*(r for r in rules if r.rule_id != RULE), wanted]))
        was = "; ".join(said(each) for each in ours) or "none"
        log("WARN", f"bucket {name}: days of objects and of old versions written: {said(wanted)}; before: {was}")


def buckets(client: Minio, wanted: list[dict[str, Any]]) -> None:
    """Missing buckets are made; versioning is switched on, never off."""
    for bucket in wanted:
        name = bucket["name"]
        if not client.bucket_exists(name):
            client.make_bucket(name)
            log("INFO", f"bucket {name}: made")
        if bucket["versioning"] and client.get_bucket_versioning(name).status != ENABLED:
            client.set_bucket_versioning(name, VersioningConfig(ENABLED))
            log("INFO", f"bucket {name}: versioning switched on")
        lifecycle(client, bucket)


def users(admin: MinioAdmin, wanted: list[dict[str, Any]], *, rewrite: bool) -> None:
    """MinIO does not tell a password, so each start writes it, and later only a missing user."""
    have = json.loads(admin.user_list() or "{}")
    for user in wanted:
        name = user["name"]
        attached = (have.get(name) or {}).get("policyName", "")
        if rewrite or name not in have:
            admin.user_add(name, secret(f"{name}-password"))
            admin.policy_add(name, policy=policy(user))
            log("INFO", f"user {name}: password and policy written")
        if name not in attached.split(","):
            try:
                admin.attach_policy([name], user=name)
            except MinioAdminException as error:
                if "PolicyChangeAlreadyApplied" not in str(error):
                    raise
            log("INFO", f"user {name}: policy attached")


def once(addresses: list[str], wanted: dict[str, Any], *, rewrite: bool) -> None:
    """One round over the first member that answers."""
    problem: Exception | None = None
    root = StaticProvider(secret("root-user"), secret("root-password"))
    for address in addresses:
        pool = http()
        try:
            client = Minio(address, credentials=root, region="us-east-1", http_client=pool)
            buckets(client, wanted["buckets"])
            admin = MinioAdmin(endpoint=address, credentials=root, http_client=pool)
            users(admin, wanted["users"], rewrite=rewrite)
            return
        except Exception as error:  # noqa: BLE001  # the next member may answer
            problem = error
        finally:
            pool.clear()
    raise ConnectionError(f"no member did it; the last said: {problem!r}") from problem


def main() -> int:
    """One round at start, then one every few minutes."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    wanted = json.loads(Path("/accounts/wanted.json").read_text(encoding="utf-8"))
    rewrite = True
    while not stop.is_set():
        pause = ROUND_SECONDS
        try:
            once(wanted["addresses"].split(","), wanted, rewrite=rewrite)
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
