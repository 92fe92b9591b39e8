"""`python -m stacks.train <site> <name> <file>... [-- words]`: a training over several hosts, for `kubectl create`.

The first file is the program, the others lie beside it; the words are what it is started with. It asks no cluster.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import yaml

from common.errors import Refusal
from common.places import Places
from components.kit import manifest as bundle
from components.kit.mistakes import SiteError
from components.kit.settings import Mode
from components.training import job, settings
from stacks.composition import compose


def text(told: argparse.Namespace) -> str:
    """The job's objects. Raises Refusal where the site has no such room, or the job can't be run."""
    site = compose(told.site).facts(bundle.read(Places.of(told.site).bundle).images)
    room = site.rooms.get(settings.ROOM)
    if not isinstance(room, settings.Settings) or room.mode is not Mode.MANAGED:
        raise SiteError(f"the room training is off on {told.site}; switch it on in stacks/Pulumi.{told.site}-ml.yaml")
    code = {file.name: file.read_text(encoding="utf-8") for file in told.files}
    asked = job.Job(told.name, code, told.files[0].name, tuple(told.words), told.workers)
    said: str = yaml.safe_dump_all(job.objects(asked, settings.house(room, site)), sort_keys=False)
    return said


def typed(argv: list[str]) -> argparse.Namespace:
    """A command line; what stands behind `--` is the program's."""
    words = argv[argv.index("--") + 1 :] if "--" in argv else []
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("site")
    parser.add_argument("name")
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--workers", type=int, help="pods, each on a host of its own where there are some")
    told = parser.parse_args(argv[: len(argv) - len(words) - 1] if "--" in argv else argv)
    told.words = words
    return told


def main(argv: list[str] | None = None) -> int:
    """Print them."""
    try:
        said = text(typed(sys.argv[1:] if argv is None else argv))
    except (Refusal, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(said)
    return 0


if __name__ == "__main__":
    sys.exit(main())
