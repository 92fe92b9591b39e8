"""The wishes of a site's releases: ConfigMaps that `python -m stacks.models` reads and writes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from common.errors import Refusal
from components.models.keeper.wish import LABEL, WISH, Wish
from stacks.asking import Asked

TRIES = 5


class ModelsError(Refusal):
    """A release can't be changed as it was asked for."""


class ConflictError(ModelsError):
    """Somebody wrote between reading and writing."""


class Wishes(Asked):
    """The ConfigMaps."""

    def _refused(self, why: str) -> ModelsError:
        return (ConflictError if "(Conflict)" in why else ModelsError)(why)

    def all(self) -> dict[str, dict[str, Any]]:
        """Every ConfigMap of a release, by the release's name."""
        items = json.loads(self._ask("get", "configmap", "--selector", LABEL, "--output=json"))["items"]
        return {item["metadata"]["labels"][LABEL]: item for item in items}

    def object(self, wish: Wish, before: Mapping[str, Any] | None) -> dict[str, Any]:
        """The ConfigMap; with the version that was read, so that nobody's change is lost."""
        metadata: dict[str, Any] = {"name": f"release-{wish.name}", "namespace": self._namespace}
        if before is not None:
            metadata |= {"resourceVersion": before["metadata"]["resourceVersion"], "name": before["metadata"]["name"]}
        metadata["labels"] = {LABEL: wish.name, "app.kubernetes.io/part-of": "apadana"}
        data = {**(before or {}).get("data", {}), WISH: wish.text()}
        return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}

    def write(self, wish: Wish, before: Mapping[str, Any] | None) -> None:
        """Make it, or put it in the place of the one that was read; again where only the keeper wrote meanwhile."""
        for left in reversed(range(TRIES)):
            verb, item = "create" if before is None else "replace", json.dumps(self.object(wish, before))
            try:
                self._ask(verb, "-f", "-", stdin=item)
            except ConflictError:
                now = self.all().get(wish.name)
                if before is None or now is None or now["data"][WISH] != before["data"][WISH] or not left:
                    raise
                before = now
            else:
                return

    def delete(self, item: Mapping[str, Any]) -> None:
        """Nobody wishes for it any more."""
        self._ask("delete", "configmap", item["metadata"]["name"], "--wait=true")

    def left(self, name: str) -> list[str]:
        """Which versions of a release are still there."""
        found = self._ask("get", "inferenceservices,pods", "--selector", f"{LABEL}={name}", "--output=name")
        return found.split()
