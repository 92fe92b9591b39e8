"""What was asked of playbooks/remove.yml, and its plan.

Without `seen` the words of the command line are judged; with it (what is on the host) the plan is made. The rules are
those of playbooks/rules/removal.py.
"""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase

sys.path.append(str(Path(__file__).resolve().parents[2]))

from playbooks.rules import removal
from playbooks.rules.telling import refused


class ActionModule(ActionBase):
    """`removal: {host: w4, confirm: w4, gone: false}`, then `{host: w4, gone: false, answers: true, seen: {...}}`."""

    _requires_connection = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        given = self._task.args
        groups = (task_vars or {})["groups"]
        planes, workers = (list(groups.get(name, [])) for name in ("control_plane", "workers"))
        if "seen" not in given:
            changes = not self._task.check_mode
            asked, faults = removal.asked(
                str(given["host"]), str(given["confirm"]), given["gone"], planes, workers, changes=changes
            )
            return refused(result, faults, asdict(asked))
        what = removal.Asked(str(given["host"]), bool(given["gone"]))
        plan = removal.plan(what, given["seen"], answers=bool(given["answers"]))
        return refused(result, plan.refusals, asdict(plan))
