"""What every room keeps to. Each failure lists file, line and what to do about it."""

from __future__ import annotations

import ast
import re
from typing import Any

import pytest
import yaml

from tests.repo import charts, files, names, tasks
from tests.repo.charts import ROOT

MOST_LINES = 400
#: A row for each clause of the contract: one table, however many there are.
TABLES = {ROOT / "validate/report/register/tests.yaml"}
# design.md, section 3; a further folder needs a record in docs/adr that names it.
ROOMS = {".ci", "bundle", "components", "docs", "inventories", "playbooks", "roles", "stacks", "tests", "validate"}


def relative(found: list[str]) -> str:
    return "\n  ".join(["", *found])


def test_no_registry_is_named() -> None:
    found = files.places(files.registries(), files.texts())
    assert not found, f"name packages, not the hosts that serve them:{relative(found)}"


def test_nothing_names_a_place_of_one_machine() -> None:
    here = [f"/work/{name}" for name in ("main", "shared", ".library")]
    here += ["/tmp/" + "team", "/root/" + ".pyenv"]
    found = [
        f"{file.relative_to(ROOT)}: {place}"
        for file, text in files.texts()
        for place in here
        if place in text and file.name != "test_house_rules.py"
    ]
    assert not found, f"these exist on one machine only:{relative(found)}"


def test_files_are_short() -> None:
    counted = {file: text.count("\n") for file, text in files.written() if file not in TABLES}
    found = [f"{file.relative_to(ROOT)}: {lines} lines" for file, lines in counted.items() if lines > MOST_LINES]
    assert not found, f"at most {MOST_LINES} lines; split by what it is about:{relative(found)}"


def pinned_versions() -> set[str]:
    """Versions of versions.yaml that are long enough to be nothing else."""
    text = (ROOT / "versions.yaml").read_text()
    numbers = re.findall(r"\bv?(\d+\.\d+\.\d+(?:-[\w.]+)?)\b", text)
    return {*numbers, *(f"v{number}" for number in numbers)}


def test_a_version_stands_in_versions_yaml_only() -> None:
    elsewhere = [
        (file, text)
        for file, text in files.written()
        if file.name not in {"versions.yaml", "pyproject.toml", "pom.xml"}
        and file.relative_to(ROOT).parts[0] not in {"docs", "tests"}
        and file.suffix != ".md"
    ]
    found = files.places(pinned_versions(), elsewhere)
    assert not found, f"read it from versions.yaml or the manifest instead:{relative(found)}"


def test_each_folder_is_known() -> None:
    tops = {file.relative_to(ROOT).parts[0] for file in files.files() if len(file.relative_to(ROOT).parts) > 1}
    records = "\n".join(file.read_text() for file in ROOT.glob("docs/adr/*.md"))
    found = [top for top in sorted(tops - ROOMS) if f"`{top}/`" not in records]
    assert not found, f"a new folder needs a record in docs/adr that names it:{relative(found)}"


def test_each_test_is_run_by_a_target() -> None:
    """`make` gives pytest one folder at a time: of what stands elsewhere, or lacks its folder's mark, nobody hears."""
    found = []
    for file in sorted((ROOT / "tests").rglob("test_*.py")):
        folder = file.relative_to(ROOT / "tests").parts[0]
        marked = re.search(rf"^pytestmark = [^=]*\bpytest\.mark\.{folder}\b", file.read_text(), re.MULTILINE)
        if folder not in {"unit", "repo"} and not marked:
            found.append(str(file.relative_to(ROOT)))
    assert not found, f"move it to tests/unit, or say `pytestmark = pytest.mark.<folder>`:{relative(found)}"


def test_each_chart_reaches_the_library_by_a_link() -> None:
    found = []
    for chart in charts.charts():
        link = chart / "charts" / "kit"
        if chart.parent.name == "kit":
            continue
        target = link.readlink().as_posix() if link.is_symlink() else "no link"
        if target != "../../../kit/chart":
            found.append(f"{link.relative_to(ROOT)}: {target}")
    assert not found, f"ln -s ../../../kit/chart:{relative(found)}"


