"""A command that prints the job of a person's program, for `kubectl create`. It asks no cluster.

The first file is the program, the others lie beside it; the words are what it is started with.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from common.errors import Refusal
from common.places import Places
from components.kit import manifest as bundle
from components.kit.manifests import Manifest
from components.kit.mistakes import SiteError
from components.kit.settings import ComponentSettings, Mode
from stacks.composition import compose


@dataclass(frozen=True)
class Command:
    """Of one room's jobs."""

    about: str  # its first line is the help's
    room: str
    settings: type[ComponentSettings]
    job: Callable[..., Any]  # name, code, main, words, how many pods
    house: Callable[..., Any]  # settings and site
    objects: Callable[..., list[Manifest]]  # job and house
    count: str  # the option that says how many pods
    explained: str
    #: More options, and what each may be; the first is taken where nobody says.
    one_of: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def text(self, told: argparse.Namespace) -> str:
        """The job's objects. Raises Refusal where the site has no such room, or the job can't be run."""
        site = compose(told.site).facts(bundle.read(Places.of(told.site).bundle).images)
        found = site.rooms.get(self.room)
        if not isinstance(found, self.settings) or found.mode is not Mode.MANAGED:
            where = f"stacks/Pulumi.{told.site}-ml.yaml"
            raise SiteError(f"the room {self.room} is off on {told.site}; switch it on in {where}")
        code = {file.name: file.read_text(encoding="utf-8") for file in told.files}
        more = {name: getattr(told, name) for name in self.one_of}
        asked = self.job(told.name, code, told.files[0].name, tuple(told.words), getattr(told, self.count), **more)
        said: str = yaml.safe_dump_all(self.objects(asked, self.house(found, site)), sort_keys=False)
        return said

    def typed(self, argv: list[str]) -> argparse.Namespace:
        """A command line; what stands behind `--` is the program's."""
        words = argv[argv.index("--") + 1 :] if "--" in argv else []
        parser = argparse.ArgumentParser(description=self.about.splitlines()[0])
        parser.add_argument("site")
        parser.add_argument("name")
        parser.add_argument("files", nargs="+", type=Path)
        parser.add_argument(f"--{self.count}", type=int, help=self.explained)
        for name, allowed in self.one_of.items():
            parser.add_argument(f"--{name}", choices=allowed, default=allowed[0], help=f"left out: {allowed[0]}")
        told = parser.parse_args(argv[: len(argv) - len(words) - 1] if "--" in argv else argv)
        told.words = words
        return told

    def main(self, argv: list[str] | None = None) -> int:
        """Print them."""
        try:
            said = self.text(self.typed(sys.argv[1:] if argv is None else argv))
        except (Refusal, OSError) as error:
            sys.stderr.write(f"{error}\n")
            return 1
        sys.stdout.write(said)
        return 0
