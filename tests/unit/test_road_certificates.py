"""Which certificates have ended, and whose members must start anew for it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from components.kit import pki
from road import certificates, status
from tests.certificates import ending

NOW = datetime.now(UTC)


def leaf(folder: Path, name: str, days: float) -> None:
    made = pki.ensure_leaf(folder, name, [name])
    made.certificate.write_bytes(ending(made.certificate, NOW + timedelta(days=days)))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    pki.ensure_ca(tmp_path, "lab")
    for name, days in (("kafka-tls", -1), ("minio-tls", 10), ("redis-tls", 60)):
        leaf(tmp_path, name, days)
    return tmp_path


def test_leaves_are_known_by_their_end(folder: Path) -> None:
    assert certificates.ended(folder) == ["kafka-tls"]
    lines = list(status.read_leaves(certificates.leaves(folder), NOW))
    assert [(line.name, line.whole, line.detail) for line in lines] == [
        ("kafka-tls", False, "ended 1 days ago"),
        ("minio-tls", False, "ends in 10 days"),
        ("redis-tls", True, "ends in 60 days"),
    ]


def test_a_site_without_certificates_has_none_that_ended(tmp_path: Path) -> None:
    assert certificates.ended(tmp_path / "pki") == []


def pod(name: str, *volumes: dict[str, Any], phase: str = "Running") -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"volumes": list(volumes)}, "status": {"phase": phase}}


def test_the_pods_that_hold_a_secret() -> None:
    secret = {"name": "tls", "secret": {"secretName": "kafka-tls"}}
    sources = [{"configMap": {"name": "x"}}, {"secret": {"name": "minio-tls"}}]
    projected = {"name": "tls", "projected": {"sources": sources}}
    pods = {
        "items": [
            pod("kafka-0", {"name": "data", "emptyDir": {}}, secret),
            pod("minio-0", projected),
            pod("redis-0", {"name": "tls", "secret": {"secretName": "redis-tls"}}),
            pod("kafka-accounts", secret, phase="Succeeded"),
            {"metadata": {"name": "bare"}, "spec": {}, "status": {"phase": "Running"}},
        ]
    }
    assert certificates.holders(pods, ["kafka-tls", "minio-tls"]) == ["kafka-0", "minio-0"]
