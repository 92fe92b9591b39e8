"""`python -m stacks.models` without a cluster: the wish that a verb makes, and what `explain` says of a judged one."""

from __future__ import annotations

import json
import re
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import pytest

from components.models.judge import plain
from components.models.judge.state import Decision, State
from components.models.judge.words import JUDGEMENT, Phase, Verdict
from components.models.keeper.following import FOLLOWED
from components.models.keeper.sleep import Sleep, Stage
from components.models.keeper.wish import LABEL, STATE, WISH, BadWishError, Wish, read
from stacks import models, telling
from stacks.retiring import Copies
from stacks.wishes import TRIES, ConflictError, ModelsError, Wishes
from tests.unit.test_models_settings import site
from tests.unit.test_models_wish import BACKED, CANARY, FLOORED, FOLLOWS, JUDGED, STABLE, TOGETHER, WATCHED

SLEEPS = replace(STABLE, quiet=40)
PROMOTED = State(
    phase=Phase.PROMOTED,
    percent=100,
    waits=("for something",),
    decisions=(Decision(0.0, Verdict.PROMOTE, "judge", "iris-2: 50 % -> 100 %", "no worse", {}),),
)


class InMemory(Copies):
    """One release and no kubectl."""

    def __init__(self, wish: Wish, **data: str) -> None:
        self._namespace = "platform-work"
        metadata = {"name": "release-iris", "resourceVersion": "7", "labels": {LABEL: wish.name}}
        self.item: dict[str, Any] = {"metadata": metadata, "data": {WISH: wish.text(), **data}}

    def all(self) -> dict[str, dict[str, Any]]:
        return {"iris": self.item}

    def write(self, wish: Wish, before: Any) -> None:
        self.item = self.object(wish, before)

    def told(self) -> dict[str, Any]:
        return {"copies": [], "going": [], "obsolete": None}


def did(wishes: Copies, *words: str) -> list[str]:
    told = models.typed(["lab", *words])
    if told.verb == "explain":
        return list(telling.explained(site())(wishes, told))
    return list(models.change(wishes, told))


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (("canary", "iris", "models:/iris/2"), CANARY),
        (("canary", "iris", "models:/iris/2", "--percent", "3"), replace(CANARY, percent=3)),
        (("canary", "iris", "models:/iris/2", "--judge"), JUDGED),
        (("shadow", "iris", "models:/iris/2"), replace(CANARY, mode="shadow")),
        (("shadow", "iris", "models:/iris/2", "--judge", "--percent", "20"), replace(WATCHED, percent=20)),
        (
            ("shadow", "iris", "models:/iris/2", "--judge", "--disagree", "5", "--then-canary"),
            replace(WATCHED, disagree=5, then="canary"),
        ),
    ],
)
def test_a_verb_makes_a_wish(words: tuple[str, ...], wanted: Wish) -> None:
    # Whatever was wished for before.
    for before in (STABLE, JUDGED, replace(WATCHED, disagree=9, then="canary")):
        wishes = InMemory(before)
        (said,) = did(wishes, *words, "--by", "ann")
        assert read(wishes.item["data"][WISH], "iris") == replace(wanted, by="ann")
        assert ("is judged" in said) is wanted.judge


@pytest.mark.parametrize(
    ("words", "most"),
    [
        (("deploy", "iris", "models:/iris/2", "--most", "6"), 6),
        (("deploy", "iris", "models:/iris/2", "--most", "0"), 0),
        (("deploy", "iris", "models:/iris/2"), 4),
        (("canary", "iris", "models:/iris/2"), 4),
        (("shadow", "iris", "models:/iris/2", "--judge"), 4),
        (("promote", "iris"), 4),
        (("rollback", "iris"), 4),
    ],
)
def test_how_far_a_release_grows_holds_until_it_is_said_again(words: tuple[str, ...], most: int) -> None:
    wishes = InMemory(replace(CANARY, most=4))
    did(wishes, *words)
    assert read(wishes.item["data"][WISH], "iris").most == most


