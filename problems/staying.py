"""For how long stores keep what lies in them: as the site's contract says it, else as the rooms have it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from components.kit.contract import Keeps, Platform
from components.kit.needs import Bucket, spelt
from components.mlflow import settings as mlflow_room
from components.workflows import names as workflows_names
from components.workflows import settings as workflows_room

STORE, LOG, PROBE = "minio", "kafka", "probe"


@dataclass(frozen=True)
class Staying:
    """Of one site; None: no site was named."""

    platform: Platform | None = None

    def deleted(self) -> str:
        """Artefacts of MLflow once they are deleted."""
        found = self._bucket(mlflow_room.ROOM, mlflow_room.Settings().needs())
        return self._said((found.replaced_hours,) if found else None)

    def handed_on(self) -> str:
        """What steps of workflows handed on."""
        found = self._bucket(workflows_names.ROOM, workflows_room.Settings().needs())
        return self._said((found.hours,) if found else None)

    def records(self) -> Iterator[str]:
        """Topics of the site that may hold records of a person."""
        for each in self._of(LOG):
            if each.kind == "topic" and not each.name.startswith(PROBE):
                yield f"Kafka, topic {each.name}: records {spelt(each.hours)}"

    def _bucket(self, name: str, needs: Iterable[object]) -> Keeps | None:
        if self.platform is not None:
            return next((each for each in self._of(STORE) if (each.kind, each.name) == ("bucket", name)), None)
        (need,) = (each for each in needs if isinstance(each, Bucket))
        found = need.keeping
        return Keeps(kind=need.kind, name=name, hours=found.hours, replaced_hours=found.replaced_hours)

    def _of(self, room: str) -> list[Keeps]:
        parts = self.platform.components if self.platform else []
        return [kept for each in parts if each.name == room for kept in each.keeps]

    def _said(self, found: tuple[int | None] | None) -> str:
        if found is None:
            return "for as long as who runs the store keeps it: the site's contract does not say"
        return spelt(found[0]) + ("" if self.platform else " where the site says nothing else (--stack asks one)")
