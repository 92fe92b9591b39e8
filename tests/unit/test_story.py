"""The story on the rooms: what it sends, and that each sabotage is told at its link, without a platform."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.feast import settings as feast
from components.feast.image.apadana_feast import definitions
from components.kit.probing import Check, Verdict
from components.streaming.worker import page, records
from problems.machines import features, problem
from tests.storied import STORY, Memory, Row
from validate.core import causes
from validate.core.errors import ValidateError
from validate.pod.integration.records import SENTINEL
from validate.pod.story import records as told
from validate.pod.story.records import ASKED, FIRST, KINDS, LEARNT, SECOND, WORN, Story
from validate.suites.story import chain, links
from validate.suites.story.chain import Found, RoomError

VIEWS = records.views(feast.opened(definitions.read(feast.files(feast.Settings()))))


def run(rooms: Memory) -> dict[str, Check]:
    found: list[Check] = []
    chain.run(rooms, rooms.story, lambda _: None, found.append)
    assert [each.name for each in found if each.name != links.CLEAN] == links.names()[:-1], "each link once, in order"
    return {each.name: each for each in found}


def failed(checks: Mapping[str, Check]) -> dict[str, str]:
    """Link and cause."""
    return {name: each.evidence["cause"] for name, each in checks.items() if each.verdict is Verdict.FAIL}


def invalid(checks: Mapping[str, Check]) -> list[str]:
    return [name for name, each in checks.items() if each.verdict is Verdict.INVALID]


def behind(link: str) -> list[str]:
    """All that comes later, but for the end."""
    names = links.names()
    return names[names.index(link) + 1 : -1]


def test_sound_rooms_pass_and_the_changed_segment_alone_changes() -> None:
    rooms = Memory()
    found: list[Check] = []
    tables = chain.run(rooms, rooms.story, lambda _: None, found.append)
    assert {each.name: each.verdict for each in found} == dict.fromkeys(links.names(), Verdict.PASS)
    (table,) = tables
    assert len(table.rows) == len(KINDS)
    for kind, says, was, old, now in table.rows:
        assert (says, was, old, now) == (
            ("the opposite", "100%", "0%", "100%") if kind == SENTINEL else ("the same", "100%", "100%", "100%")
        )


def moment() -> str:
    return datetime.now(UTC).isoformat()


@given(st.integers(0, 10**6), st.sampled_from([FIRST, SECOND]))
def test_every_record_is_one_that_the_stream_takes_and_every_altered_one_is_not(seed: int, delivery: str) -> None:
    story, stamp = Story("a1", seed, 2, 2), round(datetime.now(UTC).timestamp() * 1000)
    ids = []
    for key, record in story.sent(delivery, moment()):
        message = records.Message(0, 1, stamp, key.encode(), json.dumps(record).encode())
        if key in story.altered():
            with pytest.raises(records.BrokenError):
                records.judge(message, VIEWS)
        else:
            assert records.judge(message, VIEWS).values == story.known(delivery)[key]
        assert page.ENTITY.fullmatch(key), "the room streaming forgets it for us"
        ids.append(record["id"])
    assert len(set(ids)) == len(ids)


@given(st.integers(0, 10**6))
def test_the_same_seed_says_the_same_and_presses_alone_turn_round(seed: int) -> None:
    story = Story("a1", seed, 4, 4)
    assert story.known(FIRST) == Story("a1", seed, 4, 4).known(FIRST)
    assert story.values(ASKED, FIRST) == story.values(ASKED, SECOND), "the same questions"
    was, now = story.values(LEARNT, FIRST), story.values(LEARNT, SECOND)
    assert all(was[key] != now[key] for key in was), "no row is as before"
    turned = {
        kind for kind, a, b in zip(story.kinds(), story.truths(FIRST), story.truths(SECOND), strict=True) if a != b
    }
    assert turned == {SENTINEL}
    for values in (was, now):
        for kind in range(len(KINDS)):
            of_kind = [word for number, _, word in values.values() if number == kind]
            assert of_kind.count(WORN) * 2 == len(of_kind), "as many worn of each kind"


def test_the_problem_reads_what_the_story_sends() -> None:
    assert problem.keys(problem.given({"machines": STORY.begin(LEARNT), "count": STORY.count(LEARNT)})) == STORY.keys(
        LEARNT
    )
    assert (features.VIEW.name, features.VIEW.key, tuple(features.COLUMNS)) == (told.VIEW, told.KEY, told.FEATURES)
    assert features.WORN == WORN


class Lossy(Memory):
    """A record that was acknowledged comes nowhere."""

    def arrive(self, key: str, row: Row) -> None:
        if not key.endswith("-7"):
            super().arrive(key, row)


class Unwritten(Memory):
    """Kafka does not acknowledge everything."""

    def send(self, delivery: str) -> Found:
        found = super().send(delivery)
        return {**found, "acknowledged": found["acknowledged"] - 3, "refused": ["timed out"]}


class Swapped(Memory):
    """Of two machines the online store has the other one's features."""

    def arrive(self, key: str, row: Row) -> None:
        super().arrive(key, row)
        if key in (self.story.keys(ASKED)[0], self.story.keys(ASKED)[6]):
            other = self.story.known(FIRST)[self.story.keys(ASKED)[6 if key.endswith("-0") else 0]]
            self.online[key] = list(other)


