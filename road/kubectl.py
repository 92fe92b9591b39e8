"""The cluster, asked through the bundle's kubectl."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from typing import Any

from road.place import Place

DEADLINE_SECONDS = 30


def run(place: Place, *argv: str) -> str:
    """Its standard output; CalledProcessError, with what it said, when it fails."""
    # The bundle's one Kubernetes binary acts as what it is called.
    front = ("kubectl", "--kubeconfig", str(place.kubeconfig), "--request-timeout=10s")
    return subprocess.run(
        (*front, *argv),
        executable=place.bundle / "bin" / "kubernetes",
        cwd=place.repository,
        check=True,
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        stdin=subprocess.DEVNULL,
    ).stdout


def read(place: Place, *argv: str) -> Mapping[str, Any]:
    document: Mapping[str, Any] = json.loads(run(place, *argv, "-o", "json"))
    return document
