"""Controllers asked as webhooks, as an API server asks them: for probes and load, standard library and kit only.

A probe has no right to make the objects that it asks about; nothing is made by a review.
"""

from __future__ import annotations

import http.client
import json
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from components.kit.asking import Line, Place, given, places, required
from components.kit.driving import Asker, Repeated, wire
from components.kit.probing import Target
from components.kit.replicas import LEAD_SECONDS, LEADS, Found, leaders, settled, sound

JSON = "application/json"
LEADING = "leader_election_master_status"  # of controllers made with controller-runtime

Json = dict[str, Any]


@dataclass(frozen=True)
class Webhooks:
    """Of one kind of object, at every one of a room's controllers."""

    group: str
    version: str
    kind: str
    what: str  # the contract's word for how many controllers there are

    def path(self, verb: str) -> str:
        """Where it is asked, as controller-runtime names it."""
        return f"/{verb}-{self.group.replace('.', '-')}-{self.version}-{self.kind.lower()}"

    @property
    def validate(self) -> str:
        """Where it is asked whether an object is right."""
        return self.path("validate")

    @property
    def defaults(self) -> str:
        """Where it is asked what an object lacks."""
        return self.path("mutate")

    def review(self, wish: Json) -> bytes:
        """What an API server sends before it takes an object."""
        kind = {"group": self.group, "version": self.version, "kind": self.kind}
        resource = {"group": self.group, "version": self.version, "resource": f"{self.kind.lower()}s"}
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

    def admits(self, target: Target, wish: Json) -> Found:
        """A right wish, and its defaults."""
        body = self.review(wish)

        def look(place: Place) -> str:
            for path in (self.defaults, self.validate):
                answer = ask(target, place, path, body)
                if not answer["allowed"]:
                    return f"{path} refuses a right one: {answer.get('status', {}).get('message')}"
            return ""

        return self._each(target, look)

    def refuses(self, target: Target, wishes: Iterable[Json]) -> Found:
        """What would never run is refused when it is wished for."""
        bodies = [self.review(wish) for wish in wishes]

        def look(place: Place) -> str:
            taken = [body for body in bodies if ask(target, place, self.validate, body)["allowed"]]
            return f"takes {len(taken)} of {len(bodies)} wrong ones" if taken else ""

        return self._each(target, look)

    def one_leads(self, target: Target) -> Found:
        """None: what is wished for waits. Two: they would undo each other's."""

        def look() -> Found:
            found = leaders(target, "metrics", LEADING, target.within(3.0))
            count = list(found.values()).count(LEADS)
            return count == 1, f"{count} of {len(found)} {self.what} lead, 1 is wanted", {"leads": found}

        return settled(target, LEAD_SECONDS, look)

    def asker(self, target: Target, wish: Json) -> Asker:
        """Whether this one may be made, of all controllers in turn."""
        known = places(target, "webhook")
        _, port, host = known[0]  # one name for all of them
        headers, body = {"Host": f"{host}:{port}", "Content-Type": JSON}, self.review(wish)
        return Repeated(known, target.ca_file, lambda: wire("POST", self.validate, headers, body))

    def _each(self, target: Target, look: Callable[[Place], str]) -> Found:
        return sound(target, "webhook", look, int(required(target, self.what)), self.what)


def ask(target: Target, place: Place, path: str, body: bytes) -> Json:
    """One webhook's answer."""
    connect_s = target.within(given(target, "timeouts", "connect_seconds", 2))
    line = Line(place, target.ca_file, connect_s, target.within(given(target, "timeouts", "read_seconds", 3)))
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
