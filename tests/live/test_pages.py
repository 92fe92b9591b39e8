"""The pages: nobody gets in without a log-in, and with one each role does what it may."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from components.kit.manifests import manifest
from components.kit.web import Role
from tests import lab, pages
from validate.ground.pods import new_run_id

pytestmark = pytest.mark.live
#: Where pictures go that a person wants to look at; none are kept otherwise.
PICTURES = os.environ.get("APADANA_PICTURES")
STEPS_MS = 240_000  # two steps take half a minute where nobody else works, and as long as it takes where others do


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with pages.browser() as found:
        yield found


ROOMS = sorted(pages.addresses())


@pytest.mark.parametrize("room", ROOMS)
def test_a_page_leads_to_the_log_in_and_from_there_back(browser: Browser, room: str) -> None:
    address = pages.addresses()[room]
    page = pages.logged_in(browser, address, Role.ADMIN)
    page.wait_for_function("document.title && document.body.innerText.trim().length > 20")
    if PICTURES:
        page.screenshot(path=Path(PICTURES) / f"{room}.png")
    page.context.close()


@pytest.mark.parametrize("room", ROOMS)
def test_a_script_without_a_log_in_is_refused(room: str) -> None:
    address = pages.addresses()[room]
    status, place = pages.answer(address)
    assert status in (302, 401), status
    if status == 302:
        assert "/realms/platform/" in place
    assert pages.answer(address, token="e30.e30.AA")[0] == 401


def test_who_may_only_look_sees_lists(browser: Browser) -> None:
    """MLflow's page asks for them by POST."""
    page = pages.logged_in(browser, pages.addresses()["mlflow"], Role.VIEWER)
    wish = {"max_results": 5}
    status, found = pages.posted(page, "/ajax-api/2.0/mlflow/experiments/search", wish)
    assert status == 200 and found["experiments"], found
    page.context.close()


def test_who_may_only_look_can_not_write(browser: Browser) -> None:
    address = pages.addresses()["mlflow"]
    for role, expected in ((Role.VIEWER, 403), (Role.SCIENTIST, 200)):
        page = pages.logged_in(browser, address, role)
        wish = {"name": f"made-by-a-{role}-{new_run_id()}"}  # a deleted name stays taken
        status, made = pages.posted(page, "/api/2.0/mlflow/experiments/create", wish)
        assert status == expected, (role, made)
        if status == 200:
            gone = {"experiment_id": made["experiment_id"]}
            assert pages.posted(page, "/api/2.0/mlflow/experiments/delete", gone)[0] == 200
        page.context.close()


@pytest.fixture
def run() -> Iterator[str]:
    """Name of a workflow to be begun; it is gone afterwards, and what its retry made."""
    name = f"pages-{new_run_id()}"
    yield name
    lab.cluster().run("-n", space(), "delete", "workflows.argoproj.io", "-l", f"apadana.io/pages={name}")


def space() -> str:
    """Where workflows are."""
    found = next(each for each in lab.found().platform.components if each.name == "workflows")
    return str(found.client.required["namespace"])


def begin(run: str) -> None:
    """The two steps of the validator's own template."""
    marks, spec = {"apadana.io/pages": run}, {"workflowTemplateRef": {"name": "workflows-probe"}}
    lab.cluster().apply(manifest("argoproj.io/v1alpha1", "Workflow", run, namespace=space(), marks=marks, spec=spec))


@pytest.mark.campaign
def test_a_run_is_drawn_stopped_and_begun_again(browser: Browser, run: str) -> None:
    portal = pages.addresses()["portal"]
    looker = pages.logged_in(browser, portal, Role.VIEWER)
    page = pages.logged_in(browser, portal, Role.SCIENTIST)
    begin(run)
    assert looker.evaluate(f"fetch('/runs/{run}/stop', {{method: 'POST'}}).then(got => got.status)") == 403
    looker.context.close()
    page.goto(f"{portal}runs/{run}")
    page.click("text=Stop")
    page.wait_for_function("document.body.innerText.includes('Stopped')", timeout=STEPS_MS)
    page.click("text=Retry")
    page.wait_for_url(f"**/runs/{run}-*")
    page.wait_for_function("document.querySelectorAll('svg .done').length == 2", timeout=STEPS_MS)
    if PICTURES:
        page.screenshot(path=Path(PICTURES) / "run.png")
    page.click("text=what its steps said")
    page.wait_for_function("document.body.innerText.includes('== write')", timeout=STEPS_MS)
    page.context.close()
