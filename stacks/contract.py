"""`python -m stacks.contract <site>`: joins the layers' contracts into `platform.json`.

Reads `<state>/contracts/<layer>.json` of each layer that the site builds; prints "written" or
"unchanged". Parts of layers that the site no longer builds are removed.
"""

from __future__ import annotations

import argparse
import sys

from common import files
from common.errors import Refusal
from common.places import Places
from components.kit import contract, layers
from stacks.composition import STACKS


def join(site: str) -> bool:
    """Write the merged contract; whether it changed. Raises ContractError."""
    places = Places.of(site)
    standing = layers.standing(STACKS, site)
    for layer in layers.LAYERS:
        if layer not in standing:
            places.contract(layer).unlink(missing_ok=True)
    whole = contract.merge({layer: contract.load(places.contract(layer)) for layer in standing})
    text = contract.dump(whole)
    if places.platform.is_file() and places.platform.read_text(encoding="utf-8") == text:
        return False
    files.write(places.platform, text)
    return True


def main(argv: list[str] | None = None) -> int:
    """Join, and say whether anything is new."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("site")
    try:
        changed = join(parser.parse_args(argv).site)
    except Refusal as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write("written\n" if changed else "unchanged\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
