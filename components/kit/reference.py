"""`python -m components.kit.reference [--check]`: writes docs/reference/settings.md.

Types, bounds and defaults come from the models; a key's description is the comment above it or
behind it in its room's settings.py.
"""

from __future__ import annotations

import argparse
import inspect
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from components.kit.discovery import COMPONENTS, Room, rooms
from components.kit.layers import LAYERS
from components.kit.loading import SiteSettings, model_in
from components.kit.settings import ComponentSettings

TARGET = COMPONENTS.parent / "docs" / "reference" / "settings.md"
HEAD = """# Settings

Made by `python -m components.kit.reference`; do not edit. The keys of a room stand below
`apadana:<room>:` in `stacks/Pulumi.<site>-<layer>.yaml`. A key that is left out has its default.
"""
TABLE = "| key | type | default | what it is |\n|---|---|---|---|"
_FIELD = re.compile(r"^    (\w+)\s*:")
_COMMENT = re.compile(r"^    #:?\s?(.*)$")
_BEHIND = re.compile(r"\s{2}#\s?(?!noqa|type:)(.*)$")


def text() -> str:
    """The whole page."""
    parts = [HEAD, "## Every stack", "", *table(SiteSettings), ""]
    parts += ["## Every room", "", *table(ComponentSettings), ""]
    for layer in LAYERS:
        for room in rooms():
            if room.settings_class().layer == layer:
                parts += [f"## {room.name} (layer {layer})", "", *of_room(room), ""]
    return "\n".join(parts).rstrip() + "\n"


def of_room(room: Room) -> list[str]:
    """Its keys, or a word where it adds none; of a mapping that all rooms have only what it adds to that."""
    model, common = room.settings_class(), ComponentSettings.model_fields
    lines = list(rows(model, "", set(common)))
    for name, field in common.items():
        base, own = model_in(field.annotation), model_in(model.model_fields[name].annotation)
        if base and own and own is not base:
            lines += rows(own, f"{name}.", set(base.model_fields))
    return [TABLE, *lines] if lines else ["It has no keys of its own."]


def table(model: type[BaseModel]) -> list[str]:
    """The keys of one model, with those of the models inside it."""
    return [TABLE, *rows(model, "", set())]


def rows(model: type[BaseModel], prefix: str, left_out: set[str]) -> Iterator[str]:
    """A row for each key; a nested model follows its own key."""
    about = comments(model)
    schema = model.model_json_schema(by_alias=True)
    for name, field in model.model_fields.items():
        if name in left_out:
            continue
        key = f"{prefix}{field.alias or name}"
        said = schema["properties"][field.alias or name]
        cells = (f"`{key}`", kind(said, schema), default(field), about.get(name, ""))
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
        nested = model_in(field.annotation)
        if nested is not None:
            yield from rows(nested, f"{key}{_inside(said)}.", set())


def _inside(said: dict[str, Any]) -> str:
    """How the keys of a list's or a mapping's items are written."""
    if said.get("type") == "array":
        return "[]"
    mapping = isinstance(said.get("additionalProperties"), dict) or "patternProperties" in said
    return ".<name>" if mapping else ""


def kind(said: dict[str, Any], whole: dict[str, Any]) -> str:
    """What is allowed, from the JSON schema, as short as a person needs it."""
    if "$ref" in said:
        said = whole["$defs"][said["$ref"].rpartition("/")[2]]
    if "anyOf" in said:
        return " or ".join(kind(part, whole) for part in said["anyOf"])
    if "enum" in said or "const" in said:
        return " or ".join(str(value) for value in said.get("enum", [said.get("const")]))
    name = str(said.get("type", "anything"))
    if name == "array":
        items = said.get("items") or (said.get("prefixItems") or [{}])[0]
        return f"list of: {kind(items, whole)}"
    if name in ("integer", "number"):
        low, high = said.get("minimum", said.get("exclusiveMinimum")), said.get("maximum")
        if low is not None and high is not None:
            return f"{name}, {low} to {high}"
        return f"{name}, from {low}" if low is not None else name
    return {"object": "mapping", "boolean": "true or false", "string": "text"}.get(name, name)


def default(field: FieldInfo) -> str:
    """As YAML would say it."""
    if field.is_required():
        return "needed"
    value = field.get_default(call_default_factory=True)
    if value is PydanticUndefined:
        return ""
    shown = json.dumps(plain(value), ensure_ascii=False)
    return f"`{shown}`" if len(shown) <= 60 else "see below"


def plain(value: Any) -> Any:
    """Without models."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", by_alias=True, exclude_none=True)
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    return value


def comments(model: type[BaseModel]) -> dict[str, str]:
    """What the source says of each field, over the classes that it inherits from."""
    found: dict[str, str] = {}
    for base in reversed(model.__mro__):
        if issubclass(base, BaseModel) and base is not BaseModel:
            found |= _commented(inspect.getsource(base).splitlines())
    return found


def _commented(lines: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    above: list[str] = []
    for line in lines:
        if comment := _COMMENT.match(line):
            above.append(comment[1])
            continue
        if field := _FIELD.match(line):
            behind = _BEHIND.search(line)
            words = [*above, *([behind[1]] if behind else [])]
            if words:
                found[field[1]] = " ".join(words)
        above = []
    return found


def main(argv: list[str] | None = None) -> int:
    """Write, or only look."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; 1 if it is stale")
    check = parser.parse_args(argv).check
    current = TARGET.read_text(encoding="utf-8") if TARGET.exists() else ""
    wanted = text()
    if current == wanted:
        return 0
    sys.stdout.write(f"{'stale' if check else 'written'}: {TARGET.relative_to(Path.cwd())}\n")
    if check:
        return 1
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    TARGET.write_text(wanted, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
