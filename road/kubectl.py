"""The site's cluster, asked through the bundle's kubectl."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from common.kubectl import Kubectl, find
from components.kit import surroundings
from road.place import Place

DEADLINE_SECONDS = 30


def command(place: Place, *argv: str) -> list[str]:
    """As a command of its own."""
    return _of(place).command(*argv)


def run(place: Place, *argv: str) -> str:
    """Its standard output; CalledProcessError, with what it said, when it fails."""
    return _of(place).run("--request-timeout=10s", *argv, timeout=DEADLINE_SECONDS).decode()


def read(place: Place, *argv: str) -> Mapping[str, Any]:
    document: Mapping[str, Any] = json.loads(run(place, *argv, "-o", "json"))
    return document


def _of(place: Place) -> Kubectl:
    return Kubectl(find(place.bundle), place.kubeconfig, surroundings.built())
