"""What all pages look like. Pure."""

from __future__ import annotations

import html
from collections.abc import Iterable

DOCUMENT = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">{again}
<meta name="viewport" content="width=device-width"><title>{title}</title>
<style>
body{{font:15px/1.5 system-ui,sans-serif;max-width:76rem;margin:2rem auto;padding:0 1rem;color:#1d2430}}
h2{{margin:2rem 0 .4rem;font-size:1.15rem}}
table{{border-collapse:collapse;width:100%}}
td,th{{text-align:left;padding:.35rem .6rem;border-bottom:1px solid #d8dee6}}
td.n{{text-align:right;font-variant-numeric:tabular-nums}}
nav a{{margin-right:1rem}}
form{{display:inline-block;margin-right:.6rem}}
button{{font:inherit;padding:.3rem .9rem}}
.graph{{margin:1rem 0}}
.graph svg{{max-width:100%;height:auto}}
.edge{{fill:none;stroke:#9aa5b4;stroke-width:1.5}}
.step rect{{fill:#f4f6f9;stroke:#9aa5b4}}
.step text{{text-anchor:middle;font-size:13px}}
.step .small{{font-size:11px;fill:#5b6675}}
.done rect{{fill:#e5f4ea;stroke:#17693c}}.failed rect{{fill:#fbe7ea;stroke:#b01c2e}}
.runs rect{{fill:#fdf2dd;stroke:#8a5300}}
.skipped rect{{stroke-dasharray:4 3}}
.well{{color:#17693c}}.down,.critical{{color:#b01c2e;font-weight:600}}.part,.told,.warning{{color:#8a5300}}
.note{{color:#5b6675}}
</style></head><body><nav><a href="/">Parts</a><a href="/runs">Workflows</a></nav>{body}</body></html>
"""


def document(title: str, body: str, seconds: int | None) -> str:
    """A whole page, that asks again by itself after so many seconds; None: never."""
    again = f'<meta http-equiv="refresh" content="{seconds}">' if seconds else ""
    return DOCUMENT.format(title=html.escape(title), body=body, again=again)


def row(cells: Iterable[str]) -> str:
    """Of a table; the cells are HTML."""
    return f"<tr>{''.join(cells)}</tr>"


def cell(text: str, kind: str = "") -> str:
    """Of plain text; `kind` is a class."""
    return f"<td{f' class={kind!r}' if kind else ''}>{html.escape(text)}</td>"


def table(head: Iterable[str], rows: Iterable[str]) -> str:
    """`head` is plain text, `rows` are HTML."""
    return f"<table>{row(f'<th>{html.escape(name)}</th>' for name in head)}{''.join(rows)}</table>"
