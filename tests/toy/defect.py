"""What a defect or a harmless variation is, and where they are found."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.toy.member import Member
from tests.toy.plan import Plan
from validate.core import causes

FOLDER = Path(__file__).resolve().parent / "defects"
WORDS = {value for name, value in vars(causes).items() if name.isupper()}


@dataclass(frozen=True)
class Defect:
    """One change of a healthy toy, and what the validator must say of it.

    `expected`: words of core/causes.py, of which a FAIL must carry at least one; none makes
    it a variation, of which the verdict must be PASS. `look`: beginnings of step ids
    (`chaos/kv/leader`), to keep a round short; () runs every step that the toy's rooms offer.
    """

    name: str
    about: str
    change: Callable[[Plan], None]
    expected: tuple[str, ...] = ()
    components: tuple[str, ...] = ("kv",)
    look: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        unknown = set(self.expected) - WORDS
        if unknown:
            raise ValueError(f"{self.name}: {sorted(unknown)} are no causes (core/causes.py)")


def served_by(server: type[Member], component: str = "kv") -> Callable[[Plan], None]:
    """All servers of the component are of this class instead."""

    def change(plan: Plan) -> None:
        for member in plan.of(component):
            member.server = f"{server.__module__}:{server.__name__}"

    return change


def told(thing: type) -> str:
    """A class tells in its docstring what is wrong with it."""
    return (thing.__doc__ or "").strip().partition("\n")[0].rstrip(".")


def found(folder: Path = FOLDER) -> dict[str, Defect]:
    """All Defects that the modules of a folder define, by name; another folder may be anywhere."""
    made: dict[str, Defect] = {}
    for path in sorted(folder.glob("*.py")):
        for defect in _in_module(path):
            if defect.name in made:
                raise ValueError(f"{path}: a defect {defect.name!r} is defined already")
            made[defect.name] = defect
    return made


def _in_module(path: Path) -> Iterator[Defect]:
    """A module of another folder is importable by members under the same name (`held_NAME`)."""
    name = f"tests.toy.defects.{path.stem}" if path.parent == FOLDER else f"held_{path.stem}"
    module = sys.modules.get(name)
    if module is None:
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    for value in vars(module).values():
        if isinstance(value, Defect):
            yield value
        elif isinstance(value, tuple | list):
            yield from (item for item in value if isinstance(item, Defect))
