"""Workflows as the API server has them: looked at, ended, begun again."""

from __future__ import annotations

import http.client
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from components.portal.server import runs
from components.portal.server.kubernetes import ApiError
from components.portal.server.runs import Run

OF_WORKFLOW, OF_NODE = "workflows.argoproj.io/workflow", "workflows.argoproj.io/node-name"
LINES = 500  # of each pod
MOST = 100  # runs in the list
NOTHING = "(nothing)\n"


class Asked(Protocol):
    """What is asked of the API server; `kubernetes.Api` does it."""

    def get(self, kind: str, namespace: str, name: str) -> dict[str, Any] | None:
        """None: there is no such object."""
        ...

    def all(self, kind: str, namespace: str, label: str = "") -> list[dict[str, Any]]:
        """Every object with that label."""
        ...

    def each(self, kind: str, namespace: str, at_once: int) -> Iterator[dict[str, Any]]:
        """Every object, so many in one answer."""
        ...

    def make(self, item: dict[str, Any]) -> dict[str, Any]:
        """A new object."""
        ...

    def patch(self, kind: str, namespace: str, name: str, part: dict[str, Any]) -> None:
        """Change what is named."""
        ...

    def log(self, namespace: str, pod: str, container: str, lines: int, *, times: bool = False) -> str:
        """The last lines that a container said, with their moments if these are wanted."""
        ...


class NoSuchRun(LookupError):
    """Nothing by that name."""


@dataclass(frozen=True)
class Flows:
    """The runs of one namespace. Every method raises OSError where the API server does not answer, or says no."""

    namespace: str
    api: Callable[[], Asked]  # one for each thread that asks
    archive: Callable[[str], str]  # by key; raises OSError

    def all(self) -> list[Run]:
        """The newest first."""
        found = [runs.read(each) for each in self.api().all("Workflow", self.namespace)]
        return sorted(found, key=lambda run: (run.started or "9", run.name), reverse=True)[:MOST]

    def one(self, name: str) -> Run:
        """Raises NoSuchRun."""
        return runs.read(self._found(name))

    def lines(self, name: str) -> str:
        """What its steps said: what is kept of those that ended, and what pods say that are still there."""
        found = self._found(name)
        told = {step: self._kept(key) for step, key in runs.kept_logs(found).items()}
        asked = self.api()
        for pod in asked.all("Pod", self.namespace, f"{OF_WORKFLOW}={name}"):
            metadata = pod["metadata"]
            step = (metadata.get("annotations") or {}).get(OF_NODE, "").removeprefix(f"{name}.") or metadata["name"]
            if step in told:
                continue
            try:
                told[step] = asked.log(self.namespace, metadata["name"], "main", LINES)
            except ApiError as error:  # it has not begun, or went meanwhile
                told[step] = f"no lines: {error}\n"
        return (
            "\n".join(f"== {step}\n{runs.said(said) or NOTHING}" for step, said in told.items())
            or "No step has begun.\n"
        )

    def _kept(self, key: str) -> str:
        try:
            return self.archive(key)
        except OSError as error:
            return f"no lines: {error}\n"

    def stop(self, name: str, by: str) -> None:
        """No further step begins, and those that run are ended. Raises NoSuchRun; ValueError: it has ended."""
        found = runs.read(self._found(name))
        if found.ended:
            raise ValueError(f"{name} is {found.phase}: there is nothing to stop")
        change = {"metadata": {"annotations": {runs.BY: by}}, "spec": {"shutdown": "Terminate"}}
        self.api().patch("Workflow", self.namespace, name, change)

    def again(self, name: str, by: str) -> str:
        """The new run's name. Raises NoSuchRun; ValueError: it has not failed."""
        made, _ = runs.again(self._found(name))
        made["metadata"]["annotations"][runs.BY] = by
        self.api().make(made)
        return str(made["metadata"]["name"])

    def _found(self, name: str) -> dict[str, Any]:
        try:
            found = self.api().get("Workflow", self.namespace, name)
        except http.client.HTTPException as error:
            raise OSError(f"the API server: {error}") from None
        if found is None:
            raise NoSuchRun(name)
        return found