class Frozen(Memory):
    """What comes later replaces nothing online."""

    def arrive(self, key: str, row: Row) -> None:
        self.offline[key] = row
        self.online.setdefault(key, row)


class Credulous(Memory):
    """Takes a record that nobody can read."""

    def send(self, delivery: str) -> Found:
        self.offline[self.story.altered()[0]] = [1, 1.5, None]
        return super().send(delivery)


class LooksUpOthers(Memory):
    """The stores are right, and the model server asks for another machine."""

    def row(self, key: str) -> Row:
        keys = self.story.keys(ASKED)
        return self.online[keys[(keys.index(key) + len(KINDS)) % len(keys)]]


class FailsAGate(Memory):
    """The workflow ends without a version."""

    def train(self) -> Found:
        return {**super().train(), "version": "", "phase": "Failed", "said": "gate completeness is 0.5"}


class NotTrained(Memory):
    """The second run registers nothing, and the first version is told again."""

    def train(self) -> Found:
        return {**super().train(), "version": "1", "of_run": "machines-1"} if self.versions else super().train()


class OldData(Memory):
    """Every training sees the first delivery."""

    def records(self) -> list[dict[str, Any]]:
        if self.versions:
            found: list[dict[str, Any]] = self.versions[0]["records"]
            return found
        return super().records()


class OldDataUnderNewNames(OldData):
    """The same, and all that is told of it is right: records, digests, run."""

    def train(self) -> Found:
        records = Memory.records(self)
        return self.register(records, self.versions[0]["model"]) if self.versions else super().train()


class AlteredRecords(Memory):
    """What is kept of a version is not what it names."""

    def register(self, records: list[dict[str, Any]], model: Any) -> Found:
        return {**super().register(records, model), "kept": "0" * 64}


class OtherRecords(Memory):
    """One record that was trained on is another one."""

    def records(self) -> list[dict[str, Any]]:
        first, *rest = super().records()
        return [{**first, "share": 0.999}, *rest]


class NeverTakesOver(Memory):
    """The old version keeps answering."""

    def exchange(self, version: str, old: str) -> tuple[Found, Found]:
        served = {**self.serve(version)}
        self.serving = self.versions[0]
        return {"versions": [old], "asked": 9, "failed": 0, "examples": [], "seconds": 240.0}, served


class GoesBack(Memory):
    """The new version answers for a while, then the old one again."""

    def exchange(self, version: str, old: str) -> tuple[Found, Found]:
        found = super().exchange(version, old)
        self.serving = self.versions[0]
        return found


class NewNameOldModel(Memory):
    """Answers name the new version and are the old one's."""

    def serve(self, version: str) -> Found:
        found = super().serve(version)
        self.serving = {**self.serving, "model": self.versions[0]["model"]}
        return found


class Drops(Memory):
    """A question is lost while the versions are exchanged."""

    def exchange(self, version: str, old: str) -> tuple[Found, Found]:
        found, served = super().exchange(version, old)
        return {**found, "failed": 1, "examples": ["0.3 s: 503 no healthy upstream"]}, served


class MovesEverybody(Memory):
    """The second model is another one for everybody."""

    def records(self) -> list[dict[str, Any]]:
        found = super().records()
        if self.versions:
            for each in found:
                each["word"] = "well" if each["share"] > 0.5 else "worn"
        return found

    def register(self, records: list[dict[str, Any]], model: Any) -> Found:
        return super().register(Memory.records(self), model)


class Forgetful(Memory):
    """Outcomes loses what was answered."""

    def note(self, name: str, answers: list[int]) -> None:
        super().note(name, [] if name.endswith("-2") else answers)


class Miscounts(Memory):
    """Outcomes counts one error less."""

    def tell(self, when: str, actual: Any) -> Found:
        found = super().tell(when, actual)
        for each in found["figures"]:
            each["wrong"] = max(0, each["wrong"] - 1)
        return found


