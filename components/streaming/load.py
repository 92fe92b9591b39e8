"""Operations for the load generator. Standard library and kit only."""

from __future__ import annotations

from components.kit.driving import Asker, Job, chosen, looks
from components.kit.probing import Target
from components.streaming.probe import PROTOCOL

OPERATIONS = {"look": "what both stores have of one entity, as who doubts a feature asks"}


def driver(target: Target, job: Job) -> Asker:
    """One process of the generator: requests to all replicas in turn."""
    chosen(OPERATIONS, job)
    return looks(target, PROTOCOL, f"/probe?entity=smoke-{job.run.lower()}")
