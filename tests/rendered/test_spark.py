"""Spark's chart, rendered as the stack renders it, and a job that a real API server admits."""

from __future__ import annotations

import pytest
import yaml

from components.spark import settings as spark
from tests.rendered import datarooms
from tests.unit.test_spark_settings import site

pytestmark = pytest.mark.rendered


@pytest.fixture(scope="module")
def documents() -> list[datarooms.Document]:
    done = datarooms.helm_template("spark", spark.values(spark.Settings(), site()))
    assert done.returncode == 0, done.stderr
    return [document for document in yaml.safe_load_all(done.stdout) if document]


def test_it_is_what_a_restricted_namespace_takes(documents: list[datarooms.Document]) -> None:
    datarooms.assert_sound(documents)


def test_the_servers_see_their_bucket_s_password_as_a_file_and_nothing_of_jobs(
    documents: list[datarooms.Document],
) -> None:
    spec = datarooms.named(documents, "Deployment", "spark")["spec"]["template"]["spec"]
    assert spec["automountServiceAccountToken"] is False
    server = spec["containers"][0]
    assert server["command"] == ["python3", "-m", "apadana_spark", "history"]
    assert all(set(each) == {"name", "value"} for each in server["env"])
    (store,) = [volume for volume in spec["volumes"] if volume["name"] == "store"]
    assert store["projected"]["sources"][0]["secret"]["name"] == "minio-client-spark"


def test_health_is_asked_of_the_engine_by_a_page_that_it_has(documents: list[datarooms.Document]) -> None:
    front = datarooms.named(documents, "ConfigMap", "spark-files")["data"]["haproxy.cfg"]
    engine = front[front.index("backend engine") :]
    assert "set-path /api/v1/version if { path /-/healthy /-/ready }" in engine
    assert "use-service prometheus-exporter if { path /metrics }" in engine
    assert "server own 127.0.0.1:18081" in engine


def test_only_who_uses_it_reaches_it(documents: list[datarooms.Document]) -> None:
    _, clients = datarooms.named(documents, "NetworkPolicy", "spark-server")["spec"]["ingress"]
    labels = [peer["podSelector"]["matchLabels"] for peer in clients["from"]]
    assert labels == [{"apadana.io/client": "true"}, {"apadana.io/uses-spark": "true"}]
    assert clients["ports"] == [{"protocol": "TCP", "port": spark.API_PORT}]