def test_what_is_followed_is_said_and_another_verb_goes_on_from_what_it_came_to_and_ends_it() -> None:
    wishes = InMemory(STABLE)
    (said,) = did(wishes, "follow", "iris", FOLLOWS.follow, "--by", "ann")
    assert said.endswith("models:/iris/1 answers, and what models:/iris@deployable comes to name is tried")
    wish = wishes.item["data"][WISH]
    assert read(wish, "iris") == replace(FOLLOWS, by="ann")
    now = replace(JUDGED, candidate="models:/iris/3", by="keeper", why="deployable names models:/iris/3")
    wishes.item["data"][FOLLOWED] = json.dumps({"of": wish, "wish": now.text()})
    told = did(wishes, "explain", "iris")
    assert told[0].startswith("wish      models:/iris/3 is judged beside models:/iris/1 (by keeper")
    assert told[1].startswith("follows   models:/iris@deployable")
    with pytest.raises(BadWishError, match=r"follow is .* with mode canary; allowed: with mode serve"):
        did(wishes, "follow", "iris", FOLLOWS.follow)
    did(wishes, "promote", "iris", "--by", "ann")
    assert read(wishes.item["data"][WISH], "iris") == replace(
        STABLE, stable="models:/iris/3", previous="models:/iris/1", by="ann"
    )


@pytest.mark.parametrize(
    ("before", "words", "floor"),
    [
        (STABLE, (), None),
        (STABLE, ("--floor", "0.8"), 0.8),
        (FLOORED, (), 0.8),
        (FLOORED, ("--floor", "0"), 0.0),
        (FLOORED, ("--floor", "none"), None),
    ],
)
def test_a_floor_stays_until_another_one_is_named(before: Wish, words: tuple[str, ...], floor: float | None) -> None:
    wishes = InMemory(replace(before, previous="models:/iris/0"))
    (said,) = did(wishes, "deploy", "iris", before.stable, *words)
    wish = read(wishes.item["data"][WISH], "iris")
    assert wish.floor == floor
    assert ("with a floor of" in said) is (floor is not None)
    # The same version with another floor is no version to come back from.
    assert wish.previous == "models:/iris/0"
    did(wishes, "canary", "iris", "models:/iris/2")
    assert read(wishes.item["data"][WISH], "iris").floor == floor


@pytest.mark.parametrize(
    ("before", "words", "beside"),
    [
        (STABLE, ("--beside", "wine=models:/wine/1", "--beside", "beer=models:/beer/2"), TOGETHER.beside),
        (TOGETHER, (), TOGETHER.beside),
        (TOGETHER, ("--beside", "wine=models:/wine/7"), {"wine": "models:/wine/7"}),
        (TOGETHER, ("--beside", "none"), {}),
    ],
)
def test_what_shares_the_pods_stays_until_others_are_named(
    before: Wish, words: tuple[str, ...], beside: dict[str, str]
) -> None:
    wishes = InMemory(before)
    (said,) = did(wishes, "deploy", "iris", "models:/iris/1", *words)
    assert read(wishes.item["data"][WISH], "iris").beside == beside
    assert ("in its pods" in said) is bool(beside)
    did(wishes, "canary", "iris", "models:/iris/2")
    assert read(wishes.item["data"][WISH], "iris").beside == beside
    addresses = [line for line in did(wishes, "explain", "iris") if line.startswith("address")]
    assert len(addresses) == 1 + len(beside)


def test_a_model_that_is_named_twice_or_without_a_version_is_refused() -> None:
    twice = ("--beside", "wine=models:/wine/1", "--beside", "wine=models:/wine/2")
    with pytest.raises(ModelsError, match="wine more than once"):
        did(InMemory(STABLE), "deploy", "iris", "models:/iris/1", *twice)
    with pytest.raises(BadWishError, match="beside has '' as 'wine'"):
        did(InMemory(STABLE), "deploy", "iris", "models:/iris/1", "--beside", "wine")


@pytest.mark.parametrize(
    ("before", "words", "missing"),
    [
        (STABLE, (), "refuse"),
        (STABLE, ("--missing", "default"), "default"),
        (replace(STABLE, missing="default"), (), "default"),
        (replace(STABLE, missing="default"), ("--missing", "refuse"), "refuse"),
    ],
)
def test_what_becomes_of_what_nobody_knows_stays_until_it_is_said_otherwise(
    before: Wish, words: tuple[str, ...], missing: str
) -> None:
    wishes = InMemory(before)
    (said,) = did(wishes, "deploy", "iris", before.stable, *words)
    assert read(wishes.item["data"][WISH], "iris").missing == missing
    assert ("with defaults for features" in said) is (missing == "default")


def test_a_floor_that_is_none_is_refused() -> None:
    with pytest.raises(BadWishError, match=r"floor is 80\.0; allowed: 0 to 1"):
        did(InMemory(STABLE), "deploy", "iris", "models:/iris/1", "--floor", "80")


def test_a_share_for_the_judge_is_refused() -> None:
    with pytest.raises(ModelsError, match=r"--percent 5 with --judge; allowed"):
        did(InMemory(STABLE), "canary", "iris", "models:/iris/2", "--judge", "--percent", "5")


