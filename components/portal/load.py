"""Operations for the load generator. Standard library and kit only."""

from __future__ import annotations

from components.kit.driving import Asker, Job, chosen, looks
from components.kit.probing import Target
from components.portal.probe import PROTOCOL

OPERATIONS = {"look": "the page, as a browser asks it"}


def driver(target: Target, job: Job) -> Asker:
    """One process of the generator: requests to all replicas in turn."""
    chosen(OPERATIONS, job)
    return looks(target, PROTOCOL, "/", "text/html")
