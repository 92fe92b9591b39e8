"""Looks at runs, time and again, for what people are to be told: figures that Prometheus' rules are about."""

from __future__ import annotations

import http.client
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from components.portal.server import runs, watching
from components.portal.server.flows import OF_WORKFLOW, Asked
from components.portal.server.kubernetes import ApiError

ROUND_SECONDS = 30.0
AT_ONCE = 25  # workflows in one answer: each may be a megabyte, and the replica has not many
OF_NODE_ID, COMPLETED = "workflows.argoproj.io/node-id", "workflows.argoproj.io/completed"
#: When a figure is too old to be shown: what is no longer seen must not look as if it went on.
STALE_SECONDS = 150.0
Object = dict[str, Any]


class Watch:
    """What was seen last. What a step told of its progress before this began is not known: it counts from then on."""

    def __init__(self, namespace: str, api: Callable[[], Asked]) -> None:
        self._namespace, self._api = namespace, api
        self._progress: dict[tuple[str, str], tuple[str, datetime]] = {}
        self.figures = watching.Figures()
        self._seen = time.monotonic()
        self.why = ""  # it sees nothing; "": all is well

    def age(self) -> float:
        """Seconds since the API server answered, or since this began."""
        return time.monotonic() - self._seen

    def text(self) -> str:
        """For Prometheus; figures that are too old are left out, and the age tells of it."""
        age = f"# TYPE apadana_runs_age_seconds gauge\napadana_runs_age_seconds {self.age():.1f}\n"
        return age + (self.figures.text() if self.age() < STALE_SECONDS else "")

    def round(self, now: datetime | None = None) -> None:
        """One look; what fails is tried again in the next."""
        try:
            self.figures = self._look(now or datetime.now(UTC))
        except (OSError, http.client.HTTPException) as error:
            self.why = f"runs are not seen: {error}"
        else:
            self.why, self._seen = "", time.monotonic()

    def _look(self, now: datetime) -> watching.Figures:
        api = self._api()
        found = [watching.slim(each) for each in api.each("Workflow", self._namespace, AT_ONCE)]
        alive = self._moved(found, now)
        pods = api.all("Pod", self._namespace, f"{OF_WORKFLOW},{COMPLETED}=false")
        for pod in [each for each in pods if each.get("status", {}).get("phase") == "Running"][: watching.MOST]:
            metadata = pod["metadata"]
            key = metadata["labels"][OF_WORKFLOW], metadata["annotations"].get(OF_NODE_ID, "")
            if (spoke := self._spoke(api, metadata["name"])) is not None:
                alive[key] = max(spoke, alive.get(key, spoke))
        return watching.figures(found, alive, now)

    def _moved(self, found: list[Object], now: datetime) -> dict[tuple[str, str], datetime]:
        """When the progress of each pod that runs was first seen as it is."""
        before, self._progress = self._progress, {}
        for each in found:
            for name, node in ((each.get("status") or {}).get("nodes") or {}).items():
                if node.get("type") == "Pod" and node.get("phase") == "Running":
                    key, told = (each["metadata"]["name"], name), str(node.get("progress") or "")
                    begun = runs.time(node["startedAt"]) if told in runs.NO_PROGRESS else now
                    known = before.get(key, (told, begun))
                    self._progress[key] = known if known[0] == told else (told, now)
        return {key: since for key, (_, since) in self._progress.items()}

    def _spoke(self, api: Asked, pod: str) -> datetime | None:
        """When it said its last line; None: it has said none, or can't be asked."""
        try:
            moment = api.log(self._namespace, pod, "main", 1, times=True).partition(" ")[0]
        except ApiError:  # it went meanwhile
            return None
        try:
            return datetime.fromisoformat(moment)  # more digits than Python keeps are cut off
        except ValueError:
            return None
