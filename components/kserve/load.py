"""KServe's operations for the load generator. Standard library and kit only."""

from __future__ import annotations

from components.kit.asking import places
from components.kit.driving import Asker, Job, Repeated, chosen, wire
from components.kit.probing import Target
from components.kserve.probe import JSON, VALIDATE, review, service

OPERATIONS = {"admit": "whether an InferenceService may be made, as an API server asks it; nothing is made"}


def driver(target: Target, job: Job) -> Asker:
    """One process of the generator: requests to all controllers in turn."""
    chosen(OPERATIONS, job)
    known = places(target, "webhook")
    _, port, host = known[0]  # one name for all controllers
    headers, body = {"Host": f"{host}:{port}", "Content-Type": JSON}, review(service(target, "load"))
    return Repeated(known, target.ca_file, lambda: wire("POST", VALIDATE, headers, body))
