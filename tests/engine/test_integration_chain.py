"""The whole chain with real training and a real server: what is whole passes, and each way of
breaking it fails at its link, with its cause."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest

from components.kit.probing import Check, Verdict
from tests import chain
from validate.core import causes
from validate.core.errors import ClusterError
from validate.pod.integration import forest, serving
from validate.suites.integration import links, suite
from validate.suites.integration.expected import BATCH, STREAMING, ChainOptions

pytestmark = pytest.mark.engine

SMALL = ChainOptions(count=1000, window=190, per_segment=12, rate=20_000)
Spoil = Callable[[chain.MemoryGround], Any]


def ran(ground: Any, folder: Path, wish: ChainOptions = SMALL) -> dict[str, Check]:
    told: list[Check] = []
    suite.run(ground, wish, folder, lambda _: None, told.append)
    names = [check.name for check in told]
    assert sorted(names) == sorted(set(names)), "a link was told twice"
    return {check.name: check for check in told}


@pytest.mark.parametrize("seed", [2026, 3])
def test_a_whole_chain_passes_at_every_link(tmp_path: Path, seed: int) -> None:
    told: list[Check] = []
    ground = chain.ground(tmp_path)
    wish = replace(SMALL, seed=seed)
    tables = suite.run(ground, wish, tmp_path, lambda _: None, told.append)  # type: ignore[arg-type]
    assert {c.name: c.detail for c in told if c.verdict is not Verdict.PASS} == {}
    assert [check.name for check in told] == links.names(online=True)
    way, answers = tables
    assert [row[1:5] for row in way.rows] == [["1008", "1000", "1000", "1000"]] * 2
    moved = {row[0]: (row[1], float(row[4])) for row in answers.rows}
    assert moved.pop("press")[1] > 0.5
    assert all(told == "the same" and by < 0.2 for told, by in moved.values())
    lines = [json.loads(line) for line in (tmp_path / suite.RECORD).read_text().splitlines()]
    asked = [line for line in lines if line["verb"] == "train"]
    assert len(asked) == 2 and {line["role"] for line in asked} == {"trainer"}


def test_without_an_online_store_its_links_are_left_out(tmp_path: Path) -> None:
    told = ran(chain.ground(tmp_path, "kafka", "postgres", "minio"), tmp_path)
    assert list(told) == links.names(online=False)
    assert {check.verdict for check in told.values()} == {Verdict.PASS}


def _without(text: str, count: int) -> Callable[[Any], Any]:
    """Drops the first `count` things that name `text`."""

    def spoil(items: Any) -> Any:
        hit = [item for item in items if text in str(item)][:count]
        return [item for item in items if item not in hit]

    return spoil


def _lose_in_log(ground: chain.MemoryGround) -> None:
    ground.memory.log.spoil = _without('"id":"streaming-00', 3)


def _twice_in_log(ground: chain.MemoryGround) -> None:
    ground.memory.log.spoil = lambda items: [*items, *items[:2]]


def _turned_round_in_log(ground: chain.MemoryGround) -> None:
    ground.memory.log.spoil = lambda items: items[::-1]


def _altered_in_log(ground: chain.MemoryGround) -> None:
    ground.memory.log.spoil = lambda items: [
        (key, value.replace(b'"load_percent":1', b'"load_percent":2')) for key, value in items
    ]


def _damaged_in_log(ground: chain.MemoryGround) -> None:
    ground.memory.log.spoil = lambda items: [(items[0][0], b"\0" * 900), *items[1:]]


def _lose_in_table(ground: chain.MemoryGround) -> None:
    ground.memory.table.spoil = _without("batch-0000", 1)


def _altered_in_table(ground: chain.MemoryGround) -> None:
    ground.memory.table.spoil = lambda rows: [replace(r, features="[0.5]") for r in rows]


def _lose_object(ground: chain.MemoryGround) -> None:
    ground.memory.objects.hide = lambda key: "/raw/batch-0001" in key


def _skewed_online(ground: chain.MemoryGround) -> None:
    ground.memory.online.spoil = lambda values: {key: value.replace("1.0", "0.0", 1) for key, value in values.items()}


def _never_updated_online(ground: chain.MemoryGround) -> None:
    online = ground.memory.online
    online.spoil = lambda values: {k: v for k, v in values.items() if k not in online.kept}


def _nothing_online(ground: chain.MemoryGround) -> None:
    ground.memory.online.spoil = lambda values: {}


def _never_forgets(ground: chain.MemoryGround) -> None:
    ground.memory.objects.forgets = False


def _stale_object(ground: chain.MemoryGround) -> None:
    """The store answers with the first version of the pointer for ever."""
    ground.memory.objects.version = lambda key: 0 if key.endswith("/current") else -1


def _unreachable(ground: chain.MemoryGround) -> None:
    def refuse(items: Any) -> Any:
        raise ConnectionError("Kafka: 3 of 1008 records were not acknowledged")

    ground.memory.log.spoil = refuse


class Frozen(serving.Service):
    """Never looks at the pointer again."""

    def look(self) -> None:
        if self.model is None:
            super().look()


class Liar(serving.Service):
    """Says that the new model answers, and answers with the old one."""

    def look(self) -> None:
        old = self.model
        super().look()
        if old is not None and self.model is not None:
            self.model = replace(old, digest=self.model.digest)


class OneWay(serving.Service):
    """Takes each new model, never an earlier one again."""

    seen: tuple[str, ...] = ()

    def look(self) -> None:
        old = self.model
        super().look()
        assert self.model is not None
        if old is not None and self.model.digest in self.seen[:-1]:
            self.model = old
        elif self.seen[-1:] != (self.model.digest,):
            self.seen = (*self.seen, self.model.digest)


class Interrupted(serving.Service):
    """Answers nobody for a moment after it has taken another model."""

    silent = 0

    def look(self) -> None:
        old = self.model
        super().look()
        if old is not None and self.model is not old:
            self.silent = 3

    def answer(self, question: Any) -> dict[str, Any]:
        if self.silent:
            self.silent -= 1
            raise serving.RefusedError(HTTPStatus.SERVICE_UNAVAILABLE, "loading")
        return super().answer(question)


class Careless(serving.Service):
    """Answers what can't be answered."""

    def answer(self, question: Any) -> dict[str, Any]:
        try:
            return super().answer(question)
        except serving.RefusedError:
            return {"predictions": [0.5], "model": self.model.digest if self.model else ""}


