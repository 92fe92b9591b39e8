"""The pods of all releases, for Prometheus: what its discovery by HTTP reads. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from components.models.judge import looking
from components.models.keeper.objects import SHORT, predictor

#: Where a keeper tells it.
PATH = "/predictors"
_SERVICE = re.compile(predictor(rf"(?P<release>.+)-(?P<version>[0-9a-f]{{{SHORT}}})"))


def told(slices: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Of EndpointSlices: each version's addresses, whether its pods are ready or not, and whose they are."""
    found = []
    for service, places in sorted(looking.pods(slices).items()):
        if named := _SERVICE.fullmatch(service):
            addresses = sorted(f"{place.address}:{place.port}" for place in places)
            found.append({"targets": addresses, "labels": named.groupdict()})
    return found
