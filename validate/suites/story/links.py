"""The names of the links, in order. The register of clauses refers to them: keep them stable."""

from __future__ import annotations

from validate.pod.story.records import DELIVERIES, FIRST, SECOND

IN_LOG = "acknowledged by Kafka"
OFFLINE = "in the feature store's history"
ONLINE = "online as it was sent"
ASIDE = "altered records are no features"
FIRST_TRAINING = "first training: a workflow registers a version of these records"
FIRST_ANSWERS = "first answers: by that version, and right"
BY_FEATURES = "answers by key: as by features"
FIRST_OUTCOMES = "outcomes: each answer, and what was true"
CONTRADICTED = "outcomes: the new world shows that the old version errs"
RETRAINING = "retraining: a workflow registers a version of the new records"
TAKEN_OVER = "retrained version: takes over while questions are asked"
CHANGED = "changed segment: answers change as the new records say"
STAYED = "other segments: answers stay"
LINEAGE = "lineage: from the answer back to the records"
CLEAN = "nothing left behind"

#: Those whose failure leaves nothing to be learnt from the links behind them.
BEARING = frozenset(
    {FIRST_TRAINING, FIRST_ANSWERS, RETRAINING, TAKEN_OVER}
    | {f"{each} delivery: {link}" for each in DELIVERIES for link in (IN_LOG, OFFLINE, ONLINE)}
)


def of(delivery: str, link: str) -> str:
    """A link of one delivery."""
    return f"{delivery} delivery: {link}"


def names() -> list[str]:
    """All links."""
    delivered = (IN_LOG, OFFLINE, ONLINE, ASIDE)
    return [
        *(of(FIRST, link) for link in delivered),
        FIRST_TRAINING,
        FIRST_ANSWERS,
        BY_FEATURES,
        FIRST_OUTCOMES,
        *(of(SECOND, link) for link in delivered),
        CONTRADICTED,
        RETRAINING,
        TAKEN_OVER,
        CHANGED,
        STAYED,
        LINEAGE,
        CLEAN,
    ]
