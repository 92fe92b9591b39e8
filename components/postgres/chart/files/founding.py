"""Gives up a claim to found the cluster that nobody carries out. Runs beside Patroni until this member has data.

The member that may run initdb first writes a claim into Patroni's ConfigMap: `initialize`, empty until
PostgreSQL has an identity. When the API server answers too late, the claim stands though the member
was told that it failed; Patroni then waits for a leader on all members, for ever.
"""

from __future__ import annotations

import json
import os
import ssl
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

DATA = Path("/var/lib/postgresql/data/pgdata/PG_VERSION")
CA = "/etc/apadana/tls/ca.crt"
ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
# What Patroni says of a member that runs no server and makes none.
IDLE = frozenset({"stopped", "initdb failed"})
GIVE_UP_SECONDS = 45.0
PAUSE_SECONDS = 5.0


def say(text: str) -> None:
    """One line for the member's log."""
    sys.stderr.write(f"founding.py: {text}\n")


class Waiting:
    """For how long one claim has stood while every member was idle."""

    def __init__(self) -> None:
        self.claim = ""
        self.since = 0.0

    def overdue(self, claim: str, states: list[str], now: float) -> bool:
        """Whether it is to be given up. `claim`: the ConfigMap's version, empty without a claim; `now`: in seconds."""
        if not claim or claim != self.claim or not IDLE.issuperset(states):
            self.claim, self.since = claim, now
            return False
        return now - self.since >= GIVE_UP_SECONDS


def claimed(config: dict[str, Any]) -> str:
    """The version of the ConfigMap when it holds a claim that has no identity yet, else nothing."""
    metadata = config["metadata"]
    unfounded = (metadata.get("annotations") or {}).get("initialize") == ""
    return str(metadata["resourceVersion"]) if unfounded else ""


def config_map(change: dict[str, Any] | None = None) -> dict[str, Any]:
    """Patroni's ConfigMap from the API server, changed first if that is wanted."""
    server = f"{os.environ['KUBERNETES_SERVICE_HOST']}:{os.environ['KUBERNETES_SERVICE_PORT']}"
    namespace = (ACCOUNT / "namespace").read_text(encoding="utf-8")
    request = urllib.request.Request(
        f"https://{server}/api/v1/namespaces/{namespace}/configmaps/{os.environ['PATRONI_CONFIG']}",
        data=None if change is None else json.dumps(change).encode(),
        method="GET" if change is None else "PATCH",
        headers={
            "Authorization": f"Bearer {(ACCOUNT / 'token').read_text(encoding='utf-8')}",
            "Content-Type": "application/merge-patch+json",
        },
    )
    return _answer(request, str(ACCOUNT / "ca.crt"))


def states() -> list[str]:
    """What each member's Patroni says of its server; one that does not answer raises OSError."""
    hosts = (f"{name}.{os.environ['MEMBERS_SERVICE']}" for name in os.environ["MEMBERS"].split())
    return [str(_answer(urllib.request.Request(f"https://{host}:8008/patroni"), CA)["state"]) for host in hosts]


def _answer(request: urllib.request.Request, ca: str) -> dict[str, Any]:
    context = ssl.create_default_context(cafile=ca)
    with urllib.request.urlopen(request, timeout=10, context=context) as answer:
        found: dict[str, Any] = json.load(answer)
    return found


def main() -> None:
    """Look until this member has data. A member that is silent may be founding: nothing is given up then."""
    waiting = Waiting()
    while not DATA.exists():
        time.sleep(PAUSE_SECONDS)
        try:
            claim = claimed(config_map())
            if waiting.overdue(claim, states() if claim else [], time.monotonic()):
                # The version makes it void when anybody has written since.
                config_map({"metadata": {"resourceVersion": claim, "annotations": {"initialize": None}}})
                say(f"gave up a claim that nobody carried out for {GIVE_UP_SECONDS:.0f} s; the members claim anew")
        except (OSError, ValueError, KeyError) as error:
            waiting = Waiting()
            say(f"can't tell whether somebody founds the cluster: {error}")


if __name__ == "__main__":
    main()
