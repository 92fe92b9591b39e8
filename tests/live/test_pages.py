"""The pages: nobody gets in without a log-in, and with one each role does what it may."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from components.kit.web import Role
from tests import pages

pytestmark = pytest.mark.live
#: Where pictures go that a person wants to look at; none are kept otherwise.
PICTURES = os.environ.get("APADANA_PICTURES")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with pages.browser() as found:
        yield found


ROOMS = sorted(pages.addresses())


@pytest.mark.parametrize("room", ROOMS)
def test_a_page_leads_to_the_log_in_and_from_there_back(browser: Browser, room: str) -> None:
    address = pages.addresses()[room]
    page = pages.logged_in(browser, address, Role.ADMIN)
    page.wait_for_load_state("networkidle")
    assert page.title(), f"{address} shows a page without a title"
    if PICTURES:
        page.screenshot(path=Path(PICTURES) / f"{room}.png")
    page.context.close()


@pytest.mark.parametrize("room", ROOMS)
def test_a_script_without_a_log_in_is_refused(browser: Browser, room: str) -> None:
    context = browser.new_context(ignore_https_errors=True)
    answer = context.request.get(pages.addresses()[room], max_redirects=0)
    assert answer.status in (302, 401), answer.status
    if answer.status == 302:
        assert "/realms/platform/" in answer.headers["location"]
    forged = {"Authorization": "Bearer e30.e30.AA"}
    assert context.request.get(pages.addresses()[room], headers=forged).status == 401
    context.close()


def test_who_may_only_look_can_not_write(browser: Browser) -> None:
    address = pages.addresses()["mlflow"]
    wish = {"name": "viewers-can-not-make-this"}
    for role, expected in ((Role.VIEWER, 403), (Role.SCIENTIST, 200)):
        page = pages.logged_in(browser, address, role)
        assert page.request.get(address).status == 200, role
        answer = page.request.post(f"{address}api/2.0/mlflow/experiments/create", data=wish)
        assert answer.status == expected, (role, answer.text()[:200])
        if answer.ok:
            made = {"experiment_id": answer.json()["experiment_id"]}
            gone = page.request.post(f"{address}api/2.0/mlflow/experiments/delete", data=made)
            assert gone.ok, gone.text()[:200]
        page.context.close()
