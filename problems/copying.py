"""A new problem: the folder `tabular` again, under another name."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from common.errors import Refusal

HERE = Path(__file__).parent
EXAMPLE = "tabular"
NAME = re.compile(r"[a-z][a-z0-9]{1,19}")


def new(name: str, folder: Path = HERE) -> Path:
    """The new folder. Raises Refusal for a name that can't be a Python package and a part of Kubernetes' names, or is
    taken."""
    if not NAME.fullmatch(name):
        raise Refusal(f"a problem's name is 2 to 20 small letters and digits, a letter first; {name!r} is not")
    place = folder / name
    if place.exists() or (folder / f"{name}.py").exists():
        raise Refusal(f"{place} is there already; choose another name")
    shutil.copytree(folder / EXAMPLE, place, ignore=shutil.ignore_patterns("__pycache__"))
    (place / "views" / f"{EXAMPLE}.yaml").rename(place / "views" / f"{name}.yaml")
    for file in [*place.glob("*.py"), *place.glob("*.md"), *place.glob("views/*.yaml")]:
        text = file.read_text(encoding="utf-8")
        file.write_text(re.sub(rf"\b{EXAMPLE}\b", name, text), encoding="utf-8")
    return place
