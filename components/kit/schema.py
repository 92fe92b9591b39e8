"""`python -m components.kit.schema [--check]`: writes the JSON schemas that come from models.

chart/values.schema.json of each room whose settings.py defines `Values`, and the schema of the
platform contract in components/kit/.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from components.kit.contract import Platform
from components.kit.discovery import COMPONENTS, rooms


def wanted(folder: Path = COMPONENTS) -> dict[Path, str]:
    """Every generated file with the text it should have."""
    files = {folder / "kit" / "platform.schema.json": text(Platform)}
    for room in rooms(folder):
        model = getattr(room.module("settings"), "Values", None)
        if isinstance(model, type) and issubclass(model, BaseModel):
            files[room.path / "chart" / "values.schema.json"] = text(model)
    return files


def text(model: type[BaseModel]) -> str:
    """The schema as a file: draft 2020-12 is what pydantic makes; Helm 3.18+ reads it."""
    schema = model.model_json_schema(by_alias=True)
    for part in (schema, *schema.get("$defs", {}).values()):
        _nulls_may_be_absent(part)
    if model is not Platform:
        # Helm hands every chart a `global` mapping, and the library chart its own values.
        schema["properties"] |= {"global": {"type": "object"}, "kit": {"type": "object"}}
    return json.dumps(schema, indent=2, sort_keys=True) + "\n"


def _nulls_may_be_absent(schema: dict[str, Any]) -> None:
    """Pulumi drops null values on their way to the chart."""
    if "required" in schema:
        schema["required"] = [
            name for name in schema["required"] if {"type": "null"} not in schema["properties"][name].get("anyOf", [])
        ]


def stale(files: dict[Path, str]) -> list[Path]:
    """Files that are missing or differ."""
    return [path for path, content in files.items() if not path.exists() or path.read_text(encoding="utf-8") != content]


def main(argv: list[str] | None = None) -> int:
    """Write, or only look."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; 1 if one is stale")
    check = parser.parse_args(argv).check
    files = wanted()
    behind = stale(files)
    for path in behind:
        word = "stale" if check else "written"
        sys.stdout.write(f"{word}: {path.relative_to(COMPONENTS.parent)}\n")
        if not check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(files[path], encoding="utf-8")
    return 1 if check and behind else 0


if __name__ == "__main__":
    sys.exit(main())
