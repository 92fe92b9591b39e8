"""An inventory is read as Ansible reads it; Ansible itself is asked."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from common import inventory
from common.places import REPOSITORY
from components.kit import machines
from road.place import place

FILES = {
    "hosts.yml": """
        all:
          vars: {a: all, b: all, c: all}
          hosts:
            lone: {c: own}
            one: {d: own, e: own}
          children:
            outer:
              vars: {b: outer, f: outer}
              children:
                inner:
                  vars: {f: inner}
                  hosts: {one: , two: {g: two}}
            beside:
              vars: {f: beside, h: beside}
              hosts: {one: , two: }
        zone:
          vars: {h: zone}
          hosts: {two: {g: two of zone}}
        inner:
          vars: {i: inner again}
    """,
    "group_vars/all/10.yml": "{a: file of all, f: file of all, volumes: [1]}",
    "group_vars/all/20.yaml": "{a: second file of all}",
    "group_vars/outer.yml": "{j: file of outer, c: file of outer}",
    "group_vars/inner/main.yml": "{j: file of inner, e: file of inner}",
    "group_vars/none.yml": "{a: of a group that is not there}",
    "host_vars/one.yml": "{d: file of one}",
    "host_vars/two/main.yml": "{volumes: [2, 3]}",
}


def _written(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder / "hosts.yml"


def _ansible(file: Path) -> dict[str, dict[str, object]]:
    program = Path(sys.executable).with_name("ansible-inventory")
    done = subprocess.run(
        [str(program), "-i", str(file), "--list"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        env={**os.environ, "LC_ALL": "C.UTF-8"},
        cwd=file.parent,  # no settings of this repository
    )
    found: dict[str, dict[str, object]] = json.loads(done.stdout)["_meta"]["hostvars"]
    return found


def _read(file: Path) -> dict[str, dict[str, object]]:
    found = inventory.read(file)
    assert found is not None
    hosts: dict[str, dict[str, object]] = found["all"]["hosts"]
    return hosts


def test_variables_are_those_that_ansible_gives(tmp_path: Path) -> None:
    file = _written(tmp_path, FILES)
    mine = _read(file)
    assert mine["two"]["volumes"] == [2, 3]
    assert mine == _ansible(file)


@pytest.mark.parametrize("site", ["lab", "stage", "production"])
def test_our_inventories_are_read_as_ansible_reads_them(site: str) -> None:
    file = REPOSITORY / "inventories" / site / "hosts.yml"
    assert _read(file) == _ansible(file)


def test_volumes_of_a_group_and_of_a_host_are_seen(tmp_path: Path) -> None:
    found = inventory.read(_written(tmp_path, FILES))
    assert found is not None
    assert machines.variables(found, "volumes") == {"lone": [1], "one": [1], "two": [2, 3]}
    assert machines.common(found, "a") == "second file of all"
    assert machines.hosts(found) == ["lone", "one", "two"]


def test_a_file_of_variables_of_another_form_is_told(tmp_path: Path) -> None:
    file = _written(tmp_path, {"hosts.yml": "all: {hosts: {a: }}", "group_vars/all.yml": "- a"})
    with pytest.raises(inventory.InventoryError, match=r"group_vars/all.yml must hold variables"):
        inventory.read(file)


@pytest.mark.parametrize(
    ("files", "lab", "constrained"),
    [
        ({}, False, False),
        ({"hosts.yml": "all: {hosts: {lab: }}"}, False, False),  # no name is a mark
        ({"hosts.yml": "all: {vars: {lab_name: a, site_constrained: true}}"}, True, True),
        ({"hosts.yml": "all: ", "group_vars/all/main.yml": "lab_name: a"}, True, False),
        ({"hosts.yml": "all: ", "group_vars/all.yml": "{lab_name: a, site_constrained: false}"}, True, False),
        ({"hosts.yml": "all: ", "group_vars/all/main.yml": "lab_name: "}, False, False),
        # A file's name is no mark, a mark of some hosts none of the site.
        ({"hosts.yml": "all: ", "group_vars/all/constrained.yml": "kubernetes_kubelet_flags: []"}, False, False),
        ({"hosts.yml": "all: {children: {gpu: {vars: {lab_name: a}, hosts: {g: }}}}"}, False, False),
    ],
)
def test_a_lab_is_one_where_its_inventory_says_so(
    tmp_path: Path, files: dict[str, str], *, lab: bool, constrained: bool
) -> None:
    _written(tmp_path, files)
    file = tmp_path / "hosts.yml"
    assert (inventory.is_lab(file), inventory.is_constrained(file)) == (lab, constrained)


@pytest.mark.parametrize("site", ["lab", "stage", "production", "elsewhere"])
def test_of_our_inventories_the_labs_alone_is_a_lab(site: str) -> None:
    lab = site == "lab"
    file = REPOSITORY / "inventories" / site / "hosts.yml"
    assert (inventory.is_lab(file), inventory.is_constrained(file)) == (lab, lab)
    assert place(site).is_lab is lab


def test_no_machine_is_taken_away_where_the_inventory_can_not_be_read(tmp_path: Path) -> None:
    file = _written(tmp_path, {"hosts.yml": "all: [", "group_vars/all/main.yml": "lab_name: a"})
    with pytest.raises(inventory.InventoryError, match="can't be read as YAML"):
        inventory.is_lab(file)
