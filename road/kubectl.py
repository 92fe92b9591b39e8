"""The cluster, asked through the bundle's kubectl."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from typing import Any

from components.kit import surroundings
from road.place import Place

DEADLINE_SECONDS = 30


def command(place: Place, *argv: str) -> tuple[str, ...]:
    """Its argv. The bundle's one Kubernetes binary acts as what it is called."""
    binary = str(place.bundle / "bin" / "kubernetes")
    called = ("bash", "-c", 'exec -a kubectl "$0" "$@"', binary)
    return (*called, "--kubeconfig", str(place.kubeconfig), *argv)


def run(place: Place, *argv: str) -> str:
    """Its standard output; CalledProcessError, with what it said, when it fails."""
    return subprocess.run(
        command(place, "--request-timeout=10s", *argv),
        cwd=place.repository,
        env=surroundings.built(),
        check=True,
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        stdin=subprocess.DEVNULL,
    ).stdout


def read(place: Place, *argv: str) -> Mapping[str, Any]:
    document: Mapping[str, Any] = json.loads(run(place, *argv, "-o", "json"))
    return document
