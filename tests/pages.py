"""The platform's pages as a person meets them: a browser, the floating address, the log-in."""

from __future__ import annotations

import base64
import http.client
import os
import re
import shutil
import socket
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import yaml
from playwright.sync_api import Browser, Page, sync_playwright

from components.kit.loading import Loaded
from components.kit.web import Role
from components.kit.webs import host, pages, url
from stacks.composition import compose
from tests import lab
from validate.ground.site import REPOSITORY

TIMEOUT_MS = 60_000  # a machine that does much else is slow, not wrong
ARGS = ("--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage")


def floating() -> str:
    """The address that people reach the lab by."""
    file = REPOSITORY / "inventories" / lab.SITE / "group_vars" / "all" / "main.yml"
    return str(yaml.safe_load(file.read_text(encoding="utf-8"))["site_vip"])


@contextmanager
def browser() -> Iterator[Browser]:
    """Chromium that finds the lab's pages at the floating address."""
    program = os.environ.get("APADANA_CHROMIUM") or shutil.which("chromium")
    assert program, "no Chromium: road/prerequisites.sh engine installs it"
    loaded = settings()
    domain = loaded.facts({}).web_domain
    rule = f"--host-resolver-rules=MAP *.{domain} {floating()}"
    with sync_playwright() as play:
        found = play.chromium.launch(executable_path=program, args=[*ARGS, rule])
        yield found
        found.close()


def settings() -> Loaded:
    return compose(lab.SITE)


def addresses() -> dict[str, str]:
    """Each page behind the log-in, by its room."""
    loaded = settings()
    facts = loaded.facts({})
    return {room: url(web.name, facts) for room, web in pages(facts).items()}


def names() -> list[str]:
    """The public names of all pages."""
    loaded = settings()
    facts = loaded.facts({})
    return [host(web.name, facts) for web in pages(facts).values()]


def person(role: Role) -> tuple[str, str]:
    """A user of the settings with this role, and the derived password."""
    identity = settings().rooms["identity"].model_dump()
    name = next(user["name"] for user in identity["users"] if role in user["roles"])
    where = ("-n", lab.found().platform.namespace, "get", "secret", "identity-users")
    data = lab.cluster().json(*where)["data"]
    key = next(key for key in data if key.startswith(name))
    return name, base64.b64decode(data[key]).decode()


def answer(address: str, *, token: str = "") -> tuple[int, str]:
    """What a script without a log-in gets: the status, and where it is sent."""
    name = address.removeprefix("https://").rstrip("/")
    context = ssl.create_default_context(cafile=str(lab.found().site_ca))
    with (
        socket.create_connection((floating(), 443), timeout=20) as plain,
        context.wrap_socket(plain, server_hostname=name) as secure,
    ):
        connection = http.client.HTTPConnection(name, timeout=20)
        connection.sock = secure
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        connection.request("GET", "/", headers=headers)
        found = connection.getresponse()
        return found.status, found.headers.get("location") or ""


def posted(page: Page, path: str, wish: Mapping[str, object]) -> tuple[int, dict[str, Any]]:
    """What the page's own script gets when it writes, as the person who is logged in."""
    script = """async ([path, wish]) => {
        const headers = {"Content-Type": "application/json"};
        const got = await fetch(path, {method: "POST", headers, body: JSON.stringify(wish)});
        const text = await got.text();
        return [got.status, text.startsWith("{") ? JSON.parse(text) : {text}];
    }"""
    status, told = page.evaluate(script, [path, dict(wish)])
    return int(status), dict(told)


def logged_in(found: Browser, address: str, role: Role) -> Page:
    """The page after the log-in. TLS is not checked here: the browser knows no CA of the site."""
    context = found.new_context(ignore_https_errors=True, viewport={"width": 1280, "height": 800})
    page = context.new_page()
    page.set_default_timeout(TIMEOUT_MS)
    page.goto(address)
    name, password = person(role)
    page.fill("input[name=username]", name)
    page.fill("input[name=password]", password)
    page.click("[type=submit]")
    page.wait_for_url(re.compile(re.escape(address.rstrip("/")) + "(/|$)"))
    return page
