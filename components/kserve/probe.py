"""KServe as an API server sees it. Standard library and kit only.

A probe has no right to make an InferenceService, so it asks every controller's webhook what an API
server would ask, by the same AdmissionReview. That a model answers is not shown by this.
"""

from __future__ import annotations

import http.client
import json
import uuid
from collections.abc import Callable, Iterator
from typing import Any

from components.kit.asking import Line, Place, given, required
from components.kit.probing import Check, Target, attempt
from components.kit.replicas import LEADS, Found, leaders, sound

GROUP, VERSION = "serving.kserve.io", "v1beta1"
KIND = "InferenceService"
VALIDATE = f"/validate-{GROUP.replace('.', '-')}-{VERSION}-inferenceservice"
DEFAULTS = f"/mutate-{GROUP.replace('.', '-')}-{VERSION}-inferenceservice"
METRIC = "leader_election_master_status"
JSON = "application/json"

Json = dict[str, Any]


def service(target: Target, name: str) -> Json:
    """A wish for one model of the bucket."""
    model: Json = {"modelFormat": {"name": "sklearn"}, "storageUri": f"s3://{required(target, 'bucket')}/{name}"}
    return {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": KIND,
        "metadata": {"name": name, "namespace": required(target, "work")},
        "spec": {"predictor": {"minReplicas": 1, "maxReplicas": 2, "model": model}},
    }


def review(wish: Json) -> bytes:
    """What an API server sends before it takes an object: nothing is made by it."""
    kind = {"group": GROUP, "version": VERSION, "kind": KIND}
    resource = {"group": GROUP, "version": VERSION, "resource": "inferenceservices"}
    request = {
        "uid": str(uuid.uuid4()),
        "kind": kind,
        "requestKind": kind,
        "resource": resource,
        "requestResource": resource,
        "name": wish["metadata"]["name"],
        "namespace": wish["metadata"]["namespace"],
        "operation": "CREATE",
        "userInfo": {"username": "apadana-probe"},
        "object": wish,
        "dryRun": True,
    }
    asked = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}
    return json.dumps(asked).encode()


def ask(target: Target, place: Place, path: str, body: bytes) -> Json:
    """One webhook's answer."""
    connect_s = target.within(given(target, "timeouts", "connect_seconds", 2))
    line = Line(place, target.ca_file, connect_s, given(target, "timeouts", "read_seconds", 3))
    try:
        line.request("POST", path, body, {"Content-Type": JSON})
        answer = line.getresponse()
        content = answer.read()
        if answer.status != http.client.OK:
            raise OSError(f"HTTP {answer.status}: {content[:200].decode(errors='replace')}")
        found: Json = json.loads(content)["response"]
        return found
    finally:
        line.close()


def _each(target: Target, look: Callable[[Place], str]) -> Found:
    return sound(target, "webhook", look, int(required(target, "controllers")), "controllers")


def _admits(target: Target) -> Found:
    """A right wish, and its defaults."""
    body = review(service(target, "probe"))

    def look(place: Place) -> str:
        for path in (DEFAULTS, VALIDATE):
            answer = ask(target, place, path, body)
            if not answer["allowed"]:
                return f"{path} refuses a right one: {answer.get('status', {}).get('message')}"
        return ""

    return _each(target, look)


def wrong_wishes(target: Target) -> Iterator[Json]:
    """No label of DNS as its name; a way of scaling that nobody knows."""
    yield service(target, "Probe_1")
    scaled = service(target, "probe")
    scaled["metadata"]["annotations"] = {f"{GROUP}/autoscalerClass": "by-hand"}
    yield scaled


def _refuses(target: Target) -> Found:
    """What would never run is refused when it is wished for."""
    bodies = [review(wish) for wish in wrong_wishes(target)]

    def look(place: Place) -> str:
        taken = [b for b in bodies if ask(target, place, VALIDATE, b)["allowed"]]
        return f"takes {len(taken)} of {len(bodies)} wrong ones" if taken else ""

    return _each(target, look)


def _one_leads(target: Target) -> Found:
    """None: changes wait. Two: they would undo each other's."""
    found = leaders(target, "metrics", METRIC, target.within(3.0))
    count = list(found.values()).count(LEADS)
    return count == 1, f"{count} of {len(found)} controllers lead, 1 is wanted", {"leads": found}


def smoke(target: Target) -> Iterator[Check]:
    """Each controller as webhook, and who leads."""
    yield attempt("kserve: every webhook takes a right wish", lambda: _admits(target))
    yield attempt("kserve: every webhook refuses wrong ones", lambda: _refuses(target))
    yield attempt("kserve: one controller leads", lambda: _one_leads(target))


def primary(target: Target) -> str | None:
    """None: every controller answers as webhook."""
    del target
    return None


def whole(target: Target) -> Check:
    """All controllers answer."""
    return attempt("kserve: whole", lambda: _admits(target))
