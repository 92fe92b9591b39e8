"""Proofs and curves from made-up looks: nothing seen is nothing proved."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from validate.suites.chaos import curve, digest, proofs
from validate.suites.chaos.proofs import Moments

AT = Moments(asked=100.0, applied=100.5, ended=110.5)


def series(before: str, during: str, *, every: float = 0.25) -> dict[str, Any]:
    """Looks from 96 s to 111 s."""
    tries = []
    moment = 96.0
    while moment < 111.0:
        outcome = before if moment < AT.applied else during
        tries.append({"at": moment, "took": 0.1, "outcome": outcome})
        moment += every
    return {"kind": "series", "host": "m", "port": 1, "tries": tries}


NOTHING = series("acted", "acted")


@pytest.mark.parametrize("allowed", [("silent",), ("timeout", "unreachable"), ("refused",)])
def test_an_injector_that_does_nothing_proves_nothing(allowed: Sequence[str]) -> None:
    assert not proofs.silenced([NOTHING], AT, allowed).proved
    assert not proofs.killed([NOTHING, held([None] * 9)], AT).proved
    assert not proofs.lossy([NOTHING], AT, 20).proved
    assert not proofs.one_way([NOTHING, sniffed(96, 111)], AT, "in").proved
    assert not proofs.slow(heard(9_000_000), heard(9_000_000), 1000).proved
    assert not proofs.full(10**9, 10**9, 65536).proved
    assert not proofs.moved([dated(0.0, 0.0)], AT, 3600).proved
    assert not proofs.pestered([]).proved
    assert not proofs.all_of([]).proved


@pytest.mark.parametrize(
    ("before", "during", "proved"),
    [
        ("acted", "silent", True),
        ("acted", "acted", False),
        ("acted", "refused", False),
        ("timeout", "silent", False),
        ("open", "silent", True),
    ],
)
def test_silence_counts_only_after_life(before: str, during: str, proved: bool) -> None:
    assert proofs.silenced([series(before, during)], AT, ("silent",)).proved is proved


def test_one_look_that_was_answered_is_enough_to_doubt() -> None:
    seen = series("acted", "silent")
    seen["tries"][40]["outcome"] = "acted"
    told = proofs.silenced([seen], AT, ("silent",))
    assert not told.proved
    assert "was still 1 acted" in told.detail


def test_a_look_that_ends_after_the_fault_is_not_counted() -> None:
    seen = series("open", "timeout")
    seen["tries"].append({"at": 110.0, "took": 0.9, "outcome": "open"})
    assert proofs.silenced([seen], AT, ("timeout",)).proved


def test_too_few_looks_and_a_silent_onlooker() -> None:
    assert "looks before" in proofs.silenced([series("acted", "silent", every=6)], AT, "s").detail
    assert not proofs.silenced([{"kind": "series", "error": "hung"}], AT, ("silent",)).proved


def test_every_member_has_to_be_proved() -> None:
    good, bad = series("acted", "silent"), NOTHING
    assert proofs.silenced([good, good], AT, ("silent",)).proved
    assert not proofs.silenced([good, bad], AT, ("silent",)).proved


def held(broken: Sequence[float | None]) -> dict[str, Any]:
    """Connections opened from 96 s on, 0.6 s apart, and when each broke."""
    lines = [{"opened": 96 + 0.6 * n, "broken": b} for n, b in enumerate(broken)]
    return {"kind": "hold", "held": lines}


def test_a_death_breaks_all_connections_at_once_a_time_out_one_by_one() -> None:
    death = [100.6, 100.61, 100.62, 100.6, 100.63, 100.6, 100.6, 100.6]
    assert proofs.killed([held([*death, None, None])], AT).proved
    one_by_one = [96 + 0.6 * n + 5.0 for n in range(9)]
    assert not proofs.killed([held(one_by_one)], AT).proved
    assert not proofs.killed([held([99.0] * 6)], AT).proved  # before it was asked for
    assert not proofs.killed([held([108.0] * 6)], AT).proved  # too late to be the kill
    assert proofs.killed([held([108.0] * 6)], AT, within=20.0).proved  # one that took its grace


def test_a_killed_member_refuses_for_a_moment() -> None:
    seen = series("acted", "acted")
    seen["tries"][20]["outcome"] = "refused"
    assert proofs.killed([seen], AT).proved
    seen["tries"][20]["outcome"] = "timeout"  # a busy host does that too
    assert not proofs.killed([seen], AT).proved


def sniffed(begin: float, end: float) -> dict[str, Any]:
    return {"kind": "sniff", "times": [begin + 0.5 * n for n in range(int((end - begin) * 2))]}


@pytest.mark.parametrize(
    ("direction", "packets_until", "proved"),
    [("in", 111, True), ("in", 100, False), ("out", 100, True), ("out", 111, False)],
)
def test_which_way_is_cut_shows_at_a_peer(direction: str, packets_until: float, proved: bool) -> None:
    answers = [series("open", "timeout"), sniffed(96, packets_until)]
    assert proofs.one_way(answers, AT, direction).proved is proved
    assert not proofs.one_way([answers[0], {"kind": "sniff", "times": []}], AT, direction).proved


@pytest.mark.parametrize(("missed", "proved"), [(0, False), (4, False), (14, True), (30, True)])
def test_loss_by_its_share(missed: int, proved: bool) -> None:
    seen = series("open", "open")
    within = [t for t in seen["tries"] if t["at"] > AT.applied + 0.3]
    for entry in within[:missed]:
        entry["outcome"] = "timeout"
    assert proofs.lossy([seen], AT, 30).proved is proved


@pytest.mark.parametrize(("outcome", "took"), [("timeout", 1.0), ("open", 1.02), ("hung", None)])
def test_a_connection_that_its_first_packet_did_not_make_is_lost(outcome: str, took: float | None) -> None:
    """Also one of the last second, whose time-out comes after the fault's end."""
    short = Moments(asked=100.0, applied=100.5, ended=103.5)
    seen = series("open", "open")
    for entry in [t for t in seen["tries"] if t["at"] > short.applied + 0.3][1::2]:
        entry["outcome"], entry["took"] = outcome, took
        if took is None:
            del entry["took"]
    proof = proofs.lossy([seen], short, 30)
    assert proof.proved
    assert proof.detail == "5 of 10 connections failed, 51% expected"


