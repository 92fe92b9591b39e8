"""Who of the keepers writes: the one that holds the Lease."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from components.models.keeper.kubernetes import ApiError

SECONDS = 15
#: A holder that could not renew for so long writes no more; another one takes over after SECONDS.
SURE_SECONDS = 10.0
CONFLICT = 409


class Cluster(Protocol):
    """What of the API server is used."""

    def get(self, kind: str, namespace: str, name: str) -> dict[str, Any] | None: ...
    def make(self, item: Mapping[str, Any]) -> dict[str, Any]: ...
    def put(self, kind: str, item: Mapping[str, Any]) -> dict[str, Any]: ...


class Lease:
    """One keeper's view. The holder's clock is not compared with ours: what counts is how long its
    renewal has not changed as we see it."""

    def __init__(
        self, cluster: Cluster, namespace: str, name: str, me: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._cluster, self._where, self._me, self._clock = cluster, (namespace, name), me, clock
        self._seen: tuple[str, float] = ("", 0.0)
        self._sure = 0.0

    @property
    def held(self) -> bool:
        """Whether this keeper may write now."""
        return self._clock() < self._sure

    def renew(self) -> bool:
        """Take it, keep it, or see that another one has it."""
        asked = self._clock()
        found = self._cluster.get("Lease", *self._where)
        spec = (found or {}).get("spec", {})
        if spec.get("holderIdentity") != self._me:
            mark = f"{spec.get('holderIdentity')} {spec.get('renewTime')}"
            if self._seen[0] != mark:
                self._seen = (mark, asked)
            if spec.get("holderIdentity") and asked - self._seen[1] < SECONDS:
                self._sure = 0.0
                return False
        if self._written(found):
            self._sure = asked + SURE_SECONDS
        return self.held

    def _written(self, found: dict[str, Any] | None) -> bool:
        now = dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        spec = {"holderIdentity": self._me, "leaseDurationSeconds": SECONDS, "renewTime": now}
        namespace, name = self._where
        try:
            if found is None:
                metadata = {"namespace": namespace, "name": name}
                self._cluster.make(
                    {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec}
                )
            else:
                self._cluster.put("Lease", {**found, "spec": spec})
        except ApiError as error:
            if error.status != CONFLICT:
                raise
            return False  # another one was faster
        return True
