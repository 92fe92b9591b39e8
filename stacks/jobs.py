"""Jobs of a site where users' work runs, by kubectl as the site's admin."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from common.errors import Refusal
from stacks.asking import Asked

RUNS, DONE, FAILED = "runs", "done", "failed"
ENDS = {"Complete": DONE, "Failed": FAILED}


class JobError(Refusal):
    """A job can't be begun, or its end can't be seen."""


@dataclass(frozen=True)
class State:
    """How a Job is, and what was last said: of one that runs in its log, of one that ended by its container."""

    phase: str
    said: str


class Jobs(Asked):
    """The Jobs of one namespace."""

    def _refused(self, why: str) -> JobError:
        return JobError(why)

    def begin(self, job: Mapping[str, Any]) -> bool:
        """Make it, in the place of one that failed; False: one of its name runs, or is done."""
        name = job["metadata"]["name"]
        state = self.state(name)
        if state is not None and state.phase != FAILED:
            return False
        if state is not None:
            self._ask("delete", "job", name, "--wait=true")
        self._ask("create", "-f", "-", stdin=json.dumps(job))
        return True

    def state(self, name: str) -> State | None:
        """None: there is no such Job."""
        text = self._ask("get", "job", name, "--ignore-not-found", "--output=json")
        if not text.strip():
            return None
        conditions = json.loads(text).get("status", {}).get("conditions", [])
        ended = [each for each in conditions if each["type"] in ENDS and each["status"] == "True"]
        if not ended:
            return State(RUNS, self._log(name))
        return State(ENDS[ended[0]["type"]], self._message(name) or str(ended[0].get("message", "")))

    def _log(self, name: str) -> str:
        """The last line of the newest pod; why there is none, where there is none."""
        try:
            lines = self._ask("logs", f"job/{name}", "--tail=1").split("\n")
        except JobError as error:
            return str(error).splitlines()[0]
        return lines[0] or "it begins"

    def _message(self, name: str) -> str:
        """What the container of the pod that ended last left."""
        text = self._ask("get", "pods", "--selector", f"batch.kubernetes.io/job-name={name}", "--output=json")
        found = [
            (ended["finishedAt"], ended.get("message", ""))
            for pod in json.loads(text)["items"]
            for container in pod.get("status", {}).get("containerStatuses", [])
            if (ended := container.get("state", {}).get("terminated"))
        ]
        return max(found, default=("", ""))[1]