class AnotherLineage(Memory):
    """The version that answers is not of the run that was begun last."""

    def trace(self, answered: str) -> Found:
        return {**super().trace(answered), "of_run": "machines-0"}


class Keeps(Memory):
    """Something is left."""

    def clean(self) -> Mapping[str, int]:
        return {**super().clean(), "online": 2}


def first(link: str) -> str:
    return links.of(FIRST, link)


def second(link: str) -> str:
    return links.of(SECOND, link)


@pytest.mark.parametrize(
    ("kind", "wanted"),
    [
        (Unwritten, {first(links.IN_LOG): causes.ERRORS}),
        (Lossy, {first(links.OFFLINE): causes.LOST_WRITES}),
        (Swapped, {first(links.ONLINE): causes.FEATURE_SKEW}),
        (Frozen, {second(links.ONLINE): causes.STALE_READS}),
        (FailsAGate, {links.FIRST_TRAINING: causes.ERRORS}),
        (AlteredRecords, {links.FIRST_TRAINING: causes.CORRUPT_DATA}),
        (OtherRecords, {links.FIRST_TRAINING: causes.CORRUPT_DATA}),
        (LooksUpOthers, {links.FIRST_ANSWERS: causes.WRONG_ANSWERS}),
        (NotTrained, {links.RETRAINING: causes.STALE_MODEL}),
        (OldData, {links.RETRAINING: causes.STALE_MODEL}),
        (NeverTakesOver, {links.TAKEN_OVER: causes.STALE_MODEL}),
        (Drops, {links.TAKEN_OVER: causes.ERRORS}),
    ],
)
def test_a_broken_link_is_told_with_its_cause_and_what_stands_on_it_is_not_judged(
    kind: type[Memory], wanted: dict[str, str]
) -> None:
    rooms = kind()
    found = run(rooms)
    (link,) = wanted
    assert failed(found) == wanted
    assert invalid(found) == behind(link)
    assert rooms.cleaned and found[links.CLEAN].verdict is Verdict.PASS


@pytest.mark.parametrize(
    ("kind", "wanted"),
    [
        (Credulous, {first(links.ASIDE): causes.BAD_INPUT, second(links.ASIDE): causes.BAD_INPUT}),
        (OldDataUnderNewNames, {links.CHANGED: causes.STALE_MODEL}),
        (NewNameOldModel, {links.CHANGED: causes.STALE_MODEL}),
        (GoesBack, {links.CHANGED: causes.STALE_MODEL, links.LINEAGE: causes.STALE_MODEL}),
        (MovesEverybody, {links.STAYED: causes.WRONG_ANSWERS}),
        (Forgetful, {links.FIRST_OUTCOMES: causes.LOST_WRITES, links.CONTRADICTED: causes.LOST_WRITES}),
        (Miscounts, {links.CONTRADICTED: causes.CORRUPT_DATA}),
        (AnotherLineage, {links.LINEAGE: causes.CORRUPT_DATA}),
        (Keeps, {links.CLEAN: causes.LEFT_BEHIND}),
    ],
)
def test_what_bears_nothing_is_told_alone(kind: type[Memory], wanted: dict[str, str]) -> None:
    found = run(kind())
    assert failed(found) == wanted
    assert invalid(found) == []


class Away(Memory):
    """A room refuses, or we do."""

    error: type[ValidateError] = RoomError

    def ask(self, by: str, when: str = "") -> Found:
        del by, when
        raise self.error("ask: question 3: 503")


class OurFault(Away):
    """Of the controlling machine."""

    error = ValidateError


@pytest.mark.parametrize(("kind", "verdict"), [(Away, Verdict.FAIL), (OurFault, Verdict.INVALID)])
def test_a_room_that_says_no_has_failed_and_we_have_not_judged(kind: type[Memory], verdict: Verdict) -> None:
    rooms = kind()
    found = run(rooms)
    assert (found[links.FIRST_ANSWERS].verdict, found[links.FIRST_ANSWERS].detail) == (verdict, "ask: question 3: 503")
    assert set(invalid(found)) >= set(behind(links.FIRST_ANSWERS)) and rooms.cleaned


class CannotClean(Memory):
    """Nobody answers at the end."""

    def clean(self) -> Mapping[str, int]:
        raise RoomError("forget_features: 503")


def test_what_could_not_be_taken_away_is_said() -> None:
    (end,) = [each for each in run(CannotClean()).values() if each.verdict is not Verdict.PASS]
    assert (end.name, end.verdict) == (links.CLEAN, Verdict.INVALID)
    assert "forget_features: 503" in end.detail


def test_links_have_names_of_their_own() -> None:
    assert len(set(links.names())) == len(links.names()) == 19
    assert set(links.names()) >= links.BEARING
