"""MLflow's settings and what is computed from them."""

from __future__ import annotations

from collections import defaultdict

import pytest
from pydantic import ValidationError

from components.kit import naming
from components.kit.contract import Component
from components.kit.needs import Bucket, Database
from components.kit.settings import Mode, SiteFacts
from components.minio import settings as minio
from components.mlflow import settings as mlflow
from components.postgres import settings as postgres
from validate.suites import coverage

DIGEST = "sha256:" + "1" * 64
IMAGES: defaultdict[str, str] = defaultdict(lambda: f"apadana.local/any@{DIGEST}")


def site(**rooms: object) -> SiteFacts:
    found = {"mlflow": mlflow.Settings(), "minio": minio.Settings(), "postgres": postgres.Settings(), **rooms}
    return SiteFacts("test", images=IMAGES, web_domain="test.internal", rooms=found)  # type: ignore[arg-type]


def test_one_replica_is_refused() -> None:
    with pytest.raises(ValidationError):
        mlflow.Settings(replicas=1)


def test_what_it_needs() -> None:
    database, bucket = mlflow.Settings().needs()
    assert isinstance(database, Database) and isinstance(bucket, Bucket)
    assert (database.owner, database.name, database.size_gib) == ("mlflow", "mlflow", 0.25)
    assert (bucket.owner, bucket.name, bucket.size_gib) == ("mlflow", "mlflow", 0.5)


@pytest.mark.parametrize("replicas", [2, 3])
def test_kept_connections_never_take_all_of_a_pooler(replicas: int) -> None:
    """All replicas may meet the same pooler, whose connections go to whoever keeps them."""
    database = mlflow.Settings(replicas=replicas).needs()[0]
    assert isinstance(database, Database)
    assert replicas * mlflow.POOLS * mlflow.KEPT < database.connections


def test_the_stores_grant_what_it_needs() -> None:
    granted = postgres.Settings().granted(site())
    assert "mlflow" in {need.owner for need in granted}
    assert not list(postgres.Settings().misfits(site()))


def test_it_connects_to_the_service_of_either_store() -> None:
    values = mlflow.values(mlflow.Settings(), site())
    assert values["database"] == {
        "address": "postgres.platform.svc.cluster.local:5432",
        "name": "mlflow",
        "secret": "postgres-client-mlflow",
        "ca": "site-ca",
        "connect_seconds": 2,
    }
    assert values["artefacts"]["address"] == "minio.platform.svc.cluster.local:9000"  # type: ignore[index]


def test_a_clients_database_may_have_several_hosts_and_a_public_authority() -> None:
    given = postgres.Settings.model_validate(
        {"mode": "external", "external": {"addresses": ["a:5432", "b:5432"], "secret_ref": "x"}}
    )
    assert given.mode is Mode.EXTERNAL
    values = mlflow.values(mlflow.Settings(), site(postgres=given))
    assert values["database"]["address"] == "a:5432,b:5432"  # type: ignore[index]
    assert values["database"]["ca"] == ""  # type: ignore[index]


def test_it_may_be_called_by_every_name_that_it_has() -> None:
    names = mlflow.hosts(site())
    assert "mlflow.test.internal" in names
    contract = Component.model_validate(mlflow.contract(mlflow.Settings(), site()))
    for endpoint in contract.endpoints_in:
        assert endpoint.address in names
        assert endpoint.address.rpartition(":")[0] in naming.server_dns_names(mlflow.ROOM, 0, site())


def test_the_contract_asks_for_no_backup_and_no_login() -> None:
    contract = Component.model_validate(mlflow.contract(mlflow.Settings(replicas=3), site()))
    assert not coverage.needed(contract, "backup.py")
    assert contract.secret_ref is None
    assert contract.servers == 3
    assert contract.client.retries["other_members_per_request"] == 2
