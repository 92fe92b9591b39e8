"""Buckets at an S3 store of the client, and users where it is a MinIO."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from minio import Minio
from minio.commonconfig import ENABLED
from minio.error import MinioAdminException, S3Error
from minio.minioadmin import MinioAdmin
from minio.versioningconfig import VersioningConfig

from components.minio.provision import accounts, by_hand
from components.minio.provision.telling import Report

FOREVER = 10**9  # days
Pairs = set[tuple[str, str, str]]
Client = Callable[[str, str], Minio]  # of a user by its two keys


@contextmanager
def allowed(report: Report, what: str, typed: str) -> Iterator[None]:
    """What the store answers with "no" is told."""
    try:
        yield
    except S3Error as error:
        report.refused(what, f"{error.code}: {error.message}", typed)


# ---- buckets


def bucket(client: Minio, report: Report, wanted: dict[str, Any]) -> None:
    """Made whole where it is not there; what somebody else has made is looked at and left."""
    name = wanted["name"]
    what = f"bucket {name}"
    with allowed(report, what, by_hand.bucket(wanted)):
        made = not client.bucket_exists(name)
        if made:
            client.make_bucket(name)
            report.made(f"made {what}")
        rules = (kept.rules if (kept := client.get_bucket_lifecycle(name)) else []) if not made else []
        ours = next((each for each in rules if each.rule_id == accounts.RULE), None)
        if ours is None and not rules and _empty(client, name):
            # Just made, or by a run that was ended: days take nothing away where nothing is.
            _finish(client, wanted)
        elif ours is None:
            found = "there with objects or rules, and not made by this platform"
            report.differs(what, _said(*_days(wanted)), found, f"empty it, or: {by_hand.days(wanted)}")
        else:
            _compare(client, report, wanted, ours)


def _empty(client: Minio, name: str) -> bool:
    return next(iter(client.list_objects(name, recursive=True, include_version=True)), None) is None


def _finish(client: Minio, wanted: dict[str, Any]) -> None:
    """The rule of days comes last: it says that the bucket is whole."""
    name = wanted["name"]
    if wanted["versioning"]:
        client.set_bucket_versioning(name, VersioningConfig(ENABLED))
    accounts.lifecycle(client, wanted)


def _compare(client: Minio, report: Report, wanted: dict[str, Any], rule: Any) -> None:
    name = wanted["name"]
    status = client.get_bucket_versioning(name).status
    if wanted["versioning"] and status != ENABLED:
        report.differs(f"bucket {name}", "versions kept", status or "no versions", f"mc version enable STORE/{name}")
    asked, has = _days(wanted), _kept(rule)
    if asked != has and all(a >= h for a, h in zip(asked, has, strict=True)):
        accounts.lifecycle(client, wanted)
        report.made(f"bucket {name}: what is there stays longer, {_said(*asked)}")
    elif asked != has:
        report.differs(f"bucket {name}", _said(*asked), _said(*has), by_hand.days(wanted))


def _days(wanted: dict[str, Any]) -> tuple[int, int]:
    return wanted["expire_days"] or FOREVER, wanted["old_versions_days"]


def _kept(rule: Any) -> tuple[int, int]:
    whole = rule.expiration.days if rule.expiration and rule.expiration.days else FOREVER
    old = rule.noncurrent_version_expiration
    return whole, old.noncurrent_days if old and old.noncurrent_days else FOREVER


def _said(whole: int, old: int) -> str:
    days = ["for ever" if each == FOREVER else f"{each} days" for each in (whole, old)]
    return f"objects stay {days[0]}, old versions {days[1]}"


# ---- users: MinIO's own API, which no other S3 store has


class Users:
    """The users of a MinIO."""

    def __init__(self, admin: MinioAdmin, client: Client, report: Report) -> None:
        self._admin, self._client, self._report = admin, client, report

    def user(self, wanted: dict[str, Any], login: tuple[str, str], before: str | None) -> None:
        """A user with the keys of its Secret, and its policy."""
        name, password = login
        policy = accounts.policy(wanted)
        what, typed = f"user {name}", by_hand.user(name, wanted["secret"], policy)
        try:
            there = json.loads(self._admin.user_list() or "{}").get(name)
            if there is None:
                self._admin.user_add(name, password)
                self._report.made(f"made {what}")
            elif not self._takes(name, password):
                if before is None or not self._takes(name, before):
                    self._report.not_ours(what, wanted["secret"], typed, "key")
                    return
                self._admin.user_add(name, password)
                self._report.made(f"{what}: its new key was written")
            self._policy(name, policy, (there or {}).get("policyName", ""), typed)
        except MinioAdminException as error:
            self._report.refused(what, _short(error), typed)
        except ValueError:  # no answer of this API: it can't be decrypted or read
            why = "this store has not MinIO's API for users: set external.provision.users: false"
            self._report.refused(what, why, typed)

    def _takes(self, name: str, password: str) -> bool:
        try:
            self._client(name, password).list_buckets()
        except S3Error as error:
            return error.code not in ("InvalidAccessKeyId", "SignatureDoesNotMatch")
        return True

    def _policy(self, name: str, policy: dict[str, Any], attached: str, typed: str) -> None:
        """A policy grows; what it gives beyond what is wanted is told."""
        what, wanted = f"policy {name}", pairs(policy)
        known = json.loads(self._admin.policy_list() or "{}")
        has = pairs(known[name]) if name in known else set()
        if not has <= wanted:
            more = ", ".join(sorted(f"{action} on {where}" for _, action, where in has - wanted))
            self._report.differs(what, "what the user needs", f"also {more}", typed)
            return
        if has != wanted:
            self._admin.policy_add(name, policy=policy)
            self._report.made(f"wrote {what}")
        if name not in attached.split(","):
            self._admin.attach_policy([name], user=name)
            self._report.made(f"gave user {name} its policy")


def pairs(policy: dict[str, Any]) -> Pairs:
    """What a policy says, each action on each resource apart."""
    found: Pairs = set()
    for each in policy.get("Statement", ()):
        actions, places = (_listed(each.get(key, "*")) for key in ("Action", "Resource"))
        found |= {
            (each["Effect"], action, place.removeprefix("arn:aws:s3:::")) for action in actions for place in places
        }
    return found


def _listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else list(value)


def _short(error: MinioAdminException) -> str:
    """Another S3 store takes the question for an object of a bucket called `minio`."""
    told = " ".join(str(error).split())[:300]
    return f"{told} (a store that is no MinIO has no API for users: set external.provision.users: false)"


def reaches(client: Client, report: Report, wanted: dict[str, Any], login: tuple[str, str]) -> None:
    """Whether a user gets to its buckets with its Secret."""
    name, password = login
    typed = by_hand.user(name, wanted["secret"], accounts.policy(wanted))
    for each in (*wanted["writes"], *wanted["reads"]):
        try:
            next(iter(client(name, password).list_objects(each)), None)
        except S3Error as error:
            if error.code != "NoSuchBucket":  # told already
                report.differs(f"user {name}", f"it reads bucket {each}", error.code, typed)
                return
