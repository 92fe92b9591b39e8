"""Operations for the load generator. Standard library and kit only."""

from __future__ import annotations

from components.kit.asking import places
from components.kit.driving import Asker, Job, Repeated, chosen, wire
from components.kit.probing import Target
from components.outcomes.probe import PROTOCOL, one

OPERATIONS = {"look": "what is kept of one question, as who corrects an outcome asks"}


def driver(target: Target, job: Job) -> Asker:
    """One process of the generator: requests to all replicas in turn."""
    chosen(OPERATIONS, job)
    known = places(target, PROTOCOL)
    _, port, host = known[0]  # one name for all replicas
    headers = {"Host": f"{host}:{port}", "Accept": "application/json"}
    return Repeated(known, target.ca_file, lambda: wire("GET", one(job.run), headers))
