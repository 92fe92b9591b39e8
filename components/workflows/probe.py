"""Workflows as a client sees them. Runs in the clients image: standard library only."""

from __future__ import annotations

import http.client
import json
import os
import ssl
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from components.kit.asking import required
from components.kit.probing import Check, Target, Verdict, attempt
from components.kit.replicas import LEADS, WAITS, Found, leaders

PROTOCOL = "http"  # of the endpoint whose name leads to every controller
TEMPLATE = "workflows-probe"
METRIC = "argo_workflows_is_leader"
ANSWER_S = 3.0
#: Two pods one after the other, on a host that has its hands full.
RUN_S = 120.0
REFUSED_S = 10.0
EVERY_S = 0.5
ENDED = ("Succeeded", "Failed", "Error")

Json = dict[str, Any]


class RefusedError(Exception):
    """The API server answered, and it was no."""


class Api:
    """Workflows, by the API server, as the account whose token the room's Secret has."""

    def __init__(self, target: Target, wait_s: float) -> None:
        home = required(target, "namespace")
        self._base = f"/apis/argoproj.io/v1alpha1/namespaces/{home}/workflows"
        self._head = {"Authorization": f"Bearer {target.extra['token']}", "Content-Type": "application/json"}
        # Every pod is told where the API servers are.
        self._at = os.environ["KUBERNETES_SERVICE_HOST"], int(os.environ["KUBERNETES_SERVICE_PORT"])
        self._tls = ssl.create_default_context(cafile=target.ca_file)
        self._wait_s = wait_s

    def ask(self, method: str, name: str = "", body: Json | None = None) -> Json:
        """One request on a connection of its own."""
        host, port = self._at
        line = http.client.HTTPSConnection(host, port, timeout=self._wait_s, context=self._tls)
        path = f"{self._base}/{name}" if name else self._base
        try:
            line.request(method, path, None if body is None else json.dumps(body), self._head)
            answer = line.getresponse()
            content = answer.read()
        finally:
            line.close()
        if answer.status not in (200, 201):
            raise RefusedError(f"{answer.status} {content[:300].decode(errors='replace')}")
        found: Json = json.loads(content)
        return found


def _controllers(target: Target) -> Found:
    """Each one answers, and exactly one of them holds the lease and works."""
    told = leaders(target, PROTOCOL, METRIC, target.within(ANSWER_S))
    wanted = int(required(target, "controllers"))
    said = sorted(told.values())
    sound = said.count(LEADS) == 1 and said.count(WAITS) == wanted - 1 and len(said) == wanted
    detail = ", ".join(f"{name}: {word}" for name, word in told.items()) or "nobody"
    return sound, f"{detail}; of {wanted} one has to lead and the others to wait", told


def _workflow(template: str | None) -> Json:
    """One that names a template, or one that brings its own step."""
    spec: Json = {"workflowTemplateRef": {"name": template}}
    if template is None:
        spec = {"entrypoint": "main", "templates": [{"name": "main", "suspend": {}}]}
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Workflow",
        "metadata": {"name": f"smoke-{uuid.uuid4().hex[:8]}"},
        "spec": spec,
    }


def _ran(api: Api, wish: Json, wait_s: float) -> tuple[str, Json]:
    """How it ended, or what it was when the time was over; gone afterwards."""
    name = wish["metadata"]["name"]
    api.ask("POST", body=wish)
    end = time.monotonic() + wait_s
    try:
        while True:
            status: Json = api.ask("GET", name).get("status", {})
            phase = str(status.get("phase", "not looked at"))
            if phase in ENDED or time.monotonic() > end:
                return phase, status
            time.sleep(EVERY_S)  # between two looks at a condition that has a deadline
    finally:
        with suppress(RefusedError, OSError):  # it goes by itself after a day
            api.ask("DELETE", name)


def _two_steps(target: Target) -> Found:
    """A number and a file go from one pod to the next, and the second compares them."""
    phase, status = _ran(Api(target, target.within(ANSWER_S)), _workflow(TEMPLATE), RUN_S)
    pods = [n for n in status.get("nodes", {}).values() if n.get("type") == "Pod"]
    seen = {str(n.get("displayName")): f"{n.get('phase')} {n.get('message', '')}" for n in pods}
    steps = ", ".join(f"{name}: {said.strip()}" for name, said in sorted(seen.items()))
    sound = phase == "Succeeded" and len(pods) == 2
    why = status.get("message", "")
    return sound, f"{phase} {why}; {steps or 'no step was started'}", {"steps": seen}


def _own_steps(target: Target) -> Found:
    """Who may submit may not bring code: a workflow without a template of the house is refused."""
    phase, status = _ran(Api(target, target.within(ANSWER_S)), _workflow(None), REFUSED_S)
    message = str(status.get("message", ""))
    refused = phase == "Error" and "workflowTemplateRef" in message
    return refused, f"{phase}: {message or 'no message'}", {}


def smoke(target: Target) -> Iterator[Check]:
    """Who leads, what is not run, and what runs."""
    yield whole(target)
    refused = "workflows: a workflow with steps of its own is refused"
    yield attempt(refused, lambda: _own_steps(target))
    ran = "workflows: two steps run, one after the other"
    if 0 < target.budget < RUN_S:
        yield Check(ran, Verdict.INVALID, f"two pods may take longer than {target.budget:g} s")
    else:
        yield attempt(ran, lambda: _two_steps(target))


def primary(target: Target) -> str | None:
    """None: a controller has no name that lasts."""
    del target
    return None


def whole(target: Target) -> Check:
    """All controllers are there and one of them leads."""
    return attempt("workflows: whole", lambda: _controllers(target))
