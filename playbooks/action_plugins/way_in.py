"""A fresh login to a host whose firewall or sshd was just changed: it ends the way back that the host started
(module_utils/wayback.py). Where it fails, the host undoes the change by itself.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase

sys.path.append(str(Path(__file__).resolve().parents[2]))

from playbooks.rules.doors import Door, Seen, door, last_line, session

SECONDS = 60
CONFIRM = """
set -u
if [ -e /run/apadana/way-back/went-back ]; then echo late=yes; fi
if systemctl is-active --quiet apadana-way-back.service; then echo late=yes; fi
systemctl stop apadana-way-back.timer && rm -rf /run/apadana/way-back && echo confirmed=yes
"""


def fault(where: Door, seen: Seen, back_seconds: int) -> str:
    """Why the way in is none; "" where the fresh login came in and has ended the way back."""
    if seen.code:
        words = last_line(seen.error) or f"exit code {seen.code}"
        return (
            f"{where.where} lets nobody in any more with its new firewall and sshd ({words}). It goes back to the "
            f"former ones by itself within {back_seconds} s. Correct site_admin_networks, base_openings or the key "
            "that opens the host, wait for that, then run again"
        )
    if "late=yes" in seen.out.split():
        return (
            f"{where.where} had gone back to its former firewall and sshd before the fresh login came: more than "
            f"{back_seconds} s after the change. Run again"
        )
    if "confirmed=yes" not in seen.out.split():
        return f"{where.where}: the way back could not be ended: {last_line(seen.error) or 'no reason was given'}"
    return ""


class ActionModule(ActionBase):
    """`way_in: {back_seconds: 300}` for each host."""

    _requires_connection = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        variables = task_vars or {}
        name = variables["inventory_hostname"]
        where = door(name, variables["hostvars"][name])
        told = fault(where, session(where, CONFIRM, SECONDS), int(self._task.args["back_seconds"]))
        if told:
            result.update(failed=True, msg=told)
        return result
