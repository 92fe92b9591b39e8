"""Renders the wanted state of roles and gives it to the module of the same name in one task.

A role states what it wants of a host in `state.yml` (its defaults and the inventory's variables are
known there); `template: x.j2` stands for the rendered template of that role, `source: path` for a
file of this machine. A matching host then costs one task for all roles together.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.template import trust_as_template


class ActionModule(ActionBase):
    """`observed_state: {roles: [base, containerd], state: report}`"""

    _requires_connection = True
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        variables = dict(task_vars or {})
        roles = self._task.args.get("roles") or []
        if not roles:
            raise AnsibleActionFail("observed_state: `roles` is empty; name at least one role")
        folder = Path(self._loader.get_basedir())
        wanted = {name: self.wanted(self.role_folder(folder, name), variables) for name in roles}
        arguments = {"state": self._task.args.get("state", "report"), "wanted": wanted}
        result.update(self._execute_module(module_name="observed_state", module_args=arguments, task_vars=task_vars))
        # Other hosts are told of them: the first control plane's are those of the cluster.
        entries = [entry for state in wanted.values() for entry in state.get("settings") or []]
        result["settings"] = {entry["path"]: entry["content"] for entry in entries}
        # It holds the contents of files, and some of them are keys.
        result.pop("invocation", None)
        return result

    @staticmethod
    def role_folder(start: Path, name: str) -> Path:
        for folder in (start, *start.parents):
            if (folder / "roles" / name / "state.yml").exists():
                return folder / "roles" / name
        raise AnsibleActionFail(f"observed_state: no roles/{name}/state.yml beside {start}")

    def wanted(self, role: Path, variables: dict[str, Any]) -> dict[str, Any]:
        defaults = role / "defaults" / "main.yml"
        known = self._loader.load_from_file(str(defaults), trusted_as_template=True) or {}
        templates = [str(role / "templates")]  # of which one may include another
        templar = self._templar.copy_with_new_env(available_variables={**known, **variables}, searchpath=templates)
        raw = self._loader.load_from_file(str(role / "state.yml"), trusted_as_template=True)
        state: dict[str, Any] = templar.template(raw)
        # An entry of another group of hosts says so itself, so that a role is one list to read.
        for kind, entries in state.items():
            if isinstance(entries, list):
                state[kind] = [self.entry(e, role, templar) for e in entries if self.applies(e)]
        return state

    @staticmethod
    def applies(entry: Any) -> bool:
        return not isinstance(entry, dict) or bool(entry.get("when", True))

    @staticmethod
    def entry(entry: Any, role: Path, templar: Any) -> Any:
        if not isinstance(entry, dict):
            return entry
        known = {key: value for key, value in entry.items() if key not in ("when", "template", "source")}
        if "template" in entry:
            text = (role / "templates" / entry["template"]).read_text(encoding="utf-8")
            known["content"] = templar.template(trust_as_template(text), escape_backslashes=False)
        elif "source" in entry:
            known["content"] = Path(entry["source"]).read_text(encoding="utf-8")
        if "content" in known and not isinstance(known["content"], str):
            raise AnsibleActionFail(f"{entry['path']}: a template of {role.name} gave no text")
        return known
