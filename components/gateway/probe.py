"""The gateway as its clients see it. Standard library and kit only."""

from __future__ import annotations

import http.client
import socket
import ssl
from collections.abc import Iterator, Mapping

from components.kit.asking import Place, required
from components.kit.probing import Check, Target, attempt
from components.kit.replicas import Found, plain, sound

CONNECT_SECONDS = 3.0
#: How a request without a log-in is answered: sent to the issuer, or refused in plain words.
REFUSED = (302, 401, 403)
BROWSER = {"Accept": "text/html"}
SCRIPT = {"X-Requested-With": "XMLHttpRequest"}
FORGED = {"Authorization": "Bearer not.a.token"}


def pages(target: Target) -> list[str]:
    """Public names of all pages."""
    domain = required(target, "web_domain")
    return [f"{name}.{domain}" for name in required(target, "pages").split(",") if name]


class _Line(http.client.HTTPSConnection):
    """A connection to the gateway that asks for a page by its public name."""

    def __init__(self, target: Target, page: str) -> None:
        context = ssl.create_default_context(cafile=target.ca_file)
        super().__init__(page, timeout=CONNECT_SECONDS, context=context)
        self._place = target.endpoint("https").hosts()[0]
        self._secure = context

    def connect(self) -> None:
        plain = socket.create_connection(self._place, CONNECT_SECONDS)
        self.sock = self._secure.wrap_socket(plain, server_hostname=self.host)


def ask(target: Target, page: str, headers: Mapping[str, str], path: str = "/") -> tuple[int, str]:
    """Status, and where one is sent to."""
    line = _Line(target, page)
    try:
        line.request("GET", path, headers=dict(headers))
        answer = line.getresponse()
        answer.read()
        return answer.status, answer.getheader("Location") or ""
    finally:
        line.close()


def _nothing(target: Target) -> Found:
    """TLS is verified on the way; a name that no room has leads nowhere."""
    page = f"no-such-page.{required(target, 'web_domain')}"
    status, _ = ask(target, page, BROWSER)
    return status == 404, f"{page}: {status}, 404 is wanted", {"status": status}


def _log_in(target: Target) -> Found:
    """No page answers a browser, a script or a forged token without a log-in."""
    seen: dict[str, dict[str, object]] = {}
    open_: list[str] = []
    for page in pages(target):
        answers = {
            what: ask(target, page, headers)
            for what, headers in (("browser", BROWSER), ("script", SCRIPT), ("forged", FORGED))
        }
        seen[page] = {what: status for what, (status, _) in answers.items()}
        open_ += [f"{page} ({what}: {status})" for what, (status, _) in answers.items() if status not in REFUSED]
        status, place = answers["browser"]
        if status == 302 and not place.startswith("https://"):
            open_.append(f"{page} sends to {place or 'nowhere'}")
    said = "; ".join(open_) or f"{len(seen)} pages, each refuses who has not logged in"
    return not open_, said, {"pages": seen}


def _ready(place: Place) -> str:
    plain(place, "/ready", CONNECT_SECONDS)
    return ""


def _proxies(target: Target) -> Found:
    """As many as there should be, each ready."""
    return sound(target, "http", _ready, int(required(target, "proxies")), "proxies")


def smoke(target: Target) -> Iterator[Check]:
    """The door, what is behind it for strangers, and each proxy."""
    yield attempt("gateway: an unknown page leads nowhere", lambda: _nothing(target))
    yield attempt("gateway: no page without a log-in", lambda: _log_in(target))
    yield attempt("gateway: every proxy is ready", lambda: _proxies(target))


def primary(target: Target) -> str | None:
    """None: every proxy serves every page."""
    del target
    return None


def whole(target: Target) -> Check:
    """All proxies are there and ready."""
    return attempt("gateway: whole", lambda: _proxies(target))
