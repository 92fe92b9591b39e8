"""The site's cluster, asked through the bundle's kubectl."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from typing import Any

from common.kubectl import PATIENCE_SECONDS, Kubectl, find
from components.kit import surroundings
from road.place import Place
from road.work import StepFailed

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


def insist(place: Place, *argv: str) -> str:
    """The same for a step, of what does no harm twice: again while nobody answers.

    StepFailed, whose text is what kubectl said, where somebody refused or nobody answered for minutes.
    """
    try:
        return _of(place).insist("--request-timeout=10s", *argv, timeout=DEADLINE_SECONDS).decode()
    except subprocess.CalledProcessError as error:
        said = error.stderr.strip() or error.stdout.strip()
    except subprocess.TimeoutExpired:
        said = f"no answer within {PATIENCE_SECONDS:.0f} s"
    raise StepFailed([f"kubectl {' '.join(argv)}:", *said.splitlines()], text=said)


def insist_read(place: Place, *argv: str) -> Mapping[str, Any]:
    document: Mapping[str, Any] = json.loads(insist(place, *argv, "-o", "json"))
    return document


def _of(place: Place) -> Kubectl:
    return Kubectl(find(place.bundle), place.kubeconfig, surroundings.built())
