"""What a replica answers: pages, the same as JSON, its health, numbers for Prometheus; and two things that it does."""

from __future__ import annotations

import base64
import http.client
import json
import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from components.portal.server import runs_page, serving
from components.portal.server.flows import Flows, NoSuchRun
from components.portal.server.page import Facts, page, state
from components.portal.server.watch import Watch
from components.portal.server.watching import Figures

PATHS = "there are /, /state, /runs, /runs/NAME, /runs/NAME/log, /metrics and /health\n"
RUN = re.compile(r"/runs/([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?)(/log|/stop|/again)?")
HTML, TEXT = "text/html; charset=utf-8", "text/plain; charset=utf-8"


class _Handler(serving.Handler):
    server: Server

    def get(self) -> None:
        """A page, or what it is made of."""
        facts, path = self.server.facts, self.path.partition("?")[0]
        if path == "/health":
            why = facts.health()
            self.answer(503 if why else 200, "text/plain", f"{why or 'well'}\n")
        elif path == "/metrics":
            numbers = f"# TYPE apadana_portal_age_seconds gauge\napadana_portal_age_seconds {facts.age():.1f}\n"
            watch = self.server.watch
            self.answer(200, "text/plain; version=0.0.4", numbers + (watch.text() if watch else ""))
        elif path == "/state":
            self.answer(200, "application/json", json.dumps(state(facts.overview())))
        elif path == "/":
            self.answer(200, HTML, page(facts))
        elif path == "/runs":
            self._of_runs(lambda flows: (HTML, runs_page.listed(facts.site, flows.all())))
        elif (asked := RUN.fullmatch(path)) and asked[3] == "/log":
            self._of_runs(lambda flows: (TEXT, flows.lines(asked[1])))
        elif asked and asked[3] is None:
            self._of_runs(lambda flows: (HTML, runs_page.shown(facts.site, flows.one(asked[1]), self.server.seen())))
        else:
            self.answer(404, TEXT, PATHS)

    def post(self) -> None:
        """End a run, or begin it again; then its page is shown."""
        asked = RUN.fullmatch(self.path)
        if self.body(0) is None:
            return
        if not asked or asked[3] not in ("/stop", "/again"):
            self.answer(404, TEXT, "there are /runs/NAME/stop and /runs/NAME/again\n")
        elif why := self._from_elsewhere():
            self.answer(403, TEXT, why)
        else:
            by = who(self.headers.get("Authorization", ""))
            self.server.log(f"{by or 'somebody'} asks: {self.path}")
            self._of_runs(lambda flows: self._do(flows, asked[1], asked[3], by), status=303)

    def _from_elsewhere(self) -> str:
        """Why this is none of our own page's buttons; "": it may be one."""
        origin = self.headers.get("Origin")
        if origin is None or urlsplit(origin).netloc == self.headers.get("Host"):
            return ""
        return f"asked by a page of {origin!r}: only this page's own buttons change anything\n"

    def _do(self, flows: Flows, name: str, what: str, by: str) -> tuple[str, str]:
        if what == "/stop":
            flows.stop(name, by)
        else:
            name = flows.again(name, by)
        self.leads_to = f"/runs/{name}"
        return TEXT, f"{self.leads_to}\n"

    def _of_runs(self, told: Callable[[Flows], tuple[str, str]], status: int = 200) -> None:
        flows = self.server.flows
        if flows is None:
            self.answer(404, TEXT, "the room workflows is off on this site\n")
            return
        try:
            kind, text = told(flows)
        except NoSuchRun as error:
            status, kind, text = 404, TEXT, f"there is no run {error}; /runs lists them\n"
        except ValueError as error:
            status, kind, text = 409, TEXT, f"{error}\n"
        except (OSError, http.client.HTTPException) as error:
            status, kind, text = 502, TEXT, f"the API server does not answer, or says no: {error}\n"
        self.answer(status, kind, text)


def who(authorization: str) -> str:
    """A person's name, out of the token that the gateway has verified and passes on. "": none is told."""
    try:
        part = authorization.removeprefix("Bearer ").split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
        return str(claims.get("preferred_username") or claims.get("sub") or "")[:63]
    except (ValueError, LookupError, AttributeError):
        return ""


class Server(serving.Server):
    """What is told, over HTTPS. `flows`, `watch`: None where the site has no workflows."""

    def __init__(
        self,
        facts: Facts,
        flows: Flows | None,
        port: int,
        folder: Path,
        log: Callable[[str], None],
        watch: Watch | None = None,
    ) -> None:
        super().__init__(_Handler, port, folder)
        self.facts, self.flows, self.log, self.watch = facts, flows, log, watch

    def seen(self) -> Figures:
        """What the last look at runs gave."""
        return self.watch.figures if self.watch else Figures()
