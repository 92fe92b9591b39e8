"""The operators' operations for the load generator. Standard library and kit only."""

from __future__ import annotations

from components.kit.driving import Asker, Job, chosen
from components.kit.probing import Target
from components.training.probe import HOOKS, wish

OPERATIONS = {"admit": "whether a TrainJob may be made, as an API server asks it; nothing is made"}


def driver(target: Target, job: Job) -> Asker:
    """One process of the generator: requests to all operators in turn."""
    chosen(OPERATIONS, job)
    return HOOKS.asker(target, wish(target, "load"))
