"""The page: nothing from elsewhere, the verdict first, a record behind each link; JUnit, JSON."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from components.kit.probing import Verdict
from tests import reports
from tests.reports import EVIL, FAULT_COLUMNS, make, whole, write
from validate.core.model import Result, Table
from validate.core.plain import canonical, plain
from validate.report import junit
from validate.report.changes import Changes
from validate.report.content import Content, Vouched
from validate.report.faults import Cell, glance
from validate.report.matrix import Matrix
from validate.report.seal import Key


class Outside(HTMLParser):
    """Collects what a page would fetch or run, its ids and its links."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.ids: list[str] = []
        self.links: set[str] = set()
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("script", "link", "img", "iframe", "object", "embed", "form", "base"):
            self.found.append(tag)
        for key, value in attrs:
            if key == "id":
                self.ids.append(value or "")
            elif key == "href" and (value or "").startswith("#"):
                self.links.add((value or "")[1:])
            elif key in ("src", "href", "srcset", "action") or key.startswith("on"):
                self.found.append(f"{key}={value}")


@pytest.fixture(scope="module")
def campaign(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a whole campaign, to be read."""
    return write(tmp_path_factory.mktemp("campaign"), whole())


def page_of(folder: Path) -> str:
    return (folder / "index.html").read_text()


@pytest.mark.parametrize("verdict", list(Verdict))
def test_the_verdict_comes_first_and_what_is_not_covered_before_any_evidence(tmp_path: Path, verdict: Verdict) -> None:
    page = page_of(write(tmp_path, make(Verdict.PASS, verdict)))
    order = [
        f"<b>{verdict}</b>",
        "What is not covered",
        "What could not be judged",
        "What changed since",
        "Who answers for it",
        'id="matrix"',
        'id="records"',
    ]
    assert [page.index(text) for text in order] == sorted(page.index(text) for text in order)
    assert "GPUs are pretended" in page
    said = page[page.index("What is not covered") : page.index("What could not be judged")]
    assert "topology: separate" in said
    assert "an upgrade from an earlier version" in said


def test_nothing_comes_from_elsewhere_and_each_link_leads_to_one_place(campaign: Path) -> None:
    page = page_of(campaign)
    seen = Outside(page)
    assert seen.found == []
    assert "url(" not in page and "@import" not in page
    assert len(seen.ids) == len(set(seen.ids))
    assert seen.links - set(seen.ids) == set()
    assert {f"r{n}" for n in range(1, len(whole().results) + 1)} <= set(seen.ids)


def test_what_a_store_said_can_not_become_markup(tmp_path: Path) -> None:
    run = make()
    evidence = {"e": EVIL, EVIL: [EVIL, {"deep": EVIL}], "curve": {EVIL: [1, 2]}}
    run.results = [Result(EVIL, EVIL, EVIL, Verdict.FAIL, EVIL, evidence, cause=EVIL)]
    run.tables = [Table(EVIL, [EVIL], [[EVIL]], EVIL)]
    run.tables.append(Table("Store x fault", ["store", EVIL], [[EVIL, f"FAIL {EVIL}"]]))
    run.limits, run.left_out, run.assumptions = [EVIL], [EVIL], [EVIL]
    run.title = run.command = run.bundle_digest = run.plan_digest = EVIL
    folder = write(tmp_path, run, witnesses=(EVIL,))
    page = page_of(folder)
    seen = Outside(page)
    assert seen.found == [] and seen.links <= set(seen.ids)
    for hidden in ("\x00", "\x1b", "\ud800", "\u202e"):
        assert hidden not in page
    assert page.count("</template>") == 1
    assert ET.fromstring((folder / "junit.xml").read_text()).find("testsuite/testcase/failure") is not None
    assert json.loads((folder / "results.json").read_text())["verdict"] == "FAIL"
    assert (folder / "report.pdf").read_bytes().startswith(b"%PDF-")


@pytest.mark.parametrize(
    ("verdicts", "words"),
    [
        ((), "No verdict is possible: nothing was tested"),
        ((Verdict.PASS,), "The one test that was made holds"),
        ((Verdict.PASS, Verdict.PASS), "Each of the 2 tests that were made holds"),
        ((Verdict.PASS, Verdict.INVALID), "No verdict is possible: 1 of 2 tests could not be"),
        ((Verdict.FAIL, Verdict.INVALID), "1 of 2 tests show a promise that does not hold. 1 test"),
    ],
)
def test_the_sentence(verdicts: tuple[Verdict, ...], words: str) -> None:
    vouched = Vouched(Key.model_construct(), (), "", "", "", "", None, False)
    content = Content(make(*verdicts), [], Matrix([]), Changes(None), vouched)
    assert content.sentence().startswith(words)


def test_stores_and_faults_stand_on_the_first_page_and_each_cell_leads_to_its_record(campaign: Path) -> None:
    page = page_of(campaign)
    cover = page[: page.index("<nav")]
    cells = re.findall(r'<td class="(\w+)"><a href="#(r\d+)"><b>\w+</b> (.*?)</a>', cover)
    assert len(cells) == 16 and {re.sub("<.*?>", "", text) for _, _, text in cells} == {
        "0 lost, gap 4.2 s",
        "7 lost, gap 4.2 s",
        "not judged",
    }
    anchors = {verdict: anchor for verdict, anchor, _ in cells}
    record = page[page.index(f'id="{anchors["FAIL"]}"') :]
    assert "chaos/redis/network-cut-acknowledged-writes" in record[: record.index("</details>")]
    long = page[page.index('id="faults"') : page.index('id="matrix"')]
    assert f'<td class="FAIL"><a href="#{anchors["FAIL"]}"><b>FAIL</b></a>' in long


@pytest.mark.parametrize(
    ("rows", "verdict", "text"),
    [
        ([], "", ""),
        ([("kafka", "PASS", "0", "3.1")], "PASS", "0 lost, gap 3.1 s"),
        # Another store's fault has hurt this one: it is not hidden by its own.
        ([("kafka", "PASS", "0", "3.1"), ("redis", "FAIL", "2", "9")], "FAIL", "2 lost, gap 9 s"),
        ([("redis", "PASS", "0", "9"), ("kafka", "PASS", "0", "3.1")], "PASS", "0 lost, gap 3.1 s"),
        ([("kafka", "INVALID", "unknown", "unknown"), ("redis", "PASS", "0", "1")], "INVALID", "not judged"),
    ],
)
def test_a_cell_shows_the_worst(rows: list[tuple[str, str, str, str]], verdict: str, text: str) -> None:
    listed = [["frozen", hit, "kafka", "9", lost, gap, word] for hit, word, lost, gap in rows]
    listed.append(["frozen", "minio", "minio", "9", "0", "1.0", "PASS"])
    found = glance([Table("Store × fault", FAULT_COLUMNS, listed)], [])
    assert found is not None
    cells = dict(zip(found.stores, found.rows[0][1], strict=True))
    seen = cells.get("kafka", Cell())
    assert (seen.verdict, seen.text) == (verdict, text)


def test_tables_of_other_shapes_are_no_glance() -> None:
    assert glance([Table("Store x fault", ["store", "frozen"], [["a", "PASS"]])], []) is None
    assert glance([Table("Latency", FAULT_COLUMNS, [["x"] * 7])], []) is None


def test_a_curve_is_drawn_and_not_spelt_out(campaign: Path) -> None:
    page = page_of(campaign)
    assert page.count("<polyline") >= 17
    assert "highest 200" in page and "lowest 0" in page
    assert '<rect x="' in page and "shaded: the fault" in page
    assert "&#34;counts&#34;" not in page and "&#34;silent_s&#34;: 8.0" in page


def test_evidence_is_cut_and_whole_in_the_json(tmp_path: Path) -> None:
    run = make(*[Verdict.PASS] * 40)
    run.results = [
        Result("smoke", "kafka", f"n {n}", Verdict.PASS, "d", {"text": f"{n:03}" * 200_000}) for n in range(40)
    ]
    folder = write(tmp_path, run)
    assert (folder / "index.html").stat().st_size < 3_000_000
    assert "more characters in results.json" in page_of(folder)
    kept = json.loads((folder / "results.json").read_text())["results"][7]["evidence"]["text"]
    assert kept == "007" * 200_000


def test_evidence_of_any_shape_becomes_json() -> None:
    deep: object = "end"
    for _ in range(3000):
        deep = [deep]
    odd = {
        1: {2, 3},
        "nan": float("nan"),
        "inf": float("-inf"),
        "b": b"x",
        "p": Path("a"),
        "v": Verdict.PASS,
        "half": "\ud83d",
        "deep": deep,
    }
    kept = plain(odd)
    assert json.loads(canonical(odd)) == kept
    assert (kept["nan"], kept["inf"], kept["half"], kept["1"]) == ("nan", "-inf", "?", [2, 3])
    assert canonical({"b": 1, "a": 2}) == canonical({"a": 2, "b": 1}) == b'{"a":2,"b":1}\n'


def test_junit_counts_failures_and_errors() -> None:
    tree = ET.fromstring(junit.render(make(Verdict.PASS, Verdict.FAIL, Verdict.INVALID)))
    suites = {s.get("name"): (s.get("tests"), s.get("failures"), s.get("errors")) for s in tree}
    assert suites == {"kafka": ("1", "0", "0"), "minio": ("1", "1", "0"), "postgres": ("1", "0", "1")}


def test_files_and_latest(tmp_path: Path) -> None:
    first = write(tmp_path, make(Verdict.PASS))
    second = write(tmp_path, make(Verdict.FAIL))
    assert first != second
    latest = reports.root(tmp_path) / "latest"
    assert latest.resolve() == second
    data = json.loads((second / "results.json").read_text())
    assert (data["schema"], data["verdict"]) == (1, "FAIL")
    assert data["results"][0]["test"] == "smoke/kafka/write-0"
    assert {p.name for p in second.iterdir()} == {
        "index.html",
        "junit.xml",
        "manifest.json",
        "manifest.sig",
        "report.pdf",
        "results.json",
    }
    write(tmp_path, make(Verdict.PASS, at=reports.BEGAN - 9999))
    assert latest.resolve() == second, "an old run that is signed again is not the latest one"


def test_the_paper_is_a_whole_pdf_of_several_pages(campaign: Path) -> None:
    paper = (campaign / "report.pdf").read_bytes()
    assert len(re.findall(rb"/Type /Page\b", paper)) > 5
    assert paper.rstrip().endswith(b"%%EOF")
