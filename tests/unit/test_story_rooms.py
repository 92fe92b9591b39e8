"""How the story reaches the rooms of a site: the step, the pod's verbs, the commands, the end; without a site."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import chain as platforms
from tests.storied import STORY
from validate.core.errors import ValidateError
from validate.suites.story import suite
from validate.suites.story.chain import Found, RoomError
from validate.suites.story.rooms import SiteRooms


@pytest.mark.parametrize(("without", "only", "count"), [("", "", 1), ("outcomes", "", 0), ("", "kafka", 0)])
def test_the_step_is_offered_where_every_room_is(tmp_path: Path, without: str, only: str, count: int) -> None:
    there = {*suite.ASKED, *suite.REACHED} - {without}
    ground = platforms.ground(tmp_path, *sorted(there))
    chosen = [each for each in ground.site.platform.components if only in ("", each.name)]
    found = suite.steps(ground, chosen)  # type: ignore[arg-type]
    assert len(found) == count
    for step in found:
        assert (step.suite, step.harm, step.wish["learnt"]) == ("integration", "", 40)
    if count:
        log, *others = suite.components(ground.site.platform)
        assert log.secret_ref == "kafka-client-streaming"
        assert [each.name for each in others] == list(suite.ASKED[1:])


class Pod:
    """Says what it is told to say."""

    def __init__(self, *lines: dict[str, Any]) -> None:
        self.lines = lines

    def inside(self, *args: str, timeout: float) -> Iterator[dict[str, Any]]:
        del args, timeout
        yield from self.lines


class Typed(SiteRooms):
    """Commands and Kubernetes are not there; one part of the end may fail."""

    def __init__(self, folder: Path, *lines: dict[str, Any]) -> None:
        super().__init__(None, Pod(*lines), STORY, folder / "record.jsonl")  # type: ignore[arg-type]
        self.taken: list[str] = []

    def call(self, verb: str, **wish: Any) -> Found:
        self.taken.append(verb)
        if verb == "forget_questions":
            raise RoomError("forget_questions: 503")
        return {"offline": 0, "online": 0, "left": 0}

    def _retire(self) -> dict[str, int]:
        self.taken.append("retire")
        return {"release": 0}

    def _remove(self) -> dict[str, int]:
        self.taken.append("workflows")
        return {"workflows": 0}


def test_at_the_end_every_part_is_taken_away_whatever_becomes_of_another(tmp_path: Path) -> None:
    rooms = Typed(tmp_path)
    assert rooms.clean() == {"in the history": 0, "online": 0}, "nothing else was made"
    rooms.served, rooms.runs, rooms.taken = True, ["machines-1"], []
    with pytest.raises(ValidateError, match="forget_questions: 503"):
        rooms.clean()
    assert rooms.taken == ["retire", "forget_questions", "forget_features", "workflows", "forget_runs"]


@pytest.mark.parametrize(
    ("line", "error", "words"),
    [
        ({"kind": "story", "failed": "TimeoutError: late", "whose": "room"}, RoomError, "ask: TimeoutError: late"),
        ({"kind": "story", "failed": "KeyError: 'x'", "whose": "engine"}, ValidateError, "ask: KeyError"),
        ({"kind": "other"}, ValidateError, "ask: the pod said nothing"),
    ],
)
def test_a_verb_that_failed_says_whose_fault_it_is(
    tmp_path: Path, line: dict[str, Any], error: type[Exception], words: str
) -> None:
    rooms = SiteRooms(None, Pod(line), STORY, tmp_path / "record.jsonl")  # type: ignore[arg-type]
    with pytest.raises(ValidateError, match=words) as told:
        rooms.ask("key")
    assert type(told.value) is error
    assert json.loads(rooms.record.read_text())["verb"] == "ask", "what was asked and said is kept"


def test_a_command_that_fails_is_told_with_its_own_words(tmp_path: Path) -> None:
    rooms = SiteRooms(None, Pod(), STORY, tmp_path / "record.jsonl")  # type: ignore[arg-type]
    with pytest.raises(RoomError, match="there is no site 'nowhere'"):
        rooms.command("problems", "submit", "machines", "--stack", "nowhere")
