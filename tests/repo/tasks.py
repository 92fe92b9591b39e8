"""Reads Ansible tasks out of files: blocks opened, one mapping for each task."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.repo.charts import ROOT

# Modules that only look. Whatever else says `changed_when: false` may hide a write.
LOOKING = {
    "assert",
    "debug",
    "fail",
    "meta",
    "pause",
    "stat",
    "slurp",
    "find",
    "setup",
    "ping",
    "uri",
    "wait_for",
    "wait_for_connection",
    "getent",
    "service_facts",
    "package_facts",
    "set_fact",
    "group_by",
    "add_host",
    "include_role",
    "include_tasks",
    "import_role",
    "import_tasks",
    "include_vars",
    "validate_argument_spec",
    "observed_state",
    "gather_facts",
}
RUNNING = {"command", "shell", "raw", "script", "expect"}
# Beside one of these a verb of the next list only asks: `auth can-i create`, `rollout status`.
READ_VERBS = {"can-i", "status", "history", "--dry-run=server", "--dry-run=client", "is-enabled"}
WRITE_VERBS = {
    "apply",
    "create",
    "delete",
    "patch",
    "replace",
    "rm",
    "remove",
    "add",
    "cp",
    "mv",
    "install",
    "init",
    "join",
    "reset",
    "start",
    "stop",
    "restart",
    "enable",
    "disable",
    "mount",
    "umount",
    "mkfs",
    "mkdir",
    "touch",
    "tee",
    "write",
    "set",
    "sed",
    "truncate",
    "label",
    "taint",
    "drain",
    "cordon",
    "uncordon",
    "annotate",
    "scale",
    "rollout",
    "promote",
    "update",
}
CONTROL = {
    "name",
    "when",
    "register",
    "loop",
    "vars",
    "tags",
    "become",
    "become_user",
    "changed_when",
    "failed_when",
    "notify",
    "delegate_to",
    "run_once",
    "check_mode",
    "until",
    "retries",
    "delay",
    "no_log",
    "environment",
    "loop_control",
    "args",
    "block",
    "rescue",
    "always",
    "throttle",
    "listen",
    "with_items",
    "with_dict",
    "ignore_errors",
    "any_errors_fatal",
    "delegate_facts",
    "connection",
    "async",
    "poll",
    "diff",
    "timeout",
    "ignore_unreachable",
    "module_defaults",
}


def task_files() -> list[Path]:
    found = [*ROOT.glob("roles/*/tasks/**/*.yml"), *ROOT.glob("roles/*/handlers/**/*.yml")]
    return sorted([*found, *ROOT.glob("playbooks/*.yml"), *ROOT.glob("playbooks/tasks/*.yml")])


def tasks(file: Path) -> Iterable[Mapping[str, Any]]:
    """Every task of a file, wherever in plays and blocks it stands."""
    yield from walk(yaml.safe_load(file.read_text()) or [])


def walk(items: Any) -> Iterable[Mapping[str, Any]]:
    for item in items if isinstance(items, list) else []:
        if not isinstance(item, Mapping):
            continue
        nested = [
            item[key]
            for key in ("block", "rescue", "always", "tasks", "pre_tasks", "post_tasks", "handlers")
            if key in item
        ]
        for inner in nested:
            yield from walk(inner)
        if not nested and "hosts" not in item:
            yield item


def module(task: Mapping[str, Any]) -> str:
    """The short name of the module that a task calls."""
    names = [str(key) for key in task if key not in CONTROL]
    return names[0].rpartition(".")[2] if names else ""


def words(task: Mapping[str, Any]) -> list[str]:
    """The words of a command task, whichever way they are written."""
    value = next((value for key, value in task.items() if key not in CONTROL), "")
    if isinstance(value, Mapping):
        value = value.get("argv") or value.get("cmd") or ""
    if isinstance(value, list):
        value = " ".join(map(str, value))
    return str(value).split()


def hides_a_write(task: Mapping[str, Any]) -> str | None:
    """Why a task that claims to change nothing is not believed; None when it is."""
    if task.get("changed_when") is not False:
        return None
    name = module(task)
    if name in RUNNING:
        spoken = [word.strip("'\"") for word in words(task)]
        writes = next((word for word in spoken if word in WRITE_VERBS), None)
        redirects = name == "shell" and any(word.startswith(">") for word in spoken)
        if (writes and not READ_VERBS.intersection(spoken)) or redirects:
            return f"{name} runs '{writes or '>'}'"
        return None
    return None if name in LOOKING or name.endswith("_info") else f"module {name} writes"
