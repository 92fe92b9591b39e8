"""A service of the machine that is stopped for a while."""

from __future__ import annotations

import shlex

from validate.chaos.envelope import Injection


def service_stop(unit: str) -> Injection:
    """Stopped by systemd; started again only if it ran before."""
    name = shlex.quote(unit)
    apply = f"""
systemctl is-active --quiet {name} || die "{unit} does not run here"
: >"$DIR/ran"
systemctl stop {name}
"""
    undo = f"""
[ -e "$DIR/ran" ] || return 0
systemctl start {name}
"""
    return Injection("service-stop", apply, undo)


def command(kind: str, apply: list[str], undo: list[str]) -> Injection:
    """A fault that another program plants and takes away (podman, kubectl, a BMC)."""
    return Injection(kind, _quoted(apply), _quoted(undo) if undo else ":")


def _quoted(words: list[str]) -> str:
    return " ".join(shlex.quote(word) for word in words)
