"""KServe's settings, its cluster half as objects, and what its probe asks."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from components.cluster import settings as cluster
from components.kit import half
from components.kit.contract import Component
from components.kit.manifests import Manifest
from components.kit.needs import Bucket, Rights
from components.kit.probing import Endpoint, Target
from components.kit.settings import SiteFacts
from components.kserve import admission, controller, probe
from components.kserve import settings as kserve
from components.kserve.cluster import KserveHalf
from components.minio import settings as minio
from tests.images import AnyImage
from validate.suites import coverage

SETTINGS = kserve.Settings()


def site(**rooms: Any) -> SiteFacts:
    found = {"cluster": cluster.Settings(), "kserve": SETTINGS, "minio": minio.Settings(), **rooms}
    return SiteFacts("lab", images=AnyImage(), web_domain="lab.internal", rooms=found)


def objects() -> list[Manifest]:
    return KserveHalf.objects(SETTINGS, site(), half.PaperKeys())


def all_of(kind: str) -> list[dict[str, Any]]:
    return [item for item in objects() if item["kind"] == kind]


def one(kind: str, name: str) -> dict[str, Any]:
    (found,) = (item for item in all_of(kind) if item["metadata"]["name"] == name)
    return found


def webhooks() -> list[dict[str, Any]]:
    kinds = ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration")
    return [each for kind in kinds for item in all_of(kind) for each in item["webhooks"]]


def test_one_controller_is_refused() -> None:
    with pytest.raises(ValidationError):
        kserve.Settings(controllers=1)


def test_who_serves_a_model_can_not_write_it() -> None:
    owner, reader, batch, *_ = SETTINGS.needs()
    assert isinstance(owner, Bucket) and isinstance(reader, Bucket)
    assert owner.name == reader.name == batch.name == "models"
    assert (owner.rights, reader.rights, batch.rights) == (Rights.OWN, Rights.READ, Rights.READ)
    assert not list(minio.Settings().misfits(site()))
    read = kserve.values(SETTINGS, site())["secret"]
    assert read == f"minio-client-{reader.owner}"


def test_one_given_namespace_is_no_place_for_it() -> None:
    alone = SiteFacts("lab", rooms={"kserve": SETTINGS})
    (mistake,) = SETTINGS.misfits(alone)
    assert "platform-work" in mistake.allowed
    assert not list(SETTINGS.misfits(site()))


def test_webhooks_ask_for_nothing_outside_the_namespace_of_predictors() -> None:
    found = webhooks()
    assert len(found) == 4
    for each in found:
        (chosen,) = each["namespaceSelector"]["matchExpressions"]
        assert (chosen["operator"], chosen["values"]) == ("In", ["platform-work"])
        assert each["timeoutSeconds"] == 3
        assert each["failurePolicy"] == "Fail"
        assert each["clientConfig"]["service"]["namespace"] == "apadana-kserve"
        assert each["clientConfig"]["caBundle"]


def test_the_certificate_has_the_name_that_api_servers_verify() -> None:
    service = webhooks()[0]["clientConfig"]["service"]
    assert f"{service['name']}.{service['namespace']}.svc" in kserve.dns_names(site())


def test_controllers_write_where_predictors_are_and_nowhere_else() -> None:
    writes = {"create", "update", "patch", "delete"}
    for role in all_of("ClusterRole"):
        assert not writes & {verb for rule in role["rules"] for verb in rule["verbs"]}
        assert not {"secrets", "*"} & {kind for rule in role["rules"] for kind in rule["resources"]}
    assert {r["metadata"]["namespace"] for r in all_of("Role")} == {"platform-work", "apadana-kserve"}


def test_nobody_is_given_what_makes_pods_by_other_ways() -> None:
    kinds = {name.partition(".")[0] for name in KserveHalf.granted}
    assert kinds == {"inferenceservices", "servingruntimes"}


def test_one_host_takes_not_all_controllers() -> None:
    spec = one("Deployment", controller.NAME)["spec"]
    pod = spec["template"]["spec"]
    assert spec["replicas"] == 2
    (term,) = pod["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert term["labelSelector"]["matchLabels"] == kserve.CONTROLLER_PODS
    assert pod["priorityClassName"] == "apadana-platform"
    assert "--leader-elect" in pod["containers"][0]["args"]
    budget = one("PodDisruptionBudget", controller.NAME)["spec"]
    assert budget["selector"]["matchLabels"].items() <= spec["template"]["metadata"]["labels"].items()
    assert budget["unhealthyPodEvictionPolicy"] == "AlwaysAllow"


def test_a_restricted_namespace_takes_controllers_and_what_fetches_models() -> None:
    (manager,) = one("Deployment", controller.NAME)["spec"]["template"]["spec"]["containers"]
    fetch = one("ClusterStorageContainer", admission.STORAGE)["spec"]["container"]
    for container in (manager, fetch):
        security = container["securityContext"]
        assert security["capabilities"] == {"drop": ["ALL"]}
        assert security["readOnlyRootFilesystem"] and security["runAsNonRoot"]
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}
        assert "@sha256:" in container["image"]
        assert set(container["resources"]["limits"]) == {"cpu", "memory"}


def test_its_own_configuration() -> None:
    told = {key: json.loads(text) for key, text in one("ConfigMap", admission.CONFIG)["data"].items()}
    assert told["deploy"]["defaultDeploymentMode"] == "Standard"
    assert told["ingress"]["disableIngressCreation"] is True
    assert told["credentials"]["s3"]["s3Endpoint"] == "minio.platform.svc.cluster.local:9000"
    assert told["storageInitializer"]["caBundleConfigMapName"] == admission.CA
    sizes = {"cpuRequest", "cpuLimit", "memoryRequest", "memoryLimit"}
    for part in ("agent", "logger", "batcher", "storageInitializer"):
        assert sizes <= set(told[part]), part
    assert set(told["inferenceService"]["resource"]) == sizes


def test_the_contract_fits_and_asks_for_no_backup() -> None:
    part = Component.model_validate(kserve.contract(SETTINGS, site()))
    assert not coverage.needed(part, "backup.py")
    assert part.servers == 2
    for endpoint in part.endpoints_in:
        if endpoint.protocol.startswith("webhook"):
            assert endpoint.address.rpartition(":")[0] in kserve.dns_names(site())


def target() -> Target:
    part = Component.model_validate(kserve.contract(SETTINGS, site()))
    return Target(
        name="kserve",
        username="",
        password="",
        ca_file="",
        client=part.client.model_dump(),
        endpoints=[Endpoint(**e.model_dump()) for e in part.endpoints_in],
    )


def test_the_probe_asks_what_an_api_server_asks() -> None:
    asked = {rule["clientConfig"]["service"]["path"] for rule in webhooks()}
    assert {probe.HOOKS.validate, probe.HOOKS.defaults} <= asked
    request = json.loads(probe.HOOKS.review(probe.service(target(), "probe")))["request"]
    assert request["dryRun"] is True
    assert request["namespace"] == "platform-work"
    assert request["object"]["spec"]["predictor"]["model"]["storageUri"] == "s3://models/probe"
