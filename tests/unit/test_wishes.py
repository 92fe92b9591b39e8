"""The stacks' claims against an inventory, as the playbooks ask before they change a host."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from common.places import REPOSITORY
from playbooks.rules import wishes


@pytest.fixture
def inventory(tmp_path: Path) -> Path:
    return Path(shutil.copytree(REPOSITORY / "inventories" / "lab", tmp_path / "lab"))


def without(inventory: Path, *volumes: str) -> None:
    file = inventory / "hosts.yml"
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join(line for line in lines if not any(f"name: {name}," in line for name in volumes)))


def test_every_volume_that_lacks_is_told_before_a_host_is_changed(inventory: Path, tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    assert wishes.wish_faults("lab", inventory, state) == []
    without(inventory, "postgres", "kafka", "prometheus")
    told = wishes.wish_faults("lab", inventory, state)
    told.sort()
    assert [words.splitlines()[0] for words in told] == [
        f"apadana:{room}.storage.size_gib" for room in ("kafka", "postgres", "prometheus")
    ]
    assert "- {name: postgres, class: ssd, size_gib: 3}" in told[1] and "(cp1, cp2, cp3)" in told[1]


def test_what_fitted_is_not_read_again(inventory: Path, tmp_path: Path) -> None:
    assert wishes.wish_faults("lab", inventory, tmp_path / "none") == []
    assert not (tmp_path / "none").exists(), "a look makes no state"
    assert wishes.wish_faults("lab", inventory, tmp_path) == []
    written = (tmp_path / wishes.MARK).stat().st_mtime_ns
    assert wishes.wish_faults("lab", inventory, tmp_path) == []
    assert (tmp_path / wishes.MARK).stat().st_mtime_ns == written
    (inventory / "host_vars").mkdir()
    (inventory / "host_vars" / "cp1.yml").write_text("storage_volumes: []\n")
    assert len(wishes.wish_faults("lab", inventory, tmp_path)) >= 4


def test_a_site_without_stacks_asks_for_nothing(inventory: Path, tmp_path: Path) -> None:
    assert wishes.wish_faults("other", inventory, tmp_path) == []
    assert wishes.wish_faults("lab", tmp_path / "nowhere", tmp_path) == []