class Fragile(serving.Service):
    """Fails where it should refuse."""

    def answer(self, question: Any) -> dict[str, Any]:
        try:
            return super().answer(question)
        except serving.RefusedError as error:
            raise forest.BadModelError("shape") from error


@cache
def _served_by(kind: type[serving.Service]) -> Spoil:
    def spoil(ground: chain.MemoryGround) -> None:
        ground.memory.make = kind

    spoil.__name__ = f"served_by_{kind.__name__}"
    return spoil


def _retrained(way: str) -> Spoil:
    def spoil(ground: chain.MemoryGround) -> chain.Sabotaged:
        return chain.Sabotaged(ground, chain.Retraining(way))

    spoil.__name__ = way.replace(" ", "_")
    return spoil


def both(link: str, cause: str) -> dict[str, str]:
    """In both deliveries."""
    return {links.of(mode, link): cause for mode in (BATCH, STREAMING)}


def stale(*more: str) -> dict[str, str]:
    """What always shows it: the answers, and the way back from them."""
    return dict.fromkeys((links.CHANGED, links.LINEAGE, *more), causes.STALE_MODEL)


IN_LOG, IN_TABLE, IN_OBJECTS = (links.of(BATCH, link) for link in (links.IN_LOG, links.IN_TABLE, links.IN_OBJECTS))
#: How it is broken -> every link that fails, and the cause that it names. No other link may fail.
CASES: list[tuple[Spoil, dict[str, str]]] = [
    (_lose_in_log, {links.of(STREAMING, links.IN_LOG): causes.LOST_WRITES}),
    (_twice_in_log, both(links.IN_LOG, causes.DUPLICATED_WRITES)),
    (_turned_round_in_log, both(links.IN_LOG, causes.REORDERED_WRITES)),
    (_altered_in_log, both(links.IN_LOG, causes.CORRUPT_DATA)),
    (_damaged_in_log, both(links.IN_LOG, causes.CORRUPT_DATA) | both(links.ASIDE, causes.CORRUPT_DATA)),
    (_lose_in_table, {IN_TABLE: causes.LOST_WRITES}),
    (_altered_in_table, both(links.IN_TABLE, causes.FEATURE_SKEW) | both(links.PARITY, causes.FEATURE_SKEW)),
    (_lose_object, {IN_OBJECTS: causes.LOST_WRITES}),
    (_skewed_online, both(links.PARITY, causes.FEATURE_SKEW) | {links.SAME_ANSWERS: causes.FEATURE_SKEW}),
    (_never_updated_online, both(links.PARITY, causes.FEATURE_SKEW) | {links.SAME_ANSWERS: causes.FEATURE_SKEW}),
    (_nothing_online, both(links.PARITY, causes.LOST_WRITES) | {links.SAME_ANSWERS: causes.ERRORS}),
    (_retrained("not trained again"), stale(links.RETRAINING, links.TAKEN_OVER)),
    (_retrained("trained on the old data"), stale(links.RETRAINING)),
    (_retrained("trained on the old data, and lies about it"), stale()),
    (_served_by(Frozen), stale(links.TAKEN_OVER, links.SAME_ANSWERS)),
    (_served_by(Liar), {links.CHANGED: causes.STALE_MODEL} | {links.SAME_ANSWERS: causes.WRONG_ANSWERS}),
    (_stale_object, stale(links.TAKEN_OVER, links.SAME_ANSWERS)),
    (_served_by(OneWay), {links.ROLLED_BACK: causes.WRONG_VERSION}),
    (_served_by(Interrupted), {links.TAKEN_OVER: causes.ERRORS, links.ROLLED_BACK: causes.ERRORS}),
    (_served_by(Careless), {links.REFUSED: causes.BAD_INPUT}),
    (_served_by(Fragile), {links.REFUSED: causes.BAD_INPUT}),
    (_never_forgets, {links.CLEAN: causes.LEFT_BEHIND}),
    (_unreachable, {IN_LOG: causes.UNREACHABLE}),
]


