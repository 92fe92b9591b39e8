"""What a replica shows: a page for people, the same as JSON, its health, numbers for Prometheus; and what it takes."""

from __future__ import annotations

import html
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from components.outcomes.server import serving, told
from components.outcomes.server.figures import Figures, bounds
from components.outcomes.server.keeping import Kept

JSON = "application/json"
MOST_DAYS = 366

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Outcomes</title>
<style>
body{{font:15px/1.5 system-ui,sans-serif;max-width:72rem;margin:2rem auto;padding:0 1rem;color:#1d2430}}
table{{border-collapse:collapse;width:100%}}td,th{{text-align:left;padding:.4rem .6rem;border-bottom:1px solid #d8dee6}}
td.n{{text-align:right;font-variant-numeric:tabular-nums}}</style></head>
<body><h1>Predictions and what became of them</h1>
<p>Platform {site}, the last {days} days (UTC). <b>known</b>: questions of which somebody told what was true.
<b>wrong</b>: of rows with a label, with the bounds of the share. <b>off</b>: of rows with a number, how far from
the truth, in the mean.</p>
<table><tr><th>model</th><th>version</th><th>day</th><th>predictions</th><th>known</th><th>not sure</th><th>wrong</th>
<th>off</th></tr>{rows}</table><p>{count}</p></body></html>
"""


@dataclass(frozen=True)
class Facts:
    """What the page is made of."""

    site: str
    days: int
    kept: Kept
    health: Callable[[], str]  # why it is not well; "": it is
    lately: Callable[[], list[Figures]]  # of the last day
    numbers: Callable[[], Iterable[tuple[str, str, float]]]  # name, type, value


def page(facts: Facts, found: list[Figures]) -> str:
    """HTML without scripts."""
    rows = "".join(f"<tr>{''.join(_cells(each))}</tr>" for each in found)
    count = "" if found else "Nothing was predicted that has a name: clients give one as <code>id</code>."
    return PAGE.format(site=html.escape(facts.site), days=facts.days, rows=rows, count=count)


def _cells(each: Figures) -> Iterator[str]:
    low, high = bounds(each.wrong, each.labels)
    wrong = f"{each.wrong / each.labels:.1%} ({low:.1%} to {high:.1%})" if each.labels else ""
    off = f"{each.absolute:.4g}" if each.numbers else ""
    for text in (each.model, each.version, each.day):
        yield f"<td>{html.escape(text)}</td>"
    for text in (f"{each.predictions}", f"{each.known}", f"{each.unsure}", wrong, off):
        yield f'<td class="n">{text}</td>'


def numbers(facts: Facts) -> str:
    """Prometheus' text."""
    lines = []
    for name, kind, value in facts.numbers():
        lines += [f"# TYPE {name} {kind}", f"{name} {value:g}"]
    lately = facts.lately()
    for name, number in (
        ("predictions", lambda each: each.predictions),
        ("known", lambda each: each.known),
        ("rows", lambda each: each.labels),
        ("wrong", lambda each: each.wrong),
        ("wrong_share_least", lambda each: bounds(each.wrong, each.labels)[0]),
        ("off_mean", lambda each: each.absolute),
    ):
        lines.append(f"# TYPE apadana_outcomes_{name} gauge")
        for each in lately:
            labels = f'{{model="{each.model}",version="{each.version}"}}'
            lines.append(f"apadana_outcomes_{name}{labels} {number(each):g}")
    return "\n".join([*lines, ""])


class _Handler(serving.Handler):
    server: Server

    def get(self) -> None:
        """The page, what it is made of, one question."""
        facts, parts = self.server.facts, urlsplit(self.path)
        query = {key: values[-1] for key, values in parse_qs(parts.query).items()}
        if parts.path == "/health":
            why = facts.health()
            self.answer(503 if why else 200, "text/plain", f"{why or 'well'}\n")
        elif parts.path == "/metrics":
            self.answer(200, "text/plain; version=0.0.4", numbers(facts))
        elif parts.path == "/":
            self._try(lambda: self.answer(200, "text/html; charset=utf-8", page(facts, self._found(facts.days))))
        elif parts.path == "/report":
            self._report(query)
        elif parts.path == "/outcomes":
            self._named(query, lambda model, name: facts.kept.of(model, name))
        else:
            self.answer(404, "text/plain", "there are /, /report, /outcomes, /metrics and /health\n")

    def post(self) -> None:
        """What turned out to be true; 200 says that all of it is kept."""
        if self.path != "/outcomes":
            self.refuse()
            return
        body = self.body(told.LARGEST)
        if body is None:
            return
        try:
            found = told.read(body)
        except told.BadOutcomesError as error:
            self._json(400, {"errors": error.mistakes})
            return

        def keep() -> None:
            self.server.facts.kept.true(found)
            self._json(200, {"kept": len(found)})

        self._try(keep)

    def delete(self) -> None:
        """All that is kept of one question."""
        parts = urlsplit(self.path)
        query = {key: values[-1] for key, values in parse_qs(parts.query).items()}
        if parts.path != "/outcomes":
            self.refuse()
            return
        self._named(query, lambda model, name: {"gone": self.server.facts.kept.forget(model, name)})

    def _report(self, query: dict[str, str]) -> None:
        days, model = query.get("days", str(self.server.facts.days)), query.get("model", "")
        if not (days.isdigit() and 1 <= int(days) <= MOST_DAYS):
            self._json(400, {"errors": [f"days is {days[:20]!r}; allowed: 1 to {MOST_DAYS}"]})
            return
        self._try(lambda: self._json(200, {"figures": [each.told() for each in self._found(int(days), model)]}))

    def _found(self, days: int, model: str = "") -> list[Figures]:
        return self.server.facts.kept.figures(days * 24, model, by_day=True)

    def _named(self, query: dict[str, str], what: Callable[[str, str], object]) -> None:
        model, name = query.get("model", ""), query.get("id", "")
        if not model or not name or "\0" in model + name:
            self._json(400, {"errors": ["model and id are needed: ?model=NAME&id=ID"]})
            return
        self._try(lambda: self._json(200, what(model, name)))

    def _try(self, what: Callable[[], object]) -> None:
        """Who asks is told that the database is away, and may ask again."""
        try:
            what()
        except OSError as error:
            if isinstance(error, ConnectionError | TimeoutError):
                raise  # the caller left
            self._json(503, {"errors": [f"{error}; ask again"]})

    def _json(self, status: int, found: object) -> None:
        self.answer(status, JSON, json.dumps(found))


class Server(serving.Server):
    """What is told, over HTTPS."""

    def __init__(self, facts: Facts, port: int, folder: Path) -> None:
        super().__init__(_Handler, port, folder)
        self.facts = facts