def test_what_the_judge_promoted_is_not_pushed_away_by_another_candidate() -> None:
    wishes = InMemory(JUDGED, **{JUDGEMENT: plain.write(PROMOTED)})
    with pytest.raises(ModelsError, match="first: promote iris"):
        did(wishes, "canary", "iris", "models:/iris/3", "--judge")
    did(wishes, "promote", "iris", "--by", "ann")
    assert read(wishes.item["data"][WISH], "iris").stable == JUDGED.candidate
    did(wishes, "canary", "iris", "models:/iris/3", "--judge", "--by", "ann")
    assert read(wishes.item["data"][WISH], "iris").candidate == "models:/iris/3"


def test_explain_says_how_far_it_is_for_what_it_waits_and_what_was_decided() -> None:
    state = {STATE: json.dumps({"phase": "canary"}), JUDGEMENT: plain.write(PROMOTED)}
    said = did(InMemory(JUDGED, **state), "explain", "iris")
    assert "judge     promoted, 100 % to models:/iris/2" in said
    assert "          waits for something" in said
    assert "decision  1970-01-01T00:00:00+00:00 judge: iris-2: 50 % -> 100 %: no worse" in said
    assert any("promote iris" in line for line in said)
    assert not any("judge" in line for line in did(InMemory(CANARY, **state), "explain", "iris"))
    broken = did(InMemory(JUDGED, **{JUDGEMENT: "{"}), "explain", "iris")
    assert any("can't be read" in line for line in broken)


def test_explain_says_how_a_shadow_does_and_how_to_go_on() -> None:
    far = State(phase=Phase.SHADOW, mirror=10, waits=("to show that fewer than 3.0% of its answers disagree",))
    said = did(InMemory(WATCHED, **{JUDGEMENT: plain.write(far)}), "explain", "iris")
    copies = "models:/iris/2 gets copies of 10 % of what models:/iris/1 answers, and is judged: at most 1 % of its"
    assert said[0] == f"wish      {copies} answers may differ"
    assert "judge     shadow, copies of 10 % to models:/iris/2" in said
    assert not any("to go on" in line for line in said)
    passed = did(InMemory(WATCHED, **{JUDGEMENT: plain.write(replace(far, phase=Phase.PASSED))}), "explain", "iris")
    assert "          to go on: canary iris models:/iris/2 --judge" in passed


def test_what_only_a_judge_can_use_is_refused_without_one() -> None:
    with pytest.raises(BadWishError, match="disagree is 5; allowed: with mode shadow and judge true"):
        did(InMemory(STABLE), "shadow", "iris", "models:/iris/2", "--disagree", "5")


class Written(Wishes):
    """An API server where the keeper, or another person, writes before each of the first replacements."""

    def __init__(self, conflicts: int, meanwhile: str) -> None:
        self._namespace, self.conflicts, self.meanwhile = "work", conflicts, meanwhile
        self.version, self.wish = 0, JUDGED.text()

    def _ask(self, *words: str, stdin: str = "") -> str:
        if words[0] == "get":
            data = {WISH: self.wish}
            metadata = {"name": "release-x", "labels": {LABEL: JUDGED.name}, "resourceVersion": str(self.version)}
            return json.dumps({"items": [{"metadata": metadata, "data": data}]})
        if self.conflicts:
            self.conflicts -= 1
            self.version, self.wish = self.version + 1, self.meanwhile
        given = json.loads(stdin)
        if given["metadata"]["resourceVersion"] != str(self.version):
            raise ConflictError("kubectl replace: (Conflict)")
        self.wish = given["data"][WISH]
        return ""


@pytest.mark.parametrize(("conflicts", "written"), [(0, True), (2, True), (TRIES, False)])
def test_a_wish_is_written_though_the_keeper_writes_beside_it(conflicts: int, written: bool) -> None:
    server, new = Written(conflicts, JUDGED.text()), replace(JUDGED, why="new")
    with nullcontext() if written else pytest.raises(ConflictError):
        server.write(new, server.all()[JUDGED.name])
    assert (server.wish == new.text()) is written


def test_another_persons_wish_is_not_written_over() -> None:
    other = replace(JUDGED, why="another person's").text()
    server = Written(1, other)
    with pytest.raises(ConflictError):
        server.write(replace(JUDGED, why="new"), server.all()[JUDGED.name])
    assert server.wish == other


