"""`python -m stacks.people <site>`: a kubeconfig for everybody with a log-in at the site's issuer.

It holds no secret and is the same for all, so it may be handed out: kubectl asks `kubelogin` (of the
bundle, bin/kubelogin) for a token, and that sends the browser to the log-in or shows a code for one
elsewhere. Written to `<state>/people.kubeconfig`; it asks no cluster.
"""

from __future__ import annotations

import base64
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from common import files, inventory
from common.errors import Refusal
from common.places import Places
from components.identity.clients import KUBECTL
from components.kit import webs
from components.kit.machines import common
from components.kit.settings import SiteFacts
from stacks import command
from stacks.composition import compose

PROGRAM = "kubelogin"
HINT = f"{PROGRAM} is missing: copy bin/{PROGRAM} of the bundle to a folder of your PATH"
MODE = 0o644


class PeopleError(Refusal):
    """People can't log in for kubectl here."""


def issuer(site: SiteFacts, machines: Mapping[str, Any] | None) -> str:
    """Of the stacks' settings, and the same that the API servers were told."""
    login = webs.login(site)
    if login is None:
        raise PeopleError(
            f"{site.site} has no issuer: the room {webs.IDENTITY} is off, so nobody can log in for kubectl. "
            f"Set apadana:{webs.IDENTITY}: mode to managed or external"
        )
    # Without an inventory the cluster is the client's, and so are its API servers' settings.
    told = login.issuer if machines is None else common(machines, "site_issuer")
    if told != login.issuer:
        raise PeopleError(
            f"the API servers of {site.site} take people of {told or 'no issuer'!r}, "
            f"and its pages those of {login.issuer!r}. "
            f"Set site_issuer: {login.issuer} in the inventory's group_vars/all/main.yml, then run playbooks/site.yml"
        )
    return login.issuer


def kubeconfig(admin: dict[str, Any], namespace: str, url: str, ca: bytes) -> dict[str, Any]:
    """The admin's cluster; who one is, `kubelogin` says."""
    arguments = [
        "get-token",
        f"--oidc-issuer-url={url}",
        f"--oidc-client-id={KUBECTL}",
        f"--certificate-authority-data={base64.b64encode(ca).decode()}",
    ]
    asked = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": PROGRAM,
        "args": arguments,
        "installHint": HINT,
        "interactiveMode": "IfAvailable",
    }
    context = {"cluster": admin["clusters"][0]["name"], "user": "me", "namespace": namespace}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": admin["clusters"],
        "users": [{"name": "me", "user": {"exec": asked}}],
        "contexts": [{"name": "platform", "context": context}],
        "current-context": "platform",
    }


def write(site: str) -> Path:
    """Make the file; returns its path."""
    places = Places.of(site)
    loaded = compose(site)
    facts = loaded.facts({})
    machines = inventory.read(places.inventory / "hosts.yml")
    url = issuer(facts, machines)
    told = common(machines or {}, "site_issuer_ca")
    ca = Path(told) if told else places.pki / "ca.crt"
    admin = yaml.safe_load(places.kubeconfig.read_text(encoding="utf-8"))
    given = kubeconfig(admin, loaded.site.namespace, url, ca.read_bytes())
    files.write(places.people_kubeconfig, yaml.safe_dump(given, sort_keys=False), mode=MODE)
    return places.people_kubeconfig


def main(argv: list[str] | None = None) -> int:
    """Write the file and say where."""
    return command.run(__doc__, lambda site: f"{write(site)}\n", argv)


if __name__ == "__main__":
    sys.exit(main())
