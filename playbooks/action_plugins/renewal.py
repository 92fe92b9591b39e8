"""What was asked of playbooks/renew.yml, and its plan: without `seen` the words of the command line are judged, with it
(what each control plane reported) the plan is made. Rules: playbooks/rules/renewal.py.
"""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase

sys.path.append(str(Path(__file__).resolve().parents[2]))

from playbooks.rules import renewal
from playbooks.rules.telling import refused


class ActionModule(ActionBase):
    """`renewal: {days: 90, all: false}`, then `renewal: {seen: {HOST: ...}, become: {HOST: member}}`."""

    _requires_connection = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        given = self._task.args
        if "seen" not in given:
            asked, faults = renewal.asked(given["days"], given["all"])
            return refused(result, faults, asdict(asked))
        refusals = renewal.strangers(given["become"], given["seen"])
        plan = renewal.plan(given["seen"])
        return refused(result, [*refusals, *plan.refusals], asdict(plan))