@pytest.mark.parametrize(
    ("before", "words", "behind"),
    [
        (STABLE, (), ""),
        (STABLE, ("--fall-back", "models:/wine/1"), "models:/wine/1"),
        (BACKED, (), "models:/wine/1"),
        (BACKED, ("--fall-back", "models:/beer/2"), "models:/beer/2"),
        (BACKED, ("--fall-back", "none"), ""),
    ],
)
def test_a_fall_back_stays_until_another_one_is_named(before: Wish, words: tuple[str, ...], behind: str) -> None:
    wishes = InMemory(before)
    (said,) = did(wishes, "deploy", "iris", "models:/iris/7", *words)
    assert read(wishes.item["data"][WISH], "iris").fall_back == behind
    assert ("to fall back on" in said) is bool(behind)
    for verb in (("canary", "iris", "models:/iris/2"), ("promote", "iris"), ("rollback", "iris")):
        did(wishes, *verb)
        assert read(wishes.item["data"][WISH], "iris").fall_back == behind


@pytest.mark.parametrize(("answers", "told"), [(True, "answers now"), (False, "waits behind the others")])
def test_who_looks_sees_whether_the_fall_back_answers(answers: bool, told: str) -> None:
    state = {"phase": "serve", "fall_back": {"version": "3333333333", "answers": answers}}
    wishes = InMemory(BACKED, **{STATE: json.dumps(state)})
    (line,) = [each for each in did(wishes, "explain", "iris") if each.startswith("fall-back")]
    assert line.startswith(f"fall-back models:/wine/1 {told}")
    (listed,) = telling.listed(wishes, models.typed(["lab", "list"]))
    assert "with models:/wine/1 to fall back on" in listed
    assert listed.endswith("it answers now") is answers


def test_one_that_is_what_it_stands_behind_is_refused() -> None:
    with pytest.raises(BadWishError, match="and so is stable"):
        did(InMemory(STABLE), "deploy", "iris", "models:/iris/1", "--fall-back", "models:/iris/1")
    with pytest.raises(BadWishError, match="and so is candidate"):
        did(InMemory(BACKED), "canary", "iris", "models:/wine/1")


@pytest.mark.parametrize(
    ("before", "words", "quiet"),
    [
        (STABLE, (), 0),
        (STABLE, ("--least", "0"), 15),
        (STABLE, ("--least", "0", "--quiet", "3"), 3),
        (SLEEPS, (), 40),
        (SLEEPS, ("--least", "0"), 40),
        (SLEEPS, ("--quiet", "3"), 3),
        (SLEEPS, ("--least", "none"), 0),
    ],
)
def test_a_release_sleeps_as_it_did_until_something_else_is_said(
    before: Wish, words: tuple[str, ...], quiet: int
) -> None:
    wishes = InMemory(before)
    (said,) = did(wishes, "deploy", "iris", before.stable, *words)
    assert read(wishes.item["data"][WISH], "iris").quiet == quiet
    assert ("sleeps after" in said) is bool(quiet)
    did(wishes, "canary", "iris", "models:/iris/2")
    assert read(wishes.item["data"][WISH], "iris").quiet == quiet


@pytest.mark.parametrize(
    ("before", "words", "told"),
    [
        (STABLE, ("--quiet", "3"), "--quiet 3 for a release that always has pods; allowed: with --least 0"),
        (SLEEPS, ("--least", "none", "--quiet", "3"), "for a release that always has pods"),
        (SLEEPS, ("--quiet", "0"), "--quiet is 0; allowed: 1 to 10080 minutes; --least none ends it"),
    ],
)
def test_minutes_that_mean_nothing_are_refused(before: Wish, words: tuple[str, ...], told: str) -> None:
    wishes = InMemory(before)
    with pytest.raises(ModelsError, match=re.escape(told)):
        did(wishes, "deploy", "iris", before.stable, *words)
    assert read(wishes.item["data"][WISH], "iris") == before


def test_explain_says_since_when_it_sleeps_and_what_its_last_start_took_and_list_that_it_does() -> None:
    last = {"at": 1767225600.0, "pod": "p", "parts": {"schedule": 0.0, "pull": 1.0, "import": 4.25, "all": 8.5}}
    kept = Sleep("iris-1111111111", Stage.ASLEEP, 3, 1767229200.0, last)
    wishes = InMemory(SLEEPS, **{STATE: json.dumps({"phase": "serve", "sleep": kept.plain()})})
    told = did(wishes, "explain", "iris")
    assert "asleep    since 2026-01-01T01:00:00+00:00" in told
    assert "start     2026-01-01T00:00:00+00:00 from zero in 8.5 s: schedule 0, pull 1, import 4.25" in told
    (line,) = telling.listed(wishes, models.typed(["lab", "list"]))
    assert line.endswith("and sleeps after 40 min without a question; it sleeps")
