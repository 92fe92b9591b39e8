"""200 seeded mistakes in inventories and settings: each is refused with what to do, and nothing is
written. No lab is needed: what is asked here stands before every change (preflight, preview)."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.kit.mistakes import SettingsError
from stacks.composition import STACKS, compose, read
from tests import mutants, seeding
from tests.unit.test_settings_mutants import MODELS, refusal

pytestmark = pytest.mark.campaign
COUNT, SEED = 200, 16
LAYERS = ("cluster", "data", "observe", "ml")


@dataclass(frozen=True)
class Try:
    """One mistake: where it was made, and what is told of it."""

    what: str
    told: Callable[[], str]


def of_inventories(chance: random.Random) -> Iterator[Try]:
    """Each wrong value in a right inventory, in an order of chance."""
    for seed in chance.sample(seeding.WRONG, len(seeding.WRONG)):
        yield Try(f"inventory: {seed}", partial(_faults, seed))


def _faults(seed: seeding.Seed) -> str:
    found = seed.put(seeding.right()).faults()
    return "\n".join(fault for fault in found if seed.words in fault)


def of_settings(chance: random.Random) -> Iterator[Try]:
    """A hostile value for one key of a room, in the lab's own stack files. What the room alone lets
    pass is no mistake, so it is not tried."""
    rooms = [(name, model) for name, model in MODELS.items() if model.layer in LAYERS]
    while True:
        name, model = chance.choice(rooms)
        place = chance.choice(list(mutants.places(model)))
        config = mutants.changed(model, place, chance.choice(mutants.HOSTILE))
        if refusal(name, model, config) is not None:
            key = ".".join(map(str, place))
            yield Try(f"settings: {name}.{key}", partial(_refused, name, model, config))


def _refused(name: str, model: Any, config: Any) -> str:
    given = {layer: copy.deepcopy(read("lab", layer)) for layer in LAYERS}
    given[model.layer][f"apadana:{name}"] = config
    try:
        compose("lab", given)
    except SettingsError as error:
        mine = [mistake for mistake in error.mistakes if mistake.key.split(".")[0] == name]
        assert all((each.seen, each.allowed, each.action, each.file) for each in mine)
        return "\n".join(each.text() for each in mine)
    return ""


def snapshot() -> dict[str, float]:
    """Times of all files that a change would touch."""
    folders = (STACKS, STACKS.parent / "inventories")
    files: list[Path] = [path for folder in folders for path in folder.rglob("*.y*ml")]
    return {str(path): path.stat().st_mtime for path in files}


def test_200_seeded_mistakes_are_refused_before_anything_is_changed() -> None:
    chance = random.Random(SEED)  # the same ones each time
    inventories = list(of_inventories(chance))[: COUNT // 2]
    settings = of_settings(chance)
    tries = [*inventories, *(next(settings) for _ in range(COUNT - len(inventories)))]
    before = snapshot()
    passed = [each.what for each in tries if not each.told()]
    assert len(tries) == COUNT
    assert not passed, f"{len(passed)} of {COUNT} were let pass: {passed}"
    assert snapshot() == before
    print(f"\n{COUNT} of {COUNT} mistakes refused, {len(inventories)} of them in inventories")


def test_the_lab_as_it_is_committed_passes() -> None:
    assert compose("lab").rooms
    assert yaml.safe_load((STACKS.parent / "inventories/lab/hosts.yml").read_text())
