"""Reports in a row: compared with the last of their kind, each naming its forerunner by digest."""

from __future__ import annotations

import itertools
import json
import threading
from pathlib import Path

import pytest

from components.kit.probing import Verdict
from tests import reports
from tests.reports import BEGAN, make, write
from validate.core.model import Run
from validate.report import digest_of

pytestmark = pytest.mark.engine
PASS, FAIL, INVALID = Verdict.PASS, Verdict.FAIL, Verdict.INVALID


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
    for words in (
        "now fail",
        "smoke/kafka/write-0",
        "now pass",
        "smoke/minio/write-1",
        "are no longer tested",
        "smoke/postgres/write-2",
    ):
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
