"""KServe's chart, rendered as the stack renders it; and its controller, which makes of an
InferenceService what a restricted namespace takes, with its own account's rights."""

from __future__ import annotations

import base64
import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from components.cluster import objects as cluster
from components.cluster import settings as cluster_settings
from components.feast import settings as feast
from components.gateway import settings as gateway
from components.kit import half, pki
from components.kit.component import Vault
from components.kit.servers import NotHereError, built
from components.kit.settings import SiteFacts
from components.kserve import controller
from components.kserve import settings as kserve
from components.kserve.cluster import KserveHalf
from components.minio import settings as minio
from components.models.judge.looking import HTTP2
from components.models.keeper.artefacts import FORMS
from components.models.keeper.objects import GRPC, REST, predictor, service, version
from components.models.keeper.wish import Wish
from components.postgres import settings as postgres
from components.redis import settings as redis
from tests.images import AnyImage
from tests.ports import HOST, free_port
from tests.rendered import datarooms, objects
from tests.rendered.apiserver import ApiServer
from tests.unit.test_model_features import STORE
from tests.unit.test_models_wish import ONE, PLACE, TWO, WINE
from validate.ground.kubectl import wait_for

pytestmark = pytest.mark.rendered
ROOMS = {"cluster": cluster_settings.Settings(), "kserve": kserve.Settings(), "minio": minio.Settings()}
SITE = SiteFacts("test", images=AnyImage(), web_domain="test.internal", rooms=ROOMS)
GROUP = "/apis/serving.kserve.io"
WORK = SITE.work


def render() -> list[datarooms.Document]:
    return objects.rendered("kserve", kserve.Settings(), SITE)


def named(kind: str) -> datarooms.Document:
    (found,) = [document for document in render() if document["kind"] == kind]
    return found


def test_it_makes_nothing_in_the_platforms_namespace() -> None:
    assert {d["metadata"]["namespace"] for d in render()} == {WORK}


def test_a_model_is_served_as_a_restricted_namespace_takes_it() -> None:
    (container,) = named("ServingRuntime")["spec"]["containers"]
    security = container["securityContext"]
    assert security["capabilities"] == {"drop": ["ALL"]}
    assert security["readOnlyRootFilesystem"] and security["runAsNonRoot"]
    assert not security["allowPrivilegeEscalation"]
    assert set(container["resources"]["limits"]) == {"cpu", "memory"}
    assert {"startupProbe", "readinessProbe", "livenessProbe"} <= set(container)
    # Its last line is what is said of a model that can't be served.
    assert container["terminationMessagePolicy"] == "FallbackToLogsOnError"
    assert "--model_name={{.Name}}" in container["args"]
    # What a wish means that names no protocol, and what is promised.
    assert named("ServingRuntime")["spec"]["protocolVersions"] == ["v1", "v2"]


def test_predictors_have_no_token_and_one_secret() -> None:
    account = named("ServiceAccount")
    assert account["automountServiceAccountToken"] is False
    assert account["secrets"] == [{"name": "minio-client-predictor"}]


