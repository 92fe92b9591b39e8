"""The toy's service over HTTP as a client sees it."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator, Mapping
from typing import Any

from components.kit.probing import Check, Target, attempt

SECONDS = 2.0
Look = tuple[bool, str, Mapping[str, object]]


def ask(host: str, port: int, path: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(host, port, timeout=SECONDS)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def version(target: Target) -> Mapping[str, str]:
    """What each member says that it is."""
    found = {}
    for member, (host, port) in zip(target.members, target.endpoints[0].hosts(), strict=True):
        body: dict[str, Any] = json.loads(ask(host, port, "/answer")[1])
        found[member.name] = str(body["version"])
    return found


def primary(target: Target) -> str | None:
    """Each member answers alone."""
    return target.members[0].name if target.members else None


def whole(target: Target) -> Check:
    return attempt("redundancy", lambda: _answers(target))


def smoke(target: Target) -> Iterator[Check]:
    yield attempt("every member answers", lambda: _answers(target))
    yield attempt("an unknown path is refused", lambda: _unknown(target))


def _answers(target: Target) -> Look:
    said: dict[str, int | str] = {}
    for host, port in target.endpoints[0].hosts():
        try:
            said[host] = ask(host, port, "/answer")[0]
        except OSError as error:
            said[host] = f"{type(error).__name__}: {error}"
    return all(status == 200 for status in said.values()), f"{said}", {"said": said}


def _unknown(target: Target) -> Look:
    host, port = target.endpoints[0].hosts()[0]
    status, _ = ask(host, port, "/nothing-here")
    return status == 404, f"HTTP {status}", {}
