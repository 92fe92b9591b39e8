"""KServe's webhooks and its configuration. Pure.

Both webhooks ask for what is in the namespace of predictors and for nothing else: with every
controller away, no pod of the platform has to wait for one. There they fail closed: a pod that was
made without them would lack its model.
"""

from __future__ import annotations

import json
from typing import Any

from components.kit import half
from components.kit.manifests import Manifest, manifest, webhook
from components.kit.settings import Resources, SiteFacts
from components.kserve.settings import ROOM, SERVER_IMAGE, WEBHOOKS, Settings, store

API = "admissionregistration.k8s.io/v1"
GROUP = "serving.kserve.io"
TIMEOUT_SECONDS = 3
CONFIG = "inferenceservice-config"  # KServe's own name
STORAGE = "s3"
CA = "site-ca"
UID = 10001  # of the model server's image
_SERVICES = ("v1beta1", "inferenceservices")
_RUNTIMES = ("v1alpha1", "servingruntimes")
#: What fetches a model beside others of its kind; it needs little more than its connections.
FETCH = Resources(cpu_millicores=50, memory_mib=128, cpu_limit_millicores=1000, memory_limit_mib=256)


def webhooks(site: SiteFacts, bundle: str) -> list[Manifest]:
    """What they are asked for. `bundle`: the authority of their certificates."""
    pods = _webhook(site, bundle, "pods", "/mutate-pods", ("", "v1", "pods"), ["CREATE"])
    pods |= {
        "objectSelector": {"matchExpressions": [{"key": f"{GROUP}/inferenceservice", "operator": "Exists"}]},
        "reinvocationPolicy": "IfNeeded",
    }
    mutating = [_own(site, bundle, "defaults", "mutate", "inferenceservice", *_SERVICES), pods]
    validating = [
        _own(site, bundle, "services", "validate", "inferenceservice", *_SERVICES),
        _own(site, bundle, "runtimes", "validate", "servingruntime", *_RUNTIMES),
    ]
    return [
        manifest(API, "MutatingWebhookConfiguration", "apadana-kserve", webhooks=mutating),
        manifest(API, "ValidatingWebhookConfiguration", "apadana-kserve", webhooks=validating),
    ]


def _own(site: SiteFacts, bundle: str, name: str, verb: str, kind: str, version: str, plural: str) -> dict[str, Any]:
    path = f"/{verb}-{GROUP.replace('.', '-')}-{version}-{kind}"
    return _webhook(site, bundle, name, path, (GROUP, version, plural), ["CREATE", "UPDATE"])


def _webhook(
    site: SiteFacts, bundle: str, name: str, path: str, kind: tuple[str, str, str], operations: list[str]
) -> dict[str, Any]:
    return webhook(
        f"{name}.kserve.apadana.io",
        (half.namespace(ROOM), WEBHOOKS, path),
        bundle,
        kind,
        operations,
        chosen=site.work,
        timeout_seconds=TIMEOUT_SECONDS,
    )


def configuration(settings: Settings, site: SiteFacts) -> dict[str, str]:
    """KServe's own file. It makes no way from outside: routes to predictors are ours to make."""
    limits, fetch = settings.predictor_resources.helm(), _amounts(FETCH, "{name}{kind}")
    wanted: dict[str, dict[str, Any]] = {
        "deploy": {
            "defaultDeploymentMode": "Standard",
            # On as many hosts as there are replicas there is no room for one more. KServe takes
            # percentages only; a percentage of a few pods is rounded to none, and none becomes one.
            "deploymentRolloutStrategy": {"defaultRollout": {"maxSurge": "0%", "maxUnavailable": "1%"}},
        },
        "ingress": {
            "enableGatewayApi": False,
            "disableIngressCreation": True,
            "disableIstioVirtualHost": True,
            "ingressGateway": "none/none",  # asked for, and not used
            "ingressDomain": site.web_domain,
        },
        "inferenceService": {
            "resource": {
                f"{what}{word}": limits[kind][what]
                for kind, word in (("requests", "Request"), ("limits", "Limit"))
                for what in ("cpu", "memory")
            }
        },
        "security": {"autoMountServiceAccountToken": False},
        "storageInitializer": {
            "image": site.image(SERVER_IMAGE),
            "caBundleConfigMapName": CA if store(site).ca_ref and not store(site).external else "",
            "enableModelcar": False,
            **fetch,
        },
        "credentials": _credentials(site),
        "localModel": {"enabled": False},
        # Parts that are not built. KServe reads their sizes for every pod all the same.
        **{part: fetch for part in ("agent", "logger", "batcher")},
    }
    return {key: json.dumps(value, sort_keys=True) for key, value in wanted.items()}


def _amounts(resources: Resources, form: str) -> dict[str, str]:
    found = resources.helm()
    return {
        form.format(name=name, kind=kind.removesuffix("s").capitalize()): found[kind][name]
        for kind in ("requests", "limits")
        for name in ("cpu", "memory")
    }


def _credentials(site: SiteFacts) -> dict[str, Any]:
    """How a Secret of the store is read, and where the store is."""
    used = store(site)
    s3 = {
        "s3AccessKeyIDName": "username",
        "s3SecretAccessKeyName": "password",
        "s3Endpoint": used.endpoint("s3-service").address.partition(",")[0],
        "s3UseHttps": "1",
        "s3VerifySSL": "1",
        "s3Region": used.region,
    }
    return {"s3": s3}


def fetcher(site: SiteFacts) -> Manifest:
    """How a pod gets its model before it starts. KServe's own way of saying it leaves no room for
    what the Pod Security level `restricted` asks of every container."""
    container = {
        "name": "storage-initializer",
        "image": site.image(SERVER_IMAGE),
        "imagePullPolicy": "IfNotPresent",
        "command": ["python3", "/opt/apadana/fetch.py"],
        "resources": FETCH.helm(),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "runAsNonRoot": True,
            "runAsUser": UID,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }
    spec = {
        "container": container,
        "supportedUriFormats": [{"prefix": "s3://"}],
        "workloadType": "initContainer",
        "supportsMultiModelDownload": True,
    }
    return manifest(f"{GROUP}/v1alpha1", "ClusterStorageContainer", STORAGE, spec=spec)
