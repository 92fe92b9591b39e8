"""Makes buckets and users at the client's S3 store: `python3 -m components.minio.provision`."""

from __future__ import annotations

import sys

import urllib3
from minio import Minio
from minio.credentials import StaticProvider
from minio.minioadmin import MinioAdmin

from components.minio.provision import bucket, store, telling


def once(given: telling.Given, report: telling.Report) -> None:
    """All of it. Raises HTTPError of urllib3 where the store does not answer."""
    wanted = given.wanted
    wanted["address"] = wanted["address"].split(",")[0]  # any of them takes all of it
    account = bucket.client(given.account, wanted)
    for each in wanted["buckets"]:
        store.bucket(account, report, each)

    def client(name: str, password: str) -> Minio:
        return Minio(wanted["address"], name, password, region=wanted["region"], http_client=_pool(given))

    known = StaticProvider(*given.account_login)
    admin = MinioAdmin(endpoint=wanted["address"], credentials=known, http_client=_pool(given))
    users = store.Users(admin, client, report)
    for user in wanted["users"]:
        login = given.login(user["name"])
        before = len(report.wrong)
        if user["made"]:
            users.user(user, login, given.before(user["name"]))
        if len(report.wrong) == before:
            store.reaches(client, report, user, login)


def _pool(given: telling.Given) -> urllib3.PoolManager:
    timeout = urllib3.Timeout(connect=3, read=30)
    return urllib3.PoolManager(cert_reqs="CERT_REQUIRED", ca_certs=given.ca, timeout=timeout, retries=False)


if __name__ == "__main__":
    sys.exit(telling.run("minio", once, (urllib3.exceptions.HTTPError,)))
