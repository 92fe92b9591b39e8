"""The page of settings: made from the models, so it must be current."""

from __future__ import annotations

import pytest

from components.kit import reference
from components.kit.discovery import rooms


@pytest.fixture(scope="module")
def page() -> str:
    return reference.text()


def test_the_page_is_current(page: str) -> None:
    assert reference.TARGET.read_text(encoding="utf-8") == page, "run: python -m components.kit.reference"


def test_every_room_and_what_its_comments_say_is_there(page: str) -> None:
    for room in rooms():
        assert f"## {room.name} (layer {room.settings_class().layer})" in page
    assert "| `epoch` | integer, 1 to 10000 | `1` | generation of derived passwords |" in page
    assert "| `pools.<name>.nodes` | list of: text | needed |" in page
