"""Operations for the load generator. Standard library and kit only."""

from __future__ import annotations

from components.kit.driving import Asker, Job, chosen, looks
from components.kit.probing import Target
from components.outcomes.probe import PROTOCOL, one

OPERATIONS = {"look": "what is kept of one question, as who corrects an outcome asks"}


def driver(target: Target, job: Job) -> Asker:
    """One process of the generator: requests to all replicas in turn."""
    chosen(OPERATIONS, job)
    return looks(target, PROTOCOL, one(job.run))
