"""The trainings' settings, what is computed from them, the cluster half as objects, and a job as objects."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError

from common.errors import Refusal
from components.cluster import settings as cluster
from components.kit import half, manifest, programs
from components.kit.contract import Component
from components.kit.manifests import Manifest
from components.kit.needs import Bucket, Rights
from components.kit.probing import Endpoint, Target
from components.kit.settings import SiteFacts
from components.minio import settings as minio
from components.training import job, operators, probe
from components.training import settings as training
from components.training.cluster import TrainingHalf
from stacks import train as printing
from tests.images import AnyImage
from validate.suites import coverage

PROGRAM = job.Job("trees", {"main.py": "def train(job): ...\n", "other.py": ""}, "main.py", ("4000", "20"))


def site(**rooms: object) -> SiteFacts:
    found = {"cluster": cluster.Settings(), "training": training.Settings(), "minio": minio.Settings(), **rooms}
    return SiteFacts("test", images=AnyImage(), web_domain="test.internal", rooms=found)  # type: ignore[arg-type]


def objects(asked: job.Job = PROGRAM, **rooms: object) -> dict[str, dict[str, Any]]:
    where = site(**rooms)
    settings = where.rooms["training"]
    assert isinstance(settings, training.Settings)
    return {item["kind"]: item for item in job.objects(asked, training.house(settings, where))}


def own(made: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """What a job's pods have beside the runtime's."""
    (patch,) = made["TrainJob"]["spec"]["runtimePatches"]
    (part,) = patch["trainingRuntimeSpec"]["template"]["spec"]["replicatedJobs"]
    found: dict[str, Any] = part["template"]["spec"]["template"]
    return found


def halved() -> list[Manifest]:
    return TrainingHalf.objects(training.Settings(), site(), half.PaperKeys())


def all_of(kind: str) -> list[dict[str, Any]]:
    return [item for item in halved() if item["kind"] == kind]


def webhooks() -> list[dict[str, Any]]:
    kinds = ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration")
    return [each for kind in kinds for item in all_of(kind) for each in item["webhooks"]]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("operators", 1),
        ("workers", 0),
        ("workers", 101),
        ("scratch_mib", 8),
        ("silence_seconds", 5),
        ("losses", -1),
        ("longest_hours", 0),
        ("kept_gib", 0),
        ("kept_days", 0),
        ("runtime", "torch"),
    ],
)
def test_what_can_not_be_is_refused_by_name(field: str, value: object) -> None:
    with pytest.raises(ValidationError) as told:
        training.Settings.model_validate({field: value})
    assert field in str(told.value)


def test_its_bucket_is_granted_to_jobs_alone() -> None:
    (need,) = training.Settings().needs()
    assert isinstance(need, Bucket)
    assert (need.owner, need.name, need.rights) == ("training-jobs", "training", Rights.OWN)
    assert not list(minio.Settings().misfits(site()))


def test_one_given_namespace_is_no_place_for_it() -> None:
    settings = training.Settings()
    alone = SiteFacts("test", rooms={"training": settings})
    (mistake,) = settings.misfits(alone)
    assert mistake.key == "training.mode" and "platform-work" in mistake.allowed
    assert not list(settings.misfits(site()))


def test_webhooks_ask_for_wishes_of_one_namespace_and_for_no_pods() -> None:
    found = webhooks()
    assert len(found) == 5
    for each in found:
        (chosen,) = each["namespaceSelector"]["matchExpressions"]
        assert (chosen["operator"], chosen["values"]) == ("In", ["platform-work"])
        assert (each["timeoutSeconds"], each["failurePolicy"]) == (3, "Fail")
        service = each["clientConfig"]["service"]
        assert f"{service['name']}.{service['namespace']}.svc" in training.dns_names(site())
        assert [rule["resources"] for rule in each["rules"]] != [["pods"]] and each["clientConfig"]["caBundle"]


def test_operators_see_one_namespace_and_its_secrets_only_to_look() -> None:
    (wide,) = all_of("ClusterRole")
    assert wide["rules"] == [
        {"apiGroups": [operators.TRAINER], "resources": ["clustertrainingruntimes"], "verbs": operators.LOOK}
    ]
    roles = {role["metadata"]["namespace"]: role["rules"] for role in all_of("Role")}
    assert set(roles) == {"platform-work", "apadana-training"}
    for rules in roles.values():
        for rule in rules:
            assert "*" not in [*rule["verbs"], *rule["resources"]]
            assert "secrets" not in rule["resources"] or rule["verbs"] == operators.LOOK
            assert "pods" not in rule["resources"], "their Job makes pods, and nobody of ours"
    assert "--namespace=platform-work" in operators.arguments(site())


def test_nobody_is_given_jobsets_or_what_is_for_all_namespaces() -> None:
    assert {name.partition(".")[0] for name in TrainingHalf.granted} == {"trainingruntimes", "trainjobs"}


def test_one_host_takes_not_all_operators() -> None:
    (made,) = all_of("Deployment")
    pod = made["spec"]["template"]["spec"]
    assert made["spec"]["replicas"] == 2 and pod["priorityClassName"] == "apadana-platform"
    (term,) = pod["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert term["labelSelector"]["matchLabels"] == training.OPERATOR_PODS
    (container,) = pod["containers"]
    security = container["securityContext"]
    assert security["capabilities"] == {"drop": ["ALL"]} and security["readOnlyRootFilesystem"]
    (budget,) = all_of("PodDisruptionBudget")
    assert budget["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow"


def test_the_contract_fits_and_asks_for_no_backup() -> None:
    part = Component.model_validate(training.contract(training.Settings(operators=3), site()))
    assert not coverage.needed(part, "backup.py") and part.servers == 3
    for endpoint in part.endpoints_in:
        if endpoint.protocol.startswith("webhook"):
            assert endpoint.address.rpartition(":")[0] in training.dns_names(site())


def test_a_job_is_a_wish_for_so_many_workers_of_the_house_s_runtime() -> None:
    spec = objects()["TrainJob"]["spec"]
    assert spec["runtimeRef"] == {"name": "xgboost", "kind": "TrainingRuntime"}
    assert spec["trainer"]["numNodes"] == training.Settings().workers
    assert spec["trainer"]["args"] == ["/opt/job/main.py", "4000", "20"]
    assert spec["activeDeadlineSeconds"] == 24 * 3600
    more = job.Job("trees", PROGRAM.code, "main.py", workers=5, runtime="torch")
    assert objects(more)["TrainJob"]["spec"]["trainer"]["numNodes"] == 5
    assert objects(more)["TrainJob"]["spec"]["runtimeRef"]["name"] == "torch"
    assert list(objects()) == ["ConfigMap", "NetworkPolicy", "TrainJob"], "the fence is there before the workers"


def test_workers_reach_each_other_the_store_and_nobody_else() -> None:
    made = objects()
    spec, same = made["NetworkPolicy"]["spec"], {"podSelector": {"matchLabels": {job.JOB: "trees"}}}
    assert spec["podSelector"] == same["podSelector"] and spec["policyTypes"] == ["Ingress", "Egress"]
    assert spec["ingress"] == [{"from": [same]}]
    out = [peer["podSelector"]["matchLabels"] for rule in spec["egress"] for peer in rule["to"]]
    assert out == [{"k8s-app": "kube-dns"}, {job.JOB: "trees"}, {"app.kubernetes.io/name": "minio"}]
    assert own(made)["metadata"]["labels"] == {job.JOB: "trees"}
    assert {item["metadata"]["namespace"] for item in made.values()} == {"platform-work"}


@pytest.mark.parametrize(("placement", "kind"), [("required", "preferred"), ("preferred", "preferred"), ("none", "")])
def test_workers_are_spread_where_there_are_hosts(placement: str, kind: str) -> None:
    """With more workers than hosts nobody waits for a host that does not exist."""
    affinity = own(objects(training=training.Settings(placement=placement)))["spec"].get("affinity", {})  # type: ignore[arg-type]
    assert list(affinity.get("podAntiAffinity", {})) == (
        [f"{kind}DuringSchedulingIgnoredDuringExecution"] if kind else []
    )


GOOD: dict[str, Any] = {"name": "a", "code": {"a.py": "def train(job): ..."}, "main": "a.py"}


@pytest.mark.parametrize(
    ("changed", "word"),
    [
        ({"name": ""}, "name ''"),
        ({"name": "Bad"}, "name 'Bad'"),
        ({"name": "a_b"}, "name 'a_b'"),
        ({"name": "a--b"}, "name 'a--b'"),
        ({"name": "-a"}, "name '-a'"),
        ({"name": "1a"}, "name '1a'"),
        ({"name": "é"}, "name 'é'"),
        ({"name": "a" * 41}, "up to 40"),
        ({"code": {}}, "none of the files (none)"),
        ({"main": "b.py"}, "'b.py' is none of the files a.py"),
        ({"code": {"a.py": "print(1)"}}, "no `def train(job)`"),
        ({"code": {"a.py": "def train(job): ...", "b": "x" * programs.LARGEST}}, "bytes"),
        ({"workers": 0}, "workers 0: 1 to 100"),
        ({"workers": -3}, "workers -3"),
        ({"workers": 101}, "workers 101"),
        ({"runtime": "tensorflow"}, "runtime 'tensorflow': xgboost or torch"),
        ({"runtime": ""}, "runtime ''"),
    ],
)
def test_a_job_that_can_not_be_run_is_refused_with_the_reason(changed: dict[str, Any], word: str) -> None:
    objects(job.Job(**GOOD))
    with pytest.raises(Refusal) as told:
        objects(job.Job(**(GOOD | changed)))
    assert word in str(told.value)


def test_all_that_is_wrong_with_a_job_is_told_at_once() -> None:
    with pytest.raises(Refusal) as told:
        objects(job.Job("Bad_Name", {"a.py": "x" * (programs.LARGEST + 1)}, "b.py", workers=0))
    for word in ("Bad_Name", "'b.py' is none of", "bytes", "workers 0"):
        assert word in str(told.value)


def test_words_after_two_dashes_are_the_program_s() -> None:
    told = printing.COMMAND.typed(["lab", "trees", "job.py", "--workers", "3", "--", "--rows", "7"])
    assert (told.workers, told.words, [file.name for file in told.files]) == (3, ["--rows", "7"], ["job.py"])
    assert told.runtime == "xgboost"
    assert printing.COMMAND.typed(["lab", "n", "job.py", "--runtime", "torch", "--", "7"]).runtime == "torch"


def test_a_library_that_nobody_serves_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        printing.COMMAND.typed(["lab", "trees", "job.py", "--runtime", "tensorflow"])
    assert "'tensorflow'" in capsys.readouterr().err


def test_a_site_without_the_room_says_where_to_switch_it_on(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manifest, "read", lambda _: type("Bundle", (), {"images": AnyImage()}))
    assert printing.COMMAND.main(["lab", "trees", __file__]) == 1
    assert "stacks/Pulumi.lab-ml.yaml" in capsys.readouterr().err


def target() -> Target:
    part = Component.model_validate(training.contract(training.Settings(), site()))
    return Target(
        name="training",
        username="",
        password="",
        ca_file="",
        client=part.client.model_dump(),
        endpoints=[Endpoint(**e.model_dump()) for e in part.endpoints_in],
    )


def test_the_probe_asks_what_an_api_server_asks() -> None:
    asked = {each["clientConfig"]["service"]["path"] for each in webhooks()}
    assert {probe.HOOKS.validate, probe.HOOKS.defaults} <= asked
    request = json.loads(probe.HOOKS.review(probe.wish(target(), "probe")))["request"]
    assert request["dryRun"] is True and request["namespace"] == "platform-work"
    assert request["object"]["spec"]["runtimeRef"]["name"] == "xgboost"
    wrong = list(probe.wrong_wishes(target()))
    assert [each["spec"]["runtimeRef"]["name"] for each in wrong] == ["no-such-runtime", *job.RUNTIMES]
    assert set(probe.OWN_WORDS) == set(job.RUNTIMES)
    told = [check.name for check in probe.smoke(replace(target(), endpoints=[]))]
    assert len(told) == len(set(told)) and all(any(each in name for name in told) for each in job.RUNTIMES)
