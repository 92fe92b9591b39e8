"""The names of the links, in order. The register of clauses refers to them: keep them stable."""

from __future__ import annotations

from validate.suites.integration.expected import BATCH, STREAMING

IN_LOG = "acknowledged by Kafka and read again"
IN_TABLE = "rows in PostgreSQL"
IN_OBJECTS = "objects in S3"
ASIDE = "altered formats set aside"
PARITY = "features online as offline"
FIRST_TRAINING = "first training: on these records"
FIRST_ANSWERS = "first answers: right, and by the model that was trained"
RETRAINING = "retraining: on the new records"
TAKEN_OVER = "retrained model: takes over while questions are asked"
CHANGED = "changed segment: answers change as the new data say"
STAYED = "other segments: answers stay"
LINEAGE = "lineage: from the answer back to the records"
SAME_ANSWERS = "batch answers: equal to online answers"
REFUSED = "bad questions: refused"
ROLLED_BACK = "roll-back: the first answers again"
CLEAN = "nothing left behind"


def of(mode: str, link: str) -> str:
    return f"{mode}: {link}"


def names(online: bool) -> list[str]:
    """All links; `online` says whether there is an online store."""
    delivered = (IN_LOG, IN_TABLE, IN_OBJECTS, ASIDE, *((PARITY,) if online else ()))
    return [
        *(of(BATCH, link) for link in delivered),
        FIRST_TRAINING,
        FIRST_ANSWERS,
        *(of(STREAMING, link) for link in delivered),
        RETRAINING,
        TAKEN_OVER,
        CHANGED,
        STAYED,
        LINEAGE,
        *((SAME_ANSWERS,) if online else ()),
        REFUSED,
        ROLLED_BACK,
        CLEAN,
    ]
