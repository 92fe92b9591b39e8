"""A service of the machine that is stopped for a while."""

from __future__ import annotations

import shlex

from validate.suites.chaos.envelope import Injection


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
    if not undo:
        return Injection(kind, _quoted(apply))
    begun = '[ -e "$DIR/begun" ] || return 0'  # else the undo would wait for what never came
    return Injection(kind, f': >"$DIR/begun"\n{_quoted(apply)}', f"{begun}\n{_quoted(undo)}", SLOW)


#: A machine that boots takes minutes.
SLOW = 660.0


def _quoted(words: list[str]) -> str:
    return " ".join(shlex.quote(word) for word in words)