def test_by_grpc_the_gateway_alone_reaches_it_and_only_where_there_is_one() -> None:
    (rest,) = named("NetworkPolicy")["spec"]["ingress"]
    assert rest["ports"] == [{"protocol": "TCP", "port": kserve.PREDICTOR_PORT}]
    behind = replace(SITE, rooms={**ROOMS, "gateway": gateway.Settings()})
    found = objects.rendered("kserve", kserve.Settings(), behind)
    (policy,) = [each for each in found if each["kind"] == "NetworkPolicy"]
    rest, calls = policy["spec"]["ingress"]
    assert calls["ports"] == [{"protocol": "TCP", "port": GRPC.port}]
    (proxies,) = calls["from"]
    assert proxies == rest["from"][0]
    assert proxies["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "apadana-gateway"}
    ports = named("ServingRuntime")["spec"]["containers"][0]["ports"]
    assert [(each["name"], each["containerPort"]) for each in ports] == [("http", 8080), ("grpc", GRPC.port)]


def test_a_predictor_reaches_the_store_and_the_name_server() -> None:
    policy = named("NetworkPolicy")["spec"]
    runtime = named("ServingRuntime")["spec"]["labels"]
    assert policy["podSelector"]["matchLabels"].items() <= runtime.items()
    dns, store = policy["egress"]
    assert dns["to"][0]["podSelector"]["matchLabels"] == {"k8s-app": "kube-dns"}
    assert store["to"][0]["podSelector"]["matchLabels"] == {"app.kubernetes.io/name": "minio"}
    let_in = datarooms.named(objects.rendered("minio", minio.Settings(), SITE), "NetworkPolicy", "minio-server")
    peers = [peer for rule in let_in["spec"]["ingress"] for peer in rule["from"]]
    (theirs,) = [p for p in peers if "namespaceSelector" in p]
    assert theirs["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": WORK}
    assert theirs["podSelector"]["matchLabels"].items() <= runtime.items()


def test_only_pods_that_look_up_reach_the_feature_store() -> None:
    rooms = ROOMS | {"feast": feast.Settings(), "postgres": postgres.Settings(), "redis": redis.Settings()}
    site = replace(SITE, rooms=rooms)
    policies = [d for d in objects.rendered("kserve", kserve.Settings(), site) if d["kind"] == "NetworkPolicy"]
    everybody, found = policies
    assert "feast" not in json.dumps(everybody["spec"])
    selected = found["spec"]["podSelector"]["matchLabels"]
    assert selected == kserve.PREDICTOR_PODS | kserve.LOOKS_UP
    assert not kserve.LOOKS_UP.items() <= named("ServingRuntime")["spec"]["labels"].items()
    assert found["spec"]["policyTypes"] == ["Egress"]
    (rule,) = found["spec"]["egress"]
    assert rule["ports"] == [{"protocol": "TCP", "port": feast.API_PORT}]
    (peer,) = rule["to"]
    assert peer["podSelector"]["matchLabels"] == {"app.kubernetes.io/name": "feast"}
    # The store lets them in, at the same port and from there alone.
    let_in = datarooms.named(objects.rendered("feast", feast.Settings(), site), "NetworkPolicy", "feast-server")
    (theirs,) = [p for r in let_in["spec"]["ingress"] for p in r["from"] if "namespaceSelector" in p]
    assert theirs["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": WORK}
    assert theirs["podSelector"]["matchLabels"] == kserve.LOOKS_UP
    # Where the site has no such room there is no way.
    assert len([d for d in render() if d["kind"] == "NetworkPolicy"]) == 1


@dataclass
class Running:
    """An API server with the half's objects, and one controller beside it."""

    server: ApiServer
    process: subprocess.Popen[bytes]
    log: Path

    def get(self, path: str) -> Any:
        status, answer = self.server.call("GET", path)
        return json.loads(answer) if status == 200 else None


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    try:
        manager = built("kserve-manager")
    except NotHereError as error:
        pytest.skip(str(error))
    folder = tmp_path_factory.mktemp("kserve")
    pki.ensure_ca(folder / "pki", "test")
    server = ApiServer(tmp_path_factory.mktemp("apiserver"))
    try:
        server.install(objects.definitions(folder))
        port = free_port()
        made = prepared(folder, port)
        for item in made:
            server.make(item)
        process = started(server, manager, folder, port)
        try:
            found = Running(server, process, folder / "manager.log")
            wait_for("the webhooks", partial(answers, found), timeout=60, swallow=(OSError,))
            yield found
        finally:
            process.kill()
            process.wait()
    finally:
        server.stop()


def prepared(folder: Path, port: int) -> list[dict[str, Any]]:
    """What the cluster's admin makes, but for what needs a network: the webhooks' place."""
    keys = half.VaultKeys(Vault(bytes(32), folder / "pki"), "test")
    found = KserveHalf.objects(kserve.Settings(), SITE, keys)
    leaf = pki.ensure_leaf(folder / "pki", "local", [], [HOST], usage=pki.Usage.BOTH).secret_data()
    certs = folder / "tmp" / "k8s-webhook-server" / "serving-certs"
    certs.mkdir(parents=True)
    for name in ("tls.crt", "tls.key"):
        (certs / name).write_text(leaf[name])
    for item in found:
        for webhook in item.get("webhooks", []):
            service = webhook["clientConfig"].pop("service")
            webhook["clientConfig"]["url"] = f"https://{HOST}:{port}{service['path']}"
    home = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": half.namespace("kserve")}}
    # Webhooks are made last: from then on they are asked.
    found.sort(key=lambda item: "webhooks" in item)
    given = cluster.objects(cluster_settings.Settings(), SITE)
    # Nobody counts here, and what nobody counts is refused.
    given = [item for item in given if item["kind"] != "ResourceQuota"]
    return [*given, home, *found]


def started(server: ApiServer, manager: Path, folder: Path, port: int) -> subprocess.Popen[bytes]:
    """With the account that its pods have, and no other right."""
    home = half.namespace("kserve")
    file = server.kubeconfig(folder / "kubeconfig", server.token_of(home, controller.ACCOUNT))
    environment = {
        "PATH": os.environ["PATH"],
        "KUBECONFIG": str(file),
        "TMPDIR": str(folder / "tmp"),
        "POD_NAMESPACE": home,
    }
    flags = [
        f"--webhook-port={port}",
        f"--metrics-addr={HOST}:{free_port()}",
        f"--health-probe-addr={HOST}:{free_port()}",
    ]
    with (folder / "manager.log").open("wb") as log:
        command = ["setpriv", "--pdeathsig", "KILL", str(manager), *flags]
        return subprocess.Popen(command, stdout=log, stderr=log, env=environment)


def wish(name: str, **predictor: Any) -> dict[str, Any]:
    model = {"modelFormat": {"name": "sklearn"}, "storageUri": "s3://models/iris/1"}
    account = {"serviceAccountName": "kserve-predictor"}
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": name, "namespace": WORK},
        "spec": {"predictor": {"minReplicas": 2, "model": model, **account, **predictor}},
    }


