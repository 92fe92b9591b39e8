"""`python -m stacks.installer <site>`: a kubeconfig of the namespace's installer.

Asks the cluster, as its admin, for a token of the ServiceAccount that the cluster stack made, and
writes `<state>/installer.kubeconfig` (0600). The token lives a day; each run makes a new one.
"""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml

from common import files
from common.errors import Refusal
from common.kubectl import PATIENCE_SECONDS, Kubectl, find
from common.places import Places
from components.cluster.settings import Settings
from components.kit import surroundings
from stacks import command
from stacks.composition import compose

DURATION = "24h"
LEAST_LEFT = timedelta(hours=1)  # longer than any stack runs
TIMEOUT_SECONDS = 20


class InstallerError(Refusal):
    """No kubeconfig could be made."""


def kubeconfig(admin: dict[str, Any], namespace: str, account: str, token: str) -> dict[str, Any]:
    """The admin's cluster, with the account's token instead of the admin's key."""
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": admin["clusters"],
        "users": [{"name": account, "user": {"token": token}}],
        "contexts": [
            {
                "name": account,
                "context": {"cluster": admin["clusters"][0]["name"], "user": account, "namespace": namespace},
            }
        ],
        "current-context": account,
    }


def token(places: Places, namespace: str, account: str) -> str:
    """Through kubectl: the token comes on stdout, not argv."""
    kubectl = Kubectl(find(places.bundle), places.kubeconfig, surroundings.built())
    where = (f"--request-timeout={TIMEOUT_SECONDS}s", "--namespace", namespace)
    wish = ("create", "token", account, f"--duration={DURATION}")
    try:
        return kubectl.insist(*where, *wish, timeout=2 * TIMEOUT_SECONDS).decode().strip()
    except subprocess.CalledProcessError as error:
        raise InstallerError(
            f"no token for {namespace}/{account}: {error.stderr.strip()}; "
            "run the cluster stack first (it makes the account)"
        ) from None
    except subprocess.TimeoutExpired:
        raise InstallerError(
            f"the API server did not answer within {PATIENCE_SECONDS:.0f} s; is the cluster up?"
        ) from None


def ends(text: str) -> datetime | None:
    """When the token of a kubeconfig ends; None where it is none that says so."""
    try:
        token = yaml.safe_load(text)["users"][0]["user"]["token"]
        payload = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        return datetime.fromtimestamp(claims["exp"], UTC)
    except (yaml.YAMLError, ValueError, LookupError, TypeError):
        return None  # a client's own kubeconfig: certificates, a plug-in


def current(places: Places, now: datetime | None = None) -> Path:
    """The installer's kubeconfig with a token that is still good; an old one is renewed. Raises InstallerError.

    Never the admin's instead: what the platform's stacks may do would then show on the day it is missing.
    """
    file = places.installer_kubeconfig
    if not file.exists():
        raise InstallerError(
            f"no kubeconfig of the installer at {file}, and the platform's stacks do not act as the cluster's admin. "
            f"Make it: python -m stacks.installer {places.site} "
            "(in a cluster of the client's: put the one that was given there)"
        )
    end = ends(file.read_text(encoding="utf-8"))
    if end is None or end - (now or datetime.now(UTC)) > LEAST_LEFT:
        return file
    if not places.kubeconfig.exists():
        raise InstallerError(
            f"the installer's token in {file} ends at {end:%Y-%m-%d %H:%M} UTC, and no kubeconfig of the cluster's "
            f"admin is at {places.kubeconfig} to renew it with: ask the cluster's admin for a new one"
        )
    return refresh(places.site)


def refresh(site: str) -> Path:
    """Make the installer's kubeconfig; returns its path."""
    places = Places.of(site)
    loaded = compose(site)
    settings = loaded.rooms["cluster"]
    if not isinstance(settings, Settings):
        raise TypeError("the settings of the room cluster are not its own")
    account, home = settings.installer_account, settings.installer_namespace
    admin = yaml.safe_load(places.kubeconfig.read_text(encoding="utf-8"))
    given = kubeconfig(admin, loaded.site.namespace, account, token(places, home, account))
    files.write(places.installer_kubeconfig, yaml.safe_dump(given, sort_keys=False), mode=0o600)
    return places.installer_kubeconfig


def main(argv: list[str] | None = None) -> int:
    """Write the file and say where."""
    return command.run(__doc__, lambda site: f"{refresh(site)}\n", argv)


if __name__ == "__main__":
    sys.exit(main())
