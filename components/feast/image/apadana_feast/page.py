"""What there is to ask for, as a page for people."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from .definitions import Definitions, Feature

TITLE = "Features"


def html(wanted: Definitions) -> str:
    """The whole page: each view with its entity, its time to live and its features."""
    head = f"<!doctype html><html lang='en'><head><meta charset='utf-8'><title>{TITLE}</title></head>"
    return f"{head}<body><h1>{TITLE}</h1>{''.join(_views(wanted))}</body></html>"


def _views(wanted: Definitions) -> Iterator[str]:
    for view in wanted.views:
        key = wanted.entity(view).key
        yield f"<h2>{escape(view.name)}</h2><p>by {escape(key)}, known for {view.ttl_hours} hours</p><ul>"
        yield from (f"<li>{escape(view.name)}:{escape(each.name)} {_bounds(each)}</li>" for each in view.features)
        yield "</ul>"


def _bounds(feature: Feature) -> str:
    said: list[str] = [feature.type]
    said += [f"at least {feature.least:g}"] if feature.least is not None else []
    said += [f"at most {feature.most:g}"] if feature.most is not None else []
    said += [f"one of {', '.join(feature.one_of)}"] if feature.one_of else []
    return escape(", ".join(said))
