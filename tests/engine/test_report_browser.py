"""The report in a real browser, off-line: what a reader sees on a desk, on a phone, on paper.

Needs Chromium of the machine (APADANA_CHROMIUM, or chromium on the PATH). On CI its absence is a
failure, elsewhere the test is skipped and says so.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from components.kit.probing import Verdict
from tests.reports import EVIL, make, whole, write
from validate.core.model import Result

pytestmark = pytest.mark.engine
ARGS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
DESK, PHONE = {"width": 1200, "height": 900}, {"width": 360, "height": 740}
TIMEOUT_MS = 60_000  # a machine that does much else is slow, not wrong
LEAST_CONTRAST = 4.5  # WCAG 2.2, 1.4.3, for text of normal size


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    program = os.environ.get("APADANA_CHROMIUM") or shutil.which("chromium")
    if program is None:
        told = "no Chromium: install chromium, or name one with APADANA_CHROMIUM"
        if os.environ.get("CI"):
            pytest.fail(told)
        pytest.skip(told)
    with sync_playwright() as play:
        found = play.chromium.launch(executable_path=program, args=ARGS, timeout=TIMEOUT_MS)
        yield found
        found.close()


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("browser")
    write(folder, make(Verdict.PASS))
    run = whole()
    run.results.append(Result("smoke", EVIL, EVIL * 3, Verdict.INVALID, EVIL + "x" * 900, {EVIL: EVIL}))
    return write(folder, run, witnesses=("A. Witness",)) / "index.html"


def opened(
    browser: Browser, page: Path, size: dict[str, int], *, script: bool = False, dark: bool = False
) -> tuple[Page, list[str]]:
    """The page, and what it asked for besides itself. Scripts run only where a test needs them."""
    context = browser.new_context(
        viewport={"width": size["width"], "height": size["height"]},
        offline=True,
        java_script_enabled=script,
        color_scheme="dark" if dark else "light",
        bypass_csp=script,
    )
    context.set_default_timeout(TIMEOUT_MS)
    tab = context.new_page()
    asked: list[str] = []
    tab.on("request", lambda request: asked.append(request.url))
    tab.on("console", lambda message: asked.append(f"console: {message.text}"))
    tab.goto(page.as_uri())
    return tab, [url for url in asked if url != page.as_uri()]


@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_a_reader_sees_the_verdict_first_and_nothing_is_fetched(
    browser: Browser, report: Path, size: dict[str, int]
) -> None:
    page, asked = opened(browser, report, size)
    verdict = page.locator("#verdict b")
    assert verdict.inner_text() == "FAIL"
    box = verdict.bounding_box()
    assert box is not None and box["y"] + box["height"] < size["height"], "on the first screen"
    assert "1 of 22 tests show a promise that does not hold: lost writes" in page.inner_text("#verdict")
    for heading in (
        "What does not hold",
        "What is not covered",
        "What could not be judged",
        "What changed since the last report",
        "Who answers for it",
        "Stores under faults",
    ):
        assert page.get_by_role("heading", name=heading, exact=True).is_visible()
    assert "A. Witness" in page.inner_text("#signed")
    assert "not the client's key" in page.inner_text("#signed")
    assert asked == []


@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_nothing_is_wider_than_the_screen(browser: Browser, report: Path, size: dict[str, int]) -> None:
    page, _ = opened(browser, report, size, script=True)
    page.evaluate("document.querySelectorAll('details').forEach(e => { e.open = true })")
    wide = page.evaluate(
        """() => [...document.querySelectorAll('body *')].filter(e => {
             if (e.closest('.scroll') || e.closest('svg') || e.closest('.skip')) return false;
             const box = e.getBoundingClientRect();
             return box.width > 0 && box.right > document.documentElement.clientWidth + 1;
           }).map(e => e.tagName + '.' + e.className + ' ' + e.textContent.slice(0, 60))"""
    )
    assert wide == []
    assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]


def test_each_link_leads_to_what_can_be_seen_without_any_script(browser: Browser, report: Path) -> None:
    page, _ = opened(browser, report, DESK)
    links = page.locator('#matrix a[href^="#r"]')
    targets = {link.get_attribute("href") or "" for link in links.all()}
    assert len(targets) == 22, "each of the tests is named by some clause"
    for target in sorted(targets):
        assert page.locator(target).count() == 1, target
    name = page.locator("#records details:not([open]) .raw").first.get_attribute("id")
    hidden = page.locator(f"#{name}")
    assert not hidden.is_visible()
    closed = page.locator("#matrix details.tests:not([open]) > summary")
    while closed.count():
        closed.first.click()
    page.locator(f'#matrix a[href="#{name}"]').first.click()
    assert hidden.is_visible(), "its record opens by itself"
    assert re.search("[0-9a-f]{64}", hidden.inner_text())


def test_a_cell_of_stores_and_faults_opens_its_record(browser: Browser, report: Path) -> None:
    page, _ = opened(browser, report, PHONE)
    page.locator("#glance td.FAIL a").click()
    seen = page.locator(".raw:target")
    assert seen.is_visible()
    assert "chaos/redis/network-cut-acknowledged-writes" in seen.inner_text()
    box = seen.bounding_box()
    assert box is not None and 0 <= box["y"] < PHONE["height"]


def test_hostile_words_are_shown_and_do_nothing(browser: Browser, report: Path) -> None:
    page, asked = opened(browser, report, DESK, script=True)
    assert asked == []
    assert page.locator("script").count() == 0
    assert page.locator("#unclear").get_by_text("<script>alert(1)</script>").first.is_visible()
    assert page.evaluate("document.querySelector('#apadana-seal').content.textContent.length") > 900


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_every_text_stands_out_from_its_ground(browser: Browser, report: Path, dark: bool) -> None:
    page, _ = opened(browser, report, DESK, script=True, dark=dark)
    weak = page.evaluate(
        """least => {
          const parts = c => (c.match(/[\\d.]+/g) || []).map(Number);
          const light = c => { const [r, g, b] = c.map(v => { v /= 255;
            return v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4 });
            return .2126 * r + .7152 * g + .0722 * b };
          const ground = e => { for (; e; e = e.parentElement) {
            const c = parts(getComputedStyle(e).backgroundColor);
            if (c.length === 3 || c[3] > .99) return c.slice(0, 3) } return [255, 255, 255] };
          const found = new Set();
          for (const e of document.querySelectorAll('main *')) {
            if (![...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim())) continue;
            if (!e.checkVisibility() || e.closest('svg')) continue;
            const a = light(parts(getComputedStyle(e).color).slice(0, 3)), b = light(ground(e));
            const contrast = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
            if (contrast < least) found.add(`${e.tagName}.${e.className} ${contrast.toFixed(2)}`);
          }
          return [...found];
        }""",
        LEAST_CONTRAST,
    )
    assert weak == []


def test_it_prints(browser: Browser, report: Path, tmp_path: Path) -> None:
    page, _ = opened(browser, report, DESK)
    raw = page.pdf(path=str(tmp_path / "paper.pdf"), prefer_css_page_size=True)
    pages = len(re.findall(rb"/Type\s*/Page\b", raw))
    assert 6 < pages < 60
    page.emulate_media(media="print")
    assert not page.locator("nav").is_visible()
    assert page.locator("#verdict").is_visible()


def test_a_small_run_gets_a_small_page(browser: Browser, tmp_path: Path) -> None:
    page, _ = opened(browser, write(tmp_path, make(Verdict.PASS, Verdict.PASS)) / "index.html", PHONE)
    assert page.locator("#verdict b").inner_text() == "PASS"
    assert page.locator("#glance, #faults, #figures, #tables, #failed").count() == 0
    assert "Each of the 2 tests that were made holds" in page.inner_text("#verdict")
    assert "clauses have no test" in page.inner_text("#uncovered"), "a PASS is not all of it"