def answers(running: Running) -> bool | None:
    """The webhooks are asked, and say yes."""
    assert running.process.poll() is None, running.log.read_text()[-2000:]
    return True if running.server.refusal(wish("first")) is None else None


def test_a_wrong_wish_is_refused_by_the_webhook(running: Running) -> None:
    assert running.server.refusal(wish("right")) is None
    assert "denied the request" in str(running.server.refusal(wish("9lives")))
    odd = wish("odd")
    odd["metadata"]["annotations"] = {"serving.kserve.io/autoscalerClass": "by-hand"}
    assert "autoscaler" in str(running.server.refusal(odd))


def test_a_wish_becomes_pods_that_a_restricted_namespace_takes(running: Running) -> None:
    server = running.server
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "minio-client-predictor", "namespace": WORK},
        "data": {k: base64.b64encode(b"x" * 8).decode() for k in ("username", "password")},
    }
    for item in (secret, *render(), wish("iris")):
        server.make(item)
    path = f"/apis/apps/v1/namespaces/{WORK}/deployments/iris-predictor"
    made = wait_for("the Deployment", lambda: running.get(path), timeout=60)
    scaled = f"/apis/autoscaling/v2/namespaces/{WORK}/horizontalpodautoscalers/iris-predictor"
    found = wait_for("its replicas", lambda: running.get(scaled), timeout=60)
    assert found["spec"]["minReplicas"] == 2
    pod = admitted(server, made["spec"]["template"])
    (fetch,) = [c for c in pod["spec"]["initContainers"] if c["name"] == "storage-initializer"]
    assert fetch["args"] == ["s3://models/iris/1", "/mnt/models"]
    assert fetch["command"] == ["python3", "/opt/apadana/fetch.py"]
    env = {each["name"]: each.get("value", each.get("valueFrom")) for each in fetch["env"]}
    assert env["AWS_ENDPOINT_URL"] == "https://minio.platform.svc.cluster.local:9000"
    assert env["AWS_SECRET_ACCESS_KEY"]["secretKeyRef"]["name"] == "minio-client-predictor"
    mounts = {mount["mountPath"] for mount in fetch["volumeMounts"]}
    assert {"/mnt/models", env["CA_BUNDLE_VOLUME_MOUNT_POINT"]} <= mounts
    (serves,) = pod["spec"]["containers"]
    assert serves["args"][0] == "--model_name=iris"
    assert pod["spec"]["automountServiceAccountToken"] is False
    assert kserve.PREDICTOR_PODS.items() <= pod["metadata"]["labels"].items()
    copied = running.get(f"/api/v1/namespaces/{WORK}/configmaps/global-ca-bundle")
    assert copied["data"]["cabundle.crt"].startswith("-----BEGIN CERTIFICATE")
    # It does what it has to with the rights that it has.
    assert "forbidden" not in running.log.read_text()


@pytest.mark.parametrize("form", sorted({*FORMS.values(), "mlflow"}))
def test_each_form_that_a_keeper_names_is_served(running: Running, form: str) -> None:
    model = {"modelFormat": {"name": form}, "storageUri": "s3://models/x/1"}
    running.server.make(wish(f"form-{form}", model=model))
    path = f"/apis/apps/v1/namespaces/{WORK}/deployments/form-{form}-predictor"
    made = wait_for("the Deployment", lambda: running.get(path), timeout=60)
    (serves,) = made["spec"]["template"]["spec"]["containers"]
    assert serves["command"] == ["python3", "/opt/apadana/serve.py"]


def test_its_service_has_a_port_for_each_way_and_says_which_one_is_http_2(running: Running) -> None:
    """The gateway takes its word for it: with HTTP/1.1 no call of gRPC is answered."""
    running.server.make(wish("ways"))
    path = f"/api/v1/namespaces/{WORK}/services/ways-predictor"
    ports = wait_for("the Service", lambda: running.get(path), timeout=60)["spec"]["ports"]
    told = [(each["port"], each["targetPort"], each.get("appProtocol")) for each in ports]
    assert told == [(REST.port, kserve.PREDICTOR_PORT, None), (GRPC.port, GRPC.port, HTTP2)]


