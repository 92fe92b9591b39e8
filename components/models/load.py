"""Operations for the load generator. Standard library and kit only."""

from __future__ import annotations

from components.kit.asking import places
from components.kit.driving import Asker, Job, Repeated, chosen, wire
from components.kit.probing import Target

OPERATIONS = {"releases": "what the keepers say of every release, as the page asks them"}


def driver(target: Target, job: Job) -> Asker:
    """One process of the generator: requests to all keepers in turn."""
    chosen(OPERATIONS, job)
    known = places(target, "models")
    _, port, host = known[0]  # one name for all keepers
    headers = {"Host": f"{host}:{port}", "Accept": "application/json"}
    return Repeated(known, target.ca_file, lambda: wire("GET", "/releases", headers))
