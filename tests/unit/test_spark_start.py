"""How Spark is started: its settings as files, and no password on a command line."""

from __future__ import annotations

import stat
import subprocess
from pathlib import Path

import pytest

from components.kit import pki
from components.spark.image.apadana_spark import job, jvm

GIVEN = {
    "JOB_NAME": "clean",
    "EXECUTORS": "2",
    "DRIVER": "clean-0.clean.platform-work.svc.cluster.local",
    "POD_IP": "10.0.0.1",
    "CORES": "2",
    "STORE_ADDRESS": "minio:9000",
    "DATABASE_ADDRESS": "postgres:5432",
    "LAKE": "lake",
    "EVENTS": "s3a://spark-events/",
    "AWS_REGION": "us-east-1",
    "HEAP_MIB": "1024",
}


@pytest.fixture(autouse=True)
def login(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a pod has mounted."""
    for name in ("username", "store-password", "database-password", "pods-password"):
        (tmp_path / name).write_text(f"the-{name}\n")
    (tmp_path / "ca.crt").write_text("")
    monkeypatch.setattr(job, "LOGIN", tmp_path)


def test_no_command_line_holds_a_password(tmp_path: Path) -> None:
    for main in (jvm.CONNECT, jvm.MASTER, jvm.WORKER, jvm.HISTORY):
        words = jvm.command(main, 128, tmp_path, tmp_path / "x")
        assert not [word for word in words if "the-" in word]
    assert job.driver(GIVEN)["spark.sql.catalog.lake.jdbc.password"] == "the-database-password"


def test_a_file_of_settings_is_its_owner_s_alone(tmp_path: Path) -> None:
    for _ in range(2):  # a start anew writes it anew
        file = jvm.write(tmp_path / "new" / "a.properties", jvm.properties({"b": "2", "a": "1\\2"}))
    assert file.read_text() == "a 1\\\\2\nb 2\n"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    with pytest.raises(ValueError, match="one line"):
        jvm.properties({"a": "1\nspark.authenticate false"})


def test_pods_of_a_job_know_each_other_and_encrypt() -> None:
    found = job.driver(GIVEN)
    assert found["spark.master"] == f"spark://{GIVEN['DRIVER']}:7077"
    assert (found["spark.authenticate"], found["spark.network.crypto.enabled"]) == ("true", "true")
    assert found["spark.driver.host"] == GIVEN["DRIVER"]
    alone = job.driver(GIVEN | {"EXECUTORS": "0"})
    assert alone["spark.master"] == "local[2]" and "spark.authenticate" not in alone


def test_tables_are_reached_by_verified_tls() -> None:
    found = job.driver(GIVEN)
    assert "sslmode=verify-full&sslrootcert=" in found["spark.sql.catalog.lake.uri"]
    assert found["spark.hadoop.fs.s3a.endpoint"] == "https://minio:9000"
    assert found["spark.sql.catalog.lake.warehouse"] == "s3a://lake/tables"


def test_every_authority_of_the_site_is_trusted(tmp_path: Path) -> None:
    """Two of them, while the site's own is renewed; without any, Java has the system's."""
    texts = []
    for name in ("one", "two"):
        pki.ensure_ca(tmp_path / name, name)
        texts.append((tmp_path / name / "ca.crt").read_text())
    work = tmp_path / "work"
    work.mkdir()
    jvm.trust(tmp_path / "missing", work)
    assert not [word for word in jvm.common(work) if "trustStore" in word]
    (tmp_path / "both.crt").write_text("".join(texts))
    jvm.trust(tmp_path / "both.crt", work)
    listed = subprocess.run(
        ["keytool", "-list", "-keystore", work / "trust.p12", "-storepass", jvm.TRUST_WORD],
        capture_output=True,
        text=True,
        check=True,
    )
    assert listed.stdout.count("trustedCertEntry") == 2
    assert [word for word in jvm.common(work) if "trustStore=" in word]
