"""Operations for the load generator. Standard library and kit only."""

from __future__ import annotations

from components.kit.driving import Asker, Job, chosen, looks
from components.kit.probing import Target

OPERATIONS = {"releases": "what the keepers say of every release, as the page asks them"}


def driver(target: Target, job: Job) -> Asker:
    """One process of the generator: requests to all keepers in turn."""
    chosen(OPERATIONS, job)
    return looks(target, "models", "/releases")
