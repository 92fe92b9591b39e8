"""What changed since the last report of the same kind; noise is not called slower."""

from __future__ import annotations

import itertools
import json
import threading
from pathlib import Path

import pytest

from components.kit.probing import Verdict
from tests import reports
from tests.reports import BEGAN, make, write
from validate.model import Result, Run
from validate.report import digest_of
from validate.report.changes import Changes, Past, Seen, compare, seen

PASS, FAIL, INVALID = Verdict.PASS, Verdict.FAIL, Verdict.INVALID


def past(*reports_: dict[str, Seen]) -> list[Past]:
    return [Past(f"r{n}", 0.0, "0" * 64, told) for n, told in enumerate(reports_)]


def test_each_way_a_test_can_change() -> None:
    before = {"a": PASS, "b": FAIL, "c": PASS, "d": PASS, "e": INVALID, "f": PASS}
    now = {"a": FAIL, "b": PASS, "c": INVALID, "e": PASS, "f": PASS, "new": PASS}
    last = {test: Seen(v, {}) for test, v in before.items()}
    found = compare({test: Seen(v, {}) for test, v in now.items()}, past(last))
    assert (found.failing, found.unclear, found.untested) == (["a"], ["c"], ["d"])
    assert (found.fixed, found.new) == (["b", "e"], ["new"])
    assert not found.none
    assert compare(last, past(last)).none


def test_of_two_results_with_one_name_the_worse_counts() -> None:
    results = [Result("s", "c", "x", v, "d") for v in (PASS, INVALID, FAIL, PASS)]
    assert seen(results)["s/c/x"].verdict is FAIL


@pytest.mark.parametrize(
    ("figure", "before", "now", "slower"),
    [
        ("seconds", [20.0], 39.0, False),  # one report: little is known of the noise
        ("seconds", [20.0], 41.0, True),
        ("seconds", [0.2], 4.0, False),  # nobody acts on it
        ("seconds", [20, 22, 21, 30], 29.0, False),  # was seen before
        ("seconds", [20, 22, 21, 24], 27.0, True),
        ("seconds", [20, 22, 21, 24], 24.5, False),  # less than a fifth
        ("p99_ms", [210, 215, 190], 280.0, True),
        ("p99_ms", [210, 215, 190], 205.0, False),
        ("gap_s", [4.0, 4.1, 3.9], 6.5, True),
    ],
)
def test_slower_is_more_than_noise(
    figure: str, before: list[float], now: float, slower: bool
) -> None:
    history = past(*({"t": Seen(PASS, {figure: value})} for value in before))
    found = compare({"t": Seen(PASS, {figure: now})}, history)
    assert [s.test for s in found.slower] == (["t"] if slower else [])


def test_a_failure_is_not_called_slower() -> None:
    history = past(*({"t": Seen(PASS, {"seconds": 1.0})} for _ in range(3)))
    assert compare({"t": Seen(FAIL, {"seconds": 900.0})}, history).slower == []


def changed(folder: Path) -> str:
    page = (folder / "index.html").read_text()
    part = page[page.index('<section id="changed">') :]
    return part[: part.index("</section>")]


def test_the_page_compares_with_the_last_of_its_kind_and_of_its_site(tmp_path: Path) -> None:
    first = write(tmp_path, make(PASS, FAIL, PASS))
    assert "first report of its kind" in changed(first)
    other = make(FAIL, at=BEGAN + 50)
    other.title = "Load"
    write(tmp_path, other)
    assert "first report of its kind" in changed(write(tmp_path, make(PASS, site="stage")))
    third = write(tmp_path, make(FAIL, PASS, at=BEGAN + 100))
    text = changed(third)
    assert f"Compared with {first.name}" in text
    for words in ("now fail", "smoke/kafka/write-0", "now pass", "smoke/minio/write-1",
                  "are no longer tested", "smoke/postgres/write-2"):  # fmt: skip
        assert words in text


def test_an_altered_forerunner_is_not_compared_with(tmp_path: Path) -> None:
    first = write(tmp_path, make(FAIL))
    results = first / "results.json"
    results.write_text(results.read_text().replace("FAIL", "PASS"))
    text = changed(write(tmp_path, make(FAIL, at=BEGAN + 9)))
    assert "does not verify" in text and "results.json was altered" in text


@pytest.mark.parametrize("spoil", ["manifest.json", "manifest.sig", "results.json"])
def test_a_spoilt_forerunner_keeps_no_report_from_being_written(tmp_path: Path, spoil: str) -> None:
    first = write(tmp_path, make(PASS))
    (first / spoil).write_bytes(b"\x00" * 20)
    assert "does not verify" in changed(write(tmp_path, make(PASS, at=BEGAN + 9)))


def test_a_report_from_before_there_were_seals_is_not_compared_with(tmp_path: Path) -> None:
    root = reports.root(tmp_path)
    (root / "20200101T000000Z").mkdir(parents=True)
    (root / "latest").symlink_to("20200101T000000Z")
    assert "first report of its kind" in changed(write(tmp_path, make(PASS)))


def test_the_chain_names_each_forerunner_by_its_digest(tmp_path: Path) -> None:
    folders = [write(tmp_path, make(PASS, at=BEGAN + n)) for n in range(3)]
    for before, after in itertools.pairwise(folders):
        told = json.loads((after / "manifest.json").read_text())["previous"]
        assert told["folder"] == before.name
        assert f"sha256:{told['digest']}" == digest_of(before)


def test_nothing_to_compare_with_says_why() -> None:
    assert compare({}, [], "because").why == "because"
    assert isinstance(compare({}, []), Changes)


def test_two_who_write_at_once_both_get_a_report_and_one_chain(tmp_path: Path) -> None:
    runs: list[Run] = [make(PASS, at=BEGAN) for _ in range(3)]
    made: list[Path] = []
    threads = [threading.Thread(target=lambda r=r: made.append(write(tmp_path, r))) for r in runs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    before = [json.loads((f / "manifest.json").read_text())["previous"] for f in made]
    names = {told["folder"] for told in before if told}
    assert len(set(made)) == 3 and before.count(None) == 1 and len(names) == 2
