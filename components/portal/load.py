"""Operations for the load generator. Standard library and kit only."""

from __future__ import annotations

from components.kit.asking import places
from components.kit.driving import Asker, Job, Repeated, chosen, wire
from components.kit.probing import Target
from components.portal.probe import PROTOCOL

OPERATIONS = {"look": "the page, as a browser asks it"}


def driver(target: Target, job: Job) -> Asker:
    """One process of the generator: requests to all replicas in turn."""
    chosen(OPERATIONS, job)
    known = places(target, PROTOCOL)
    _, port, host = known[0]  # one name for all replicas
    headers = {"Host": f"{host}:{port}", "Accept": "text/html"}
    return Repeated(known, target.ca_file, lambda: wire("GET", "/", headers))