def heard(count: int) -> dict[str, Any]:
    return {"bytes": count, "seconds": 2.0}


@pytest.mark.parametrize(
    ("before", "during", "proved"),
    [(750_000, 240_000, True), (750_000, 700_000, False), (300_000, 240_000, False), (750_000, 0, False)],
)
def test_a_slow_link_by_what_arrives(before: int, during: int, proved: bool) -> None:
    assert proofs.slow(heard(before), heard(during), 1000).proved is proved


def dated(before: float, during: float) -> dict[str, Any]:
    told = [{"at": m, "ahead": before} for m in (97.0, 98.0)]
    return {"kind": "dates", "dates": [*told, *({"at": m, "ahead": during} for m in (103, 104))]}


def test_a_clock_that_moved() -> None:
    assert proofs.moved([dated(0.2, 3600.4)], AT, 3600).proved
    assert not proofs.moved([dated(0.2, 1800.0)], AT, 3600).proved
    assert not proofs.moved([{"kind": "dates", "dates": []}], AT, 3600).proved


def test_moments_on_another_clock() -> None:
    assert AT.shifted(5.0) == Moments(105.0, 105.5, 115.5)


# --- curves


def writes(*stretches: tuple[float, float, float]) -> list[float]:
    """(from, to, a second)."""
    return [a + n / rate for a, b, rate in stretches for n in range(round((b - a) * rate))]


def test_a_gap_and_its_end() -> None:
    found = curve.of(writes((90, 100, 20), (107, 130, 20)), 100.0, 110.0, 130.0)
    assert found.steady == 20
    assert found.first_success_s == pytest.approx(7.0, abs=0.1)
    assert found.goodput_99_s == 7.0
    assert found.silent_s == pytest.approx(7.0, abs=0.1)
    assert found.share_during == pytest.approx(0.3, abs=0.02)
    assert found.alive_at_end
    assert sum(found.counts) == 10 * 20 + 23 * 20
    assert found.counts[found.fault] == 0


def test_nothing_broke() -> None:
    found = curve.of(writes((90, 130, 20)), 100.0, 110.0, 130.0)
    assert (found.first_success_s, found.goodput_99_s) == (0.0, 0.0)
    assert found.share_during == pytest.approx(1.0, abs=0.02)


def test_a_silence_of_the_return_is_not_the_fault_s() -> None:
    found = curve.of(writes((90, 112, 20), (114, 130, 20)), 100.0, 110.0, 130.0)
    assert found.first_success_s == 0.0
    assert found.goodput_99_s == 14.0
    assert found.silent_s == pytest.approx(2.0, abs=0.1)


def test_it_never_came_back() -> None:
    found = curve.of(writes((90, 100, 20)), 100.0, 110.0, 130.0)
    assert (found.first_success_s, found.goodput_99_s, found.alive_at_end) == (None, None, False)
    assert found.silent_s == 30


def test_a_rate_that_jitters_as_it_did_before_is_whole() -> None:
    uneven = [(90.0 + second, 91.0 + second, 18 + 6 * (second % 2)) for second in range(40)]
    found = curve.of(writes(*uneven), 100.0, 110.0, 130.0)
    assert (found.first_success_s, found.goodput_99_s) == (0.0, 0.0)


def test_it_came_back_at_half_the_rate() -> None:
    found = curve.of(writes((90, 100, 20), (103, 130, 10)), 100.0, 110.0, 130.0)
    assert found.goodput_99_s is None
    assert found.first_success_s == pytest.approx(3.0, abs=0.1)


def test_no_writes_at_all() -> None:
    found = curve.of([], 100.0, 110.0, 130.0)
    assert (found.steady, found.share_during, found.first_success_s) == (0.0, 0.0, None)


# --- digests


def test_what_came_and_what_went() -> None:
    before = digest.read("mounts\t/a\nnft of kv-0\ttable x\n", "h1: ")
    after = digest.read("nft of kv-0\ttable x\nnft of kv-0\ttable inet apadana_fault_f\n", "h1: ")
    assert digest.difference(before, after) == [
        "h1: mounts: gone: /a",
        "h1: nft of kv-0: new: table inet apadana_fault_f",
    ]
    assert digest.difference(before, before) == []


def test_what_went_with_a_member_that_stays_away_is_not_left_behind() -> None:
    before = digest.read("nft of kv-0\ttable x\nnft tables\tt\n", "h1: ")
    after = digest.read("", "h1: ")
    assert digest.difference(before, after, gone={"kv-0"}) == ["h1: nft tables: gone: t"]
