"""No field of no room takes what a rendered object may not hold without saying so in words."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel

from components.kit.discovery import rooms
from components.kit.loading import SiteSettings, load
from components.kit.mistakes import SettingsError
from components.kit.settings import ComponentSettings
from tests.mutants import HOSTILE, changed, free_texts, inherited, mutants, places

MODELS: dict[str, type[ComponentSettings]] = {r.name: r.settings_class() for r in rooms()}


def common(model: type[ComponentSettings]) -> set[str]:
    return inherited(model, ComponentSettings)


def refusal(name: str, model: type[ComponentSettings], config: Any) -> SettingsError | None:
    try:
        load(f"x-{model.layer}", {"apadana:site": "x", f"apadana:{name}": config}, {name: model})
    except SettingsError as error:
        return error
    return None


def assert_told(error: SettingsError, name: str) -> None:
    for mistake in error.mistakes:
        assert mistake.key.split(".")[0] == name, mistake
        assert all((mistake.seen, mistake.allowed, mistake.action, mistake.file)), mistake
        assert mistake.text().isascii() or mistake.seen.isprintable(), mistake
        assert "match pattern" not in mistake.allowed, f"say it in words: {mistake}"


@pytest.mark.parametrize("room", sorted(MODELS))
def test_what_is_refused_is_told_with_key_value_allowed_and_action(room: str) -> None:
    refusals = 0
    for mutant in mutants(MODELS[room], leave_out=common(MODELS[room])):
        error = refusal(room, MODELS[room], mutant.config)
        if error is not None:
            assert_told(error, room)
            refusals += 1
    fields = {path[0] for path in places(MODELS[room])} - common(MODELS[room])
    assert refusals > len(fields) * len(HOSTILE) // 2


def test_what_every_room_has_is_refused_alike() -> None:
    for mutant in mutants(ComponentSettings):
        error = refusal("kit", ComponentSettings, mutant.config)
        if error is not None:
            assert_told(error, "kit")


def test_the_sites_own_keys_are_told_too() -> None:
    for path in places(SiteSettings):
        for value in HOSTILE:
            config = changed(SiteSettings, path, value)
            given = {f"apadana:{key}": each for key, each in config.items()}
            try:
                load("x-data", given, {})
            except SettingsError as error:
                assert_told(error, str(path[0]))


@pytest.mark.parametrize("model", [SiteSettings, *MODELS.values()], ids=lambda m: m.__module__)
def test_no_setting_is_a_free_text(model: type[BaseModel]) -> None:
    """With a type of kit/syntax.py, `Name` or a list of words a wrong one can be told."""
    free = [".".join(map(str, path)) for path in free_texts(model)]
    assert not free, f"give these a type of kit/syntax.py: {', '.join(free)}"