def test_models_that_share_pods_are_fetched_side_by_side(running: Running) -> None:
    asked = Wish("shared", ONE, beside={"wine": WINE, "beer": TWO})
    running.server.make(service(replace(PLACE, work=WORK, beside_mib=100), asked, ONE, "mlflow"))
    path = f"/apis/apps/v1/namespaces/{WORK}/deployments/{predictor(version(asked, ONE))}"
    made = wait_for("the Deployment", lambda: running.get(path), timeout=60)
    pod = admitted(running.server, made["spec"]["template"])
    (fetch,) = [c for c in pod["spec"]["initContainers"] if c["name"] == "storage-initializer"]
    models = {"shared": ONE, "wine": WINE, "beer": TWO}
    pairs = zip(fetch["args"][::2], fetch["args"][1::2], strict=True)
    assert set(pairs) == {(f"s3://models/{each.replace(':', '/')}", f"/mnt/models/{n}") for n, each in models.items()}
    assert fetch["command"] == ["python3", "/opt/apadana/fetch.py"]
    assert {"AWS_ENDPOINT_URL", "AWS_SECRET_ACCESS_KEY"} <= {each["name"] for each in fetch["env"]}
    (serves,) = pod["spec"]["containers"]
    # What fetches and what serves look at the same volume.
    shared = [{(m["name"], m["mountPath"]) for m in c["volumeMounts"]} for c in (fetch, serves)]
    assert {place for _, place in shared[0] & shared[1]} >= {"/mnt/models"}
    assert serves["resources"]["limits"]["memory"] == "584Mi"
    told = serves["args"]
    assert "--model_dir=/mnt/models" in told and "--beside=wine=3333333333" in told
    assert told.index("--model_name=shared") > next(at for at, each in enumerate(told) if "--model_name=" in each)


def test_a_version_that_looks_up_features_has_what_it_asks_with_and_another_has_not(running: Running) -> None:
    place = replace(PLACE, work=WORK, features=STORE | {"uses": kserve.LOOKS_UP, "views": {}})
    pods = {}
    for name, looks_up in (("looks", True), ("plain", False)):
        wish = Wish(name, ONE, missing="default" if looks_up else "refuse")
        running.server.make(service(place, wish, ONE, "mlflow", looks_up=looks_up))
        path = f"/apis/apps/v1/namespaces/{WORK}/deployments/{predictor(version(wish, ONE))}"
        made = wait_for("the Deployment", partial(running.get, path), timeout=60)
        pods[name] = admitted(running.server, made["spec"]["template"])
    found, plain = pods["looks"], pods["plain"]
    assert (kserve.LOOKS_UP | kserve.PREDICTOR_PODS).items() <= found["metadata"]["labels"].items()
    (login,) = [
        v["secret"] for v in found["spec"]["volumes"] if v.get("secret", {}).get("secretName") == STORE["secret"]
    ]
    # Its user is not root, and KServe gives its pods no group.
    assert login["defaultMode"] == 0o444 and "fsGroup" not in found["spec"].get("securityContext", {})
    (serves,) = found["spec"]["containers"]
    assert "/etc/apadana/features" in {mount["mountPath"] for mount in serves["volumeMounts"]}
    assert {f"--features={STORE['address']}", "--features_ms=50", "--missing=default"} <= set(serves["args"])
    assert not kserve.LOOKS_UP.items() & plain["metadata"]["labels"].items()
    assert STORE["secret"] not in json.dumps(plain) and "--features" not in json.dumps(plain)


def admitted(server: ApiServer, template: dict[str, Any]) -> dict[str, Any]:
    """What admission makes of a pod; there is no kubelet, and no controller of Deployments."""
    metadata = {**template["metadata"], "name": "try", "namespace": WORK}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}
    status, answer = server.call("POST", f"/api/v1/namespaces/{WORK}/pods?dryRun=All", pod)
    assert status == 201, answer
    found: dict[str, Any] = json.loads(answer)
    return found


def test_a_wish_elsewhere_stays_a_wish(running: Running) -> None:
    """No right reaches out of the namespace of predictors."""
    elsewhere = wish("elsewhere")
    elsewhere["metadata"]["namespace"] = SITE.namespace
    running.server.make(elsewhere)
    told = wait_for("the controller to be refused", lambda: "forbidden" in running.log.read_text() or None, timeout=60)
    assert told
    found = running.get(f"/apis/apps/v1/namespaces/{SITE.namespace}/deployments")
    assert found["items"] == []
