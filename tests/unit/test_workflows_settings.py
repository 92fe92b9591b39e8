"""The workflows' settings, what surrounds their steps, and what the probe makes of what it sees."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from components.kit import half
from components.kit.contract import Component
from components.kit.manifests import Manifest
from components.kit.needs import Bucket, Database
from components.kit.settings import SiteFacts
from components.minio import settings as minio
from components.postgres import settings as postgres
from components.workflows import names, steps
from components.workflows import settings as workflows
from components.workflows.cluster import WorkflowsHalf
from tests.images import AnyImage
from validate.suites import coverage


def site(**rooms: object) -> SiteFacts:
    found = {"workflows": workflows.Settings(), "minio": minio.Settings(), "postgres": postgres.Settings(), **rooms}
    return SiteFacts("test", images=AnyImage(), web_domain="test.internal", rooms=found)  # type: ignore[arg-type]


def config(settings: workflows.Settings | None = None, **rooms: object) -> dict[str, Any]:
    values = workflows.values(settings or workflows.Settings(), site(**rooms))
    found: dict[str, Any] = json.loads(str(values["config"]))
    return found


def objects(settings: workflows.Settings | None = None, **rooms: object) -> list[Manifest]:
    return WorkflowsHalf.objects(settings or workflows.Settings(), site(**rooms), half.PaperKeys())


def one(found: list[Manifest], kind: str, name: str) -> Manifest:
    (item,) = (d for d in found if (d["kind"], d["metadata"]["name"]) == (kind, name))
    return item


def allowed(rules: list[dict[str, Any]], resource: str) -> set[str]:
    return {verb for rule in rules if resource in rule["resources"] for verb in rule["verbs"]}


def test_one_controller_is_refused() -> None:
    with pytest.raises(ValidationError):
        workflows.Settings(replicas=1)


def test_what_it_needs() -> None:
    database, studies, bucket = workflows.Settings(replicas=3, studies_gib=2).needs()
    assert isinstance(database, Database) and isinstance(studies, Database) and isinstance(bucket, Bucket)
    assert (studies.owner, studies.name, studies.size_gib) == ("problems", "problems", 2)
    assert (database.owner, database.name) == (bucket.owner, bucket.name) == ("workflows",) * 2
    pool = config()["persistence"]["connectionPool"]
    assert (database.connections, pool["maxIdleConns"]) == (pool["maxOpenConns"], 0)
    assert pool["maxOpenConns"] >= 3, "a new leader would wait for itself"
    assert not list(postgres.Settings().misfits(site()))


def test_nobody_submits_steps_of_his_own() -> None:
    assert config()["workflowRestrictions"] == {"templateReferencing": "Secure"}


def test_passwords_are_named_and_never_told() -> None:
    database = config()["persistence"]["postgresql"]
    assert database["passwordSecret"] == {"name": "postgres-client-workflows", "key": "password"}
    assert (database["sslMode"], database["host"]) == ("verify-full", "postgres.platform.svc.cluster.local")
    s3 = config()["artifactRepository"]["s3"]
    assert s3["secretKeySecret"] == {"name": "minio-client-workflows", "key": "password"}
    assert (s3["insecure"], s3["caSecret"]["name"]) == (False, "site-ca")


def test_a_clients_stores_may_have_several_hosts_and_a_public_authority() -> None:
    given = {"mode": "external", "external": {"addresses": ["a:1", "b:1"], "secret_ref": "x"}}
    found = config(postgres=postgres.Settings.model_validate(given), minio=minio.Settings.model_validate(given))
    assert found["persistence"]["postgresql"]["host"] == "a"
    assert found["artifactRepository"]["s3"]["endpoint"] == "a:1"
    assert "caSecret" not in found["artifactRepository"]["s3"]


def test_a_step_has_no_token_and_its_helper_has_one_for_results_alone() -> None:
    spec = config()["workflowDefaults"]["spec"]
    assert spec["automountServiceAccountToken"] is False
    assert spec["serviceAccountName"] == names.STEP
    helper = spec["executor"]["serviceAccountName"]
    found = objects()
    token = one(found, "Secret", f"{helper}.service-account-token")
    assert token["metadata"]["annotations"]["kubernetes.io/service-account.name"] == helper
    assert one(found, "Role", helper)["rules"] == [
        {"apiGroups": ["argoproj.io"], "resources": ["workflowtaskresults"], "verbs": ["create", "patch"]}
    ]
    bound = {d["subjects"][0]["name"] for d in found if d["kind"] == "RoleBinding"}
    assert names.STEP not in bound


@pytest.mark.parametrize("closed", ["workflowartifactgctasks", "workflowtasksets", "configmaps", "serviceaccounts"])
def test_what_is_closed_off_can_only_be_looked_at(closed: str) -> None:
    assert allowed(steps.controller_rules(), closed) <= {"get", "list", "watch"}


def test_no_secret_can_be_read_where_steps_run() -> None:
    for kind in ("secrets", "persistentvolumeclaims"):
        assert not allowed(steps.controller_rules(), kind)
    (rule,) = (rule for rule in workflows.RULES if "secrets" in rule.resources)
    assert rule.resourceNames == ("postgres-client-workflows",)
    assert rule.verbs == ("get",)


def test_a_step_reaches_the_api_servers_and_s3_and_nobody_reaches_it() -> None:
    spec = one(objects(), "NetworkPolicy", names.STEP)["spec"]
    assert "ingress" not in spec and set(spec["policyTypes"]) == {"Ingress", "Egress"}
    (chosen,) = spec["podSelector"]["matchExpressions"]
    assert chosen == {"key": "workflows.argoproj.io/workflow", "operator": "Exists"}
    _, api, s3 = spec["egress"]
    assert [each["port"] for each in api["ports"]] == [443, 6443]
    assert s3["to"][0]["podSelector"]["matchLabels"] == {"app.kubernetes.io/name": "minio"}


def test_steps_may_live_apart() -> None:
    settings = workflows.Settings(steps_namespace="platform-work")
    found = objects(settings, workflows=settings)
    where = {(d["kind"], d["metadata"]["name"]): d["metadata"]["namespace"] for d in found}
    assert where.pop(("ServiceAccount", names.PROBE)) == "platform"
    assert where.pop(("Secret", "workflows-client-probe")) == "platform"
    assert set(where.values()) == {"platform-work"}
    login = one(found, "Secret", "minio-client-workflows")["stringData"]
    assert set(login) == {"username", "password"}
    values = workflows.values(settings, site(workflows=settings))
    assert values["steps_namespace"] == "platform-work"


def test_the_platforms_own_namespace_has_its_secrets_already() -> None:
    kinds = [d["metadata"]["name"] for d in objects() if d["kind"] == "Secret"]
    assert kinds == ["workflows-executor.service-account-token", "workflows-client-probe"]


def test_people_write_workflows_and_no_results() -> None:
    assert {name.partition(".")[0] for name in WorkflowsHalf.granted} == {
        "cronworkflows",
        "workflows",
        "workflowtemplates",
    }
    known = {name for defined in WorkflowsHalf.crds.values() for name in defined}
    assert set(WorkflowsHalf.granted) <= known


def test_the_contract_asks_for_no_backup_and_trusts_the_cluster() -> None:
    part = Component.model_validate(workflows.contract(workflows.Settings(replicas=3), site()))
    assert not coverage.needed(part, "backup.py")
    assert (part.secret_ref, part.ca_ref) == ("workflows-client-probe", None)
    assert part.servers == part.client.required["controllers"] == 3
