"""The operators' operations for the load generator. Standard library and kit only."""

from __future__ import annotations

from components.kit.asking import places
from components.kit.driving import Asker, Job, Repeated, chosen, wire
from components.kit.probing import Target
from components.training.probe import JSON, VALIDATE, review, wish

OPERATIONS = {"admit": "whether a TrainJob may be made, as an API server asks it; nothing is made"}


def driver(target: Target, job: Job) -> Asker:
    """One process of the generator: requests to all operators in turn."""
    chosen(OPERATIONS, job)
    known = places(target, "webhook")
    _, port, host = known[0]  # one name for all operators
    headers, body = {"Host": f"{host}:{port}", "Content-Type": JSON}, review(wish(target, "load"))
    return Repeated(known, target.ca_file, lambda: wire("POST", VALIDATE, headers, body))