def _title(case: Any) -> str:
    return getattr(case, "__name__", "causes").strip("_<>")


NEVER_COMES = {_served_by(Frozen), _served_by(OneWay), _stale_object}


@pytest.mark.parametrize(("spoil", "failing"), CASES, ids=lambda case: _title(case))
def test_what_is_broken_fails_at_its_link_with_its_cause(
    tmp_path: Path, spoil: Spoil, failing: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if spoil in NEVER_COMES:  # it is waited for as long as the suite would; not here
        monkeypatch.setattr("validate.pod.integration.asking.EXCHANGE_SECONDS", 2.0)
    ground = chain.ground(tmp_path)
    told = ran(spoil(ground) or ground, tmp_path)
    failed = {c.name: c.evidence.get("cause") for c in told.values() if c.verdict is Verdict.FAIL}
    assert failed == failing
    assert set(told) == set(links.names(online=True))


def test_what_was_not_reached_is_invalid(tmp_path: Path) -> None:
    ground = chain.ground(tmp_path)
    _unreachable(ground)
    told = ran(ground, tmp_path)
    rest = [told[name] for name in links.names(online=True)[1:-1]]
    assert {check.verdict for check in rest} == {Verdict.INVALID}
    assert told[links.CLEAN].verdict is Verdict.PASS


def test_a_pod_that_is_lost_proves_nothing(tmp_path: Path) -> None:
    def lose(verb: str, wish: dict[str, Any]) -> Any:
        if verb == "publish":
            raise ClusterError("exec in pod", "no answer within 240 s")
        return verb, wish, lambda told: told

    told = ran(chain.Sabotaged(chain.ground(tmp_path), lose), tmp_path)
    assert told[links.FIRST_TRAINING].verdict is Verdict.INVALID
    assert Verdict.FAIL not in {check.verdict for check in told.values()}


def test_a_model_that_has_not_learnt_proves_nothing(tmp_path: Path) -> None:
    told = ran(chain.ground(tmp_path), tmp_path, replace(SMALL, count=60, window=12))
    assert told[links.FIRST_ANSWERS].verdict is Verdict.INVALID
