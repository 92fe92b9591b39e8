"""What the API server's audit log says of one account: pure, lines in, findings out."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

WRITES = {"create", "update", "patch", "delete", "deletecollection"}
# Questions that are asked by a POST and store nothing.
ASKING = {"authorization.k8s.io", "authentication.k8s.io"}


@dataclass
class Findings:
    """How much was asked, and what of it an account with the role `admin` alone would not do."""

    requests: int = 0
    writes: int = 0
    denied: list[str] = field(default_factory=list)
    cluster_scoped: list[str] = field(default_factory=list)


def judge(lines: Iterable[str], account: str) -> Findings:
    """`account`: how the user's name ends, say `:apadana-installer`."""
    found = Findings()
    for line in lines:
        try:
            event = json.loads(line)
        except ValueError:
            continue  # the last line of a log that is being written
        user = str(event.get("user", {}).get("username", ""))
        if user.startswith("system:serviceaccount:") and user.endswith(account):
            _judge_one(event, found)
    return found


def _judge_one(event: Mapping[str, Any], found: Findings) -> None:
    if event.get("stage") not in ("ResponseComplete", "Panic"):
        return
    found.requests += 1
    verb, code = event.get("verb"), (event.get("responseStatus") or {}).get("code", 0)
    words = f"{event.get('requestReceivedTimestamp', '')} {verb} {event.get('requestURI')} -> {code}"
    if code in (401, 403):
        found.denied.append(words)
    target = event.get("objectRef") or {}
    if verb not in WRITES or target.get("apiGroup") in ASKING:
        return
    found.writes += 1
    # The reference of a Namespace names itself as its namespace.
    if not target.get("namespace") or target.get("resource") == "namespaces":
        found.cluster_scoped.append(words)
