"""The operators as an API server sees them. Standard library and kit only.

A probe has no right to make a TrainJob, so it asks every operator's webhook what an API server would ask, by the same
AdmissionReview. That workers come of it is not shown by this.
"""

from __future__ import annotations

import http.client
import json
import uuid
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from components.kit.asking import Line, Place, given, places, required
from components.kit.probing import Check, Target, attempt
from components.kit.replicas import LEADS, Found, leaders, sound

GROUP, VERSION, KIND = "trainer.kubeflow.org", "v1alpha1", "TrainJob"
VALIDATE = f"/validate-{GROUP.replace('.', '-')}-{VERSION}-{KIND.lower()}"
DEFAULTS = f"/mutate-{GROUP.replace('.', '-')}-{VERSION}-{KIND.lower()}"
METRIC = "leader_election_master_status"
JSON = "application/json"

Json = dict[str, Any]


def wish(target: Target, name: str) -> Json:
    """For two workers of the house's runtime."""
    runtime = {"apiGroup": GROUP, "kind": "TrainingRuntime", "name": required(target, "runtime")}
    return {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": KIND,
        "metadata": {"name": name, "namespace": required(target, "work")},
        "spec": {"runtimeRef": runtime, "trainer": {"numNodes": 2}},
    }


def review(asked: Json) -> bytes:
    """What an API server sends before it takes an object: nothing is made by it."""
    kind = {"group": GROUP, "version": VERSION, "kind": KIND}
    resource = {"group": GROUP, "version": VERSION, "resource": f"{KIND.lower()}s"}
    request = {
        "uid": str(uuid.uuid4()),
        "kind": kind,
        "requestKind": kind,
        "resource": resource,
        "requestResource": resource,
        "name": asked["metadata"]["name"],
        "namespace": asked["metadata"]["namespace"],
        "operation": "CREATE",
        "userInfo": {"username": "apadana-probe"},
        "object": asked,
        "dryRun": True,
    }
    return json.dumps({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}).encode()


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
    return sound(target, "webhook", look, int(required(target, "operators")), "operators")


def _admits(target: Target) -> Found:
    """A right wish, and its defaults."""
    body = review(wish(target, "probe"))

    def look(place: Place) -> str:
        for path in (DEFAULTS, VALIDATE):
            answer = ask(target, place, path, body)
            if not answer["allowed"]:
                return f"{path} refuses a right one: {answer.get('status', {}).get('message')}"
        return ""

    return _each(target, look)


def wrong_wishes(target: Target) -> Iterator[Json]:
    """For a runtime that is not there; with a word that the operators say themselves."""
    lost = wish(target, "probe")
    lost["spec"]["runtimeRef"]["name"] = "no-such-runtime"
    yield lost
    own = wish(target, "probe")
    own["spec"]["trainer"]["env"] = [{"name": "DMLC_TASK_ID", "value": "7"}]
    yield own


def _refuses(target: Target) -> Found:
    """What would never run is refused when it is wished for."""
    bodies = [review(each) for each in wrong_wishes(target)]

    def look(place: Place) -> str:
        taken = [body for body in bodies if ask(target, place, VALIDATE, body)["allowed"]]
        return f"takes {len(taken)} of {len(bodies)} wrong ones" if taken else ""

    return _each(target, look)


def _one_leads(target: Target) -> Found:
    """None: new jobs wait. Two: they would undo each other's."""
    found = leaders(target, "metrics", METRIC, target.within(3.0))
    count = list(found.values()).count(LEADS)
    return count == 1, f"{count} of {len(found)} operators lead, 1 is wanted", {"leads": found}


def smoke(target: Target) -> Iterator[Check]:
    """Each operator as webhook, and who leads."""
    yield attempt("training: every webhook takes a right wish", lambda: _admits(target))
    yield attempt("training: every webhook refuses wrong ones", lambda: _refuses(target))
    yield attempt("training: one operator leads", lambda: _one_leads(target))


def bad_requests(target: Target) -> Iterator[tuple[str, Callable[[], object]]]:
    """What is no question at all."""
    place = places(target, "webhook")[0]
    yield "no JSON", partial(ask, target, place, VALIDATE, b"{")
    yield "a path that nobody serves", partial(ask, target, place, "/validate-nothing", review(wish(target, "probe")))


def primary(target: Target) -> str | None:
    """None: every operator answers as webhook."""
    del target
    return None


def whole(target: Target) -> Check:
    """All operators answer."""
    return attempt("training: whole", lambda: _admits(target))
