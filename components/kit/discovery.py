"""Finds the rooms: folders of components/ that have a settings.py. No list is kept anywhere."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TypeVar

from components.kit.settings import ComponentSettings

T = TypeVar("T")
COMPONENTS = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Room:
    """One folder of components/."""

    name: str
    path: Path

    def has(self, file: str) -> bool:
        """Whether the room offers that file."""
        return (self.path / file).exists()

    def module(self, name: str) -> ModuleType:
        """Import `components.<room>.<name>`."""
        return importlib.import_module(f"components.{self.name}.{name}")

    def one_class(self, name: str, base: type[T]) -> type[T]:
        """The one subclass of `base` that the room's `<name>.py` defines. Raises TypeError."""
        module = self.module(name)
        found = [
            item
            for item in vars(module).values()
            if isinstance(item, type) and issubclass(item, base) and item.__module__ == module.__name__
        ]
        if len(found) != 1:
            names = ", ".join(item.__name__ for item in found) or "none"
            raise TypeError(
                f"{self.path / name}.py must define exactly one subclass of {base.__name__} (it defines: {names})"
            )
        return found[0]

    def settings_class(self) -> type[ComponentSettings]:
        """The room's `Settings`."""
        found = getattr(self.module("settings"), "Settings", None)
        if not (isinstance(found, type) and issubclass(found, ComponentSettings)):
            raise TypeError(f"{self.path / 'settings.py'} must define class Settings(ComponentSettings)")
        return found


def rooms(folder: Path = COMPONENTS) -> list[Room]:
    """Every room, sorted by name."""
    return [
        Room(file.parent.name, file.parent)
        for file in sorted(folder.glob("*/settings.py"))
        if file.parent.name != "kit"
    ]


def room(name: str) -> Room:
    """One room by name."""
    return Room(name, COMPONENTS / name)


def layer(name: str) -> list[Room]:
    """The rooms of one layer (`cluster`, `data`, ...)."""
    return [room for room in rooms() if room.settings_class().layer == name]
