"""The report: one page without anything from elsewhere, JUnit that parses, JSON, a latest link."""

from __future__ import annotations

import json
import re
import time
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from components.kit.probing import Verdict
from validate import report
from validate.model import Result, Run, Table
from validate.report import html, junit

EVIL = "<script>alert(1)</script> & \x00 \x1b[31m\ud800 é"


def make(*verdicts: Verdict, name: str = "write") -> Run:
    results = [
        Result("smoke", f"store{n % 4}", f"{name} {n}", verdict, f"detail {n}", {"n": n}, 0.5)
        for n, verdict in enumerate(verdicts)
    ]
    run = Run("Smoke", "lab", "smoke --stack lab", "sha256:0", results=results)
    run.limits = ["The GPUs are pretended."]
    run.finished = run.started + 3
    return run


class Outside(HTMLParser):
    """Collects what a page would fetch or run."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("script", "link", "img", "iframe", "object"):
            self.found.append(tag)
        self.found += [
            f"{k}={v}" for k, v in attrs if k in ("src", "href") and not (v or "").startswith("#")
        ]


@pytest.mark.parametrize("verdict", list(Verdict))
def test_the_page_says_the_verdict_first_and_fetches_nothing(verdict: Verdict) -> None:
    page = html.render(make(Verdict.PASS, verdict))
    assert page.index(f"<b>{verdict}</b>") < page.index("does not cover") < page.index("Evidence")
    assert "GPUs are pretended" in page
    outside = Outside()
    outside.feed(page)
    assert outside.found == []
    assert "url(" not in page and "@import" not in page


def test_what_a_store_said_can_not_become_markup() -> None:
    run = make(Verdict.FAIL)
    run.results = [Result("smoke", EVIL, EVIL, Verdict.FAIL, EVIL, {"e": EVIL})]
    run.tables = [Table(EVIL, [EVIL], [[EVIL]], EVIL)]
    assert "<script" not in html.render(run)
    tree = ET.fromstring(junit.render(run))
    assert tree.find("testsuite/testcase/failure") is not None


def test_every_link_of_the_matrix_has_its_evidence() -> None:
    page = html.render(make(*[Verdict.PASS] * 9))
    links = set(re.findall(r'href="#(e[^"]+)"', page))
    assert len(links) == 9
    assert links == set(re.findall(r'<details id="(e[^"]+)"', page))


def test_junit_counts_failures_and_errors() -> None:
    tree = ET.fromstring(junit.render(make(Verdict.PASS, Verdict.FAIL, Verdict.INVALID)))
    suites = {s.get("name"): (s.get("tests"), s.get("failures"), s.get("errors")) for s in tree}
    assert suites == {
        "store0": ("1", "0", "0"),
        "store1": ("1", "1", "0"),
        "store2": ("1", "0", "1"),
    }


def test_files_and_latest(tmp_path: Path) -> None:
    first = report.write(tmp_path, make(Verdict.PASS))
    run = make(Verdict.FAIL)
    second = report.write(tmp_path, run)
    assert first != second
    assert (tmp_path / "latest").resolve() == second
    data = json.loads((second / "results.json").read_text())
    assert (data["schema"], data["verdict"]) == (1, "FAIL")
    assert {p.name for p in second.iterdir()} == {"index.html", "junit.xml", "results.json"}


def test_an_empty_run_is_invalid_and_still_a_page() -> None:
    run = make()
    assert run.verdict is Verdict.INVALID
    assert "No verdict is possible" in html.render(run)


def test_five_hundred_checks_take_under_three_seconds_and_five_megabytes(tmp_path: Path) -> None:
    begin = time.monotonic()
    folder = report.write(tmp_path, make(*[Verdict.PASS] * 500))
    assert time.monotonic() - begin < 3
    assert (folder / "index.html").stat().st_size < 5_000_000