def test_charts_hold_nothing_that_pulumi_and_helm_render_differently() -> None:
    found = [fault for chart in charts.charts() for fault in charts.faults(chart)]
    assert not found, relative(found)


def test_a_task_that_writes_does_not_claim_to_change_nothing() -> None:
    found = [
        f"{file.relative_to(ROOT)}: '{task.get('name')}': {why}"
        for file in tasks.task_files()
        for task in tasks.tasks(file)
        if (why := tasks.hides_a_write(task))
    ]
    assert not found, f"changed_when: false only on what looks:{relative(found)}"


def test_errors_are_never_ignored_and_a_shell_says_why() -> None:
    found = []
    for file in tasks.task_files():
        for task in tasks.tasks(file):
            if "ignore_errors" in task:
                found.append(f"{file.relative_to(ROOT)}: '{task.get('name')}': ignore_errors")
            if tasks.module(task) == "shell" and "(" not in str(task.get("name")):
                name = task.get("name")
                found.append(f"{file.relative_to(ROOT)}: '{name}': shell without a (reason)")
    assert not found, relative(found)


@pytest.mark.parametrize(
    "task",
    [
        {"name": "x", "ansible.builtin.copy": {"dest": "/a"}, "changed_when": False},
        {"name": "x", "ansible.builtin.command": "rm -rf /a", "changed_when": False},
        {"name": "x", "command": {"argv": ["kubectl", "delete", "x"]}, "changed_when": False},
        {"name": "x", "shell": "date > /etc/when", "changed_when": False},
        {"name": "x", "template": {"dest": "/a"}, "changed_when": False},
    ],
)
def test_the_check_sees_a_hidden_write(task: dict[str, Any]) -> None:
    assert tasks.hides_a_write(task)


@pytest.mark.parametrize(
    "task",
    [
        {"name": "x", "ansible.builtin.copy": {"dest": "/a"}},
        {"name": "x", "command": "kubectl get nodes -o json", "changed_when": False},
        {"name": "x", "command": "kubectl auth can-i create pods", "changed_when": False},
        {"name": "x", "ansible.builtin.stat": {"path": "/a"}, "changed_when": False},
        {"name": "x", "command": "kubectl delete x", "changed_when": "'deleted' in out.stdout"},
    ],
)
def test_the_check_lets_honest_tasks_pass(task: dict[str, Any]) -> None:
    assert tasks.hides_a_write(task) is None


def test_tasks_in_blocks_and_plays_are_seen() -> None:
    text = """
    - hosts: all
      tasks:
        - name: outer
          block:
            - name: inner
              ansible.builtin.copy: {dest: /a}
              changed_when: false
    """
    (task,) = tasks.walk(yaml.safe_load(text))
    assert tasks.module(task) == "copy"


def test_what_a_module_keeps_to_itself_is_not_taken_from_it() -> None:
    found = [
        f"{file.relative_to(ROOT)}:{line}: {name}"
        for file, tree in names.modules()
        for line, name in names.used_outside(tree)
    ]
    assert not found, f"give it a public name, or ask for what it does:{relative(found)}"


def test_kubectl_is_called_in_one_place() -> None:
    """What runs on the hosts themselves (playbooks/) has that host's own."""
    found = [
        f"{file.relative_to(ROOT)}:{line}"
        for file, tree in names.modules()
        if file.relative_to(ROOT).parts[0] not in {"common", "playbooks", "tests"}
        for line in names.words(tree, "kubectl")
    ]
    assert not found, f"common/kubectl.py starts it:{relative(found)}"


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("from road import lock\nlock._who()", ["lock._who"]),
        ("from road.lock import _who as who\nwho()", ["road.lock._who"]),
        ("import road.lock as one\none._who()", ["one._who"]),
        ("from road import lock\nlock.who(); lock.__name__", []),
        ("import os\nos._exit(1)", []),
        ("class A:\n    def f(self):\n        return self._x", []),
    ],
)
def test_a_private_name_is_seen_where_it_is_taken(source: str, found: list[str]) -> None:
    assert [name for _, name in names.used_outside(ast.parse(source))] == found
