"""KServe as an API server sees it. Standard library and kit only.

A probe has no right to make an InferenceService, so it asks every controller's webhook what an API
server would ask, by the same AdmissionReview. That a model answers is not shown by this.
"""

from __future__ import annotations

from collections.abc import Iterator

from components.kit.asking import required
from components.kit.probing import Check, Target, attempt
from components.kit.reviewing import Json, Webhooks

HOOKS = Webhooks("serving.kserve.io", "v1beta1", "InferenceService", "controllers")


def service(target: Target, name: str) -> Json:
    """A wish for one model of the bucket."""
    model: Json = {"modelFormat": {"name": "sklearn"}, "storageUri": f"s3://{required(target, 'bucket')}/{name}"}
    return {
        "apiVersion": f"{HOOKS.group}/{HOOKS.version}",
        "kind": HOOKS.kind,
        "metadata": {"name": name, "namespace": required(target, "work")},
        "spec": {"predictor": {"minReplicas": 1, "maxReplicas": 2, "model": model}},
    }


def wrong_wishes(target: Target) -> Iterator[Json]:
    """No label of DNS as its name; a way of scaling that nobody knows."""
    yield service(target, "Probe_1")
    scaled = service(target, "probe")
    scaled["metadata"]["annotations"] = {f"{HOOKS.group}/autoscalerClass": "by-hand"}
    yield scaled


def smoke(target: Target) -> Iterator[Check]:
    """Each controller as webhook, and who leads."""
    yield attempt("kserve: every webhook takes a right wish", lambda: HOOKS.admits(target, service(target, "probe")))
    yield attempt("kserve: every webhook refuses wrong ones", lambda: HOOKS.refuses(target, wrong_wishes(target)))
    yield attempt("kserve: one controller leads", lambda: HOOKS.one_leads(target))


def primary(target: Target) -> str | None:
    """None: every controller answers as webhook."""
    del target
    return None


def whole(target: Target) -> Check:
    """All controllers answer."""
    return attempt("kserve: whole", lambda: HOOKS.admits(target, service(target, "probe")))
