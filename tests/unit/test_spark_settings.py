"""Spark's settings, what is computed from them, and a job as objects."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from common.errors import Refusal
from components.cluster import settings as cluster
from components.kit import manifest, naming, programs
from components.kit.contract import Component
from components.kit.needs import Bucket, Database, Rights, contradictions
from components.kit.settings import Resources, SiteFacts
from components.minio import settings as minio
from components.postgres import settings as postgres
from components.spark import job
from components.spark import settings as spark
from stacks import job as printing
from tests.images import AnyImage
from validate.suites import coverage

PROGRAM = job.Job("clean", {"main.py": "print(1)\n", "other.py": ""}, "main.py", ("s3a://raw/", "clinic.glucose"))


def site(**rooms: object) -> SiteFacts:
    found = {
        "cluster": cluster.Settings(),
        "spark": spark.Settings(),
        "minio": minio.Settings(),
        "postgres": postgres.Settings(),
        **rooms,
    }
    return SiteFacts("test", images=AnyImage(), web_domain="test.internal", rooms=found)  # type: ignore[arg-type]


def objects(asked: job.Job = PROGRAM, **rooms: object) -> dict[str, dict[str, Any]]:
    where = site(**rooms)
    settings = where.rooms["spark"]
    assert isinstance(settings, spark.Settings)
    return {item["kind"]: item for item in job.objects(asked, spark.house(settings, where))}


def pod(made: dict[str, dict[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = made["Job"]["spec"]["template"]["spec"]
    return found


def test_one_replica_is_refused() -> None:
    with pytest.raises(ValidationError):
        spark.Settings(replicas=1)


def test_what_it_needs_is_granted() -> None:
    needs = spark.Settings(at_once=3).needs()
    assert not list(contradictions(needs))
    rights = {(need.owner, need.name): need.rights for need in needs if isinstance(need, Bucket)}
    assert rights == {
        ("spark", "spark-events"): Rights.OWN,
        ("spark-jobs", "spark-events"): Rights.WRITE,
        ("spark-jobs", "lake"): Rights.OWN,
    }
    (database,) = [need for need in needs if isinstance(need, Database)]
    assert (database.name, database.connections) == ("lake", 3 * spark.OF_A_DRIVER)
    assert not list(minio.Settings().misfits(site())) and not list(postgres.Settings().misfits(site()))


def test_what_can_not_work_is_told_all_at_once() -> None:
    settings = spark.Settings(job_resources=Resources(cpu_millicores=100, memory_mib=512))
    lone = site(spark=settings)
    told = [mistake.key for mistake in settings.misfits(SiteFacts("test", rooms={"spark": settings}))]
    assert told == ["spark.mode", "spark.job_resources.memory_mib"]
    assert [mistake.key for mistake in settings.misfits(lone)] == ["spark.job_resources.memory_mib"]
    assert not list(spark.Settings().misfits(site()))


def test_the_history_server_asks_the_store_and_no_database() -> None:
    values = spark.values(spark.Settings(), site())
    assert [use["room"] for use in values["uses"]] == ["minio"]  # type: ignore[attr-defined]
    assert values["events"]["secret"] == "minio-client-spark"  # type: ignore[index]
    assert values["heap_mib"] < spark.Settings().resources.memory_mib / 2  # type: ignore[operator]


def test_the_contract_asks_for_no_backup_and_for_a_log_in() -> None:
    contract = Component.model_validate(spark.contract(spark.Settings(replicas=3), site()))
    assert not coverage.needed(contract, "backup.py")
    assert contract.servers == 3 and contract.secret_ref == "spark-client-probe"
    for endpoint in contract.endpoints_in:
        assert endpoint.address.rpartition(":")[0] in naming.server_dns_names(spark.ROOM, 0, site())


def test_a_job_is_one_object_that_ends_with_its_driver() -> None:
    spec = objects()["Job"]["spec"]
    assert spec["completions"] == spec["parallelism"] == 3
    assert spec["successPolicy"] == {"rules": [{"succeededIndexes": "0"}]}
    assert (spec["backoffLimitPerIndex"], spec["maxFailedIndexes"]) == (job.TRIES, 0)
    alone = job.Job("clean", PROGRAM.code, "main.py", executors=0)
    assert objects(alone)["Job"]["spec"]["completions"] == 1


def test_a_lost_host_holds_no_pod_back() -> None:
    made = objects()
    assert made["Job"]["spec"]["podReplacementPolicy"] == "TerminatingOrFailed"
    assert "podFailurePolicy" not in made["Job"]["spec"], "with it Kubernetes waits until the lost pod has ended"
    assert {each["tolerationSeconds"] for each in pod(made)["tolerations"]} == {programs.HOST_LOST_S}


def test_a_job_is_restricted_bounded_and_has_no_right() -> None:
    spec = pod(objects())
    assert spec["automountServiceAccountToken"] is False and "serviceAccountName" not in spec
    (container,) = spec["containers"]
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert container["resources"]["limits"]["memory"] == container["resources"]["requests"]["memory"] == "2048Mi"
    assert container["command"][-2:] == ["s3a://raw/", "clinic.glucose"]
    told = {each["name"]: each.get("value") for each in container["env"]}
    assert int(str(told["HEAP_MIB"])) == 2048 - job.BESIDE_MIB
    assert not [name for name in told if "PASSWORD" in name or "KEY" in name]


@pytest.mark.parametrize(("placement", "kind"), [("required", "preferred"), ("preferred", "preferred"), ("none", "")])
def test_a_job_s_pods_are_spread_where_there_are_hosts(placement: str, kind: str) -> None:
    """With more executors than hosts nobody waits for a host that does not exist."""
    affinity = pod(objects(spark=spark.Settings(placement=placement)))["affinity"]  # type: ignore[arg-type]
    assert list(affinity.get("podAntiAffinity", {})) == (
        [f"{kind}DuringSchedulingIgnoredDuringExecution"] if kind else []
    )


def test_a_job_s_pods_reach_each_other_the_stores_and_nobody_else() -> None:
    spec = objects()["NetworkPolicy"]["spec"]
    same = {"podSelector": {"matchLabels": {job.JOB: "clean"}}}
    assert spec["podSelector"] == same["podSelector"] and spec["policyTypes"] == ["Ingress", "Egress"]
    assert spec["ingress"] == [{"from": [same]}]
    out = [peer["podSelector"]["matchLabels"] for rule in spec["egress"] for peer in rule["to"]]
    named = "app.kubernetes.io/name"
    assert out == [{"k8s-app": "kube-dns"}, {job.JOB: "clean"}, {named: "minio"}, {named: "postgres"}]


def test_the_stores_let_a_job_in_by_its_labels() -> None:
    made = objects()
    labels = made["Job"]["spec"]["template"]["metadata"]["labels"]
    assert labels["apadana.io/uses-minio"] == labels["apadana.io/uses-postgres"] == "true"
    assert made["Service"]["spec"]["selector"].items() <= labels.items()
    assert pod(made)["subdomain"] == made["Service"]["metadata"]["name"]
    assert {item["metadata"]["namespace"] for item in made.values()} == {"platform-work"}


def test_all_that_is_wrong_with_a_job_is_told_at_once() -> None:
    with pytest.raises(Refusal) as told:
        objects(job.Job("Bad_Name", {"a.py": "x" * (programs.LARGEST + 1)}, "b.py", executors=101))
    for word in ("Bad_Name", "'b.py' is none of", "bytes", "executors 101"):
        assert word in str(told.value)


def test_words_after_two_dashes_are_the_program_s() -> None:
    told = printing.COMMAND.typed(["lab", "clean", "job.py", "--executors", "1", "--", "--raw", "x"])
    assert (told.executors, told.words, [file.name for file in told.files]) == (1, ["--raw", "x"], ["job.py"])


def test_a_site_without_spark_says_where_to_switch_it_on(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manifest, "read", lambda _: type("Bundle", (), {"images": AnyImage()}))
    assert printing.COMMAND.main(["lab", "clean", __file__]) == 1
    assert "stacks/Pulumi.lab-ml.yaml" in capsys.readouterr().err
