"""The environment of the programs that we start: built of what they need, not what a shell had.

A proxy in the shell would lead kubectl and Pulumi away from the site, a passphrase would encrypt it
with a word that nobody keeps, `LC_ALL=C` ends Ansible, and a kubeconfig names another cluster.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

#: Who we are, where programs and temporary files are, how a terminal and an agent are reached.
KEPT = (
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "TMPDIR",
    "TZ",
    "TERM",
    "COLUMNS",
    "CI",
    "NO_COLOR",
    "SSH_AUTH_SOCK",
    "XDG_RUNTIME_DIR",
    "DBUS_SESSION_BUS_ADDRESS",
    "FORGET",
    "PYTHONUNBUFFERED",
    "PYTHONDONTWRITEBYTECODE",
)
#: Ours, and where containers of this machine are kept.
KEPT_PREFIXES = ("APADANA_", "CONTAINERS_", "STORAGE_", "_CONTAINERS_")
WORDS = {"LANG": "C.UTF-8", "LC_ALL": "C.UTF-8"}
#: What a shell may have and must not say to `pulumi` and `kubectl` of a site.
MISLEADING = ("PULUMI_CONFIG_PASSPHRASE", "PULUMI_STACK", "PULUMI_ACCESS_TOKEN")
UMASK = 0o022  # files that are not for others have a mode of their own


def built(of: Mapping[str, str] | None = None, *, reaches_out: bool = False) -> dict[str, str]:
    """The environment of a child. One that `reaches_out` gets what leads to package registries,
    too: proxies, indexes, certificates."""
    given = os.environ if of is None else of
    if reaches_out:
        return {**given, **WORDS}
    kept = {name: value for name, value in given.items() if name in KEPT or name.startswith(KEPT_PREFIXES)}
    return {"PATH": os.defpath, **kept, **WORDS}
