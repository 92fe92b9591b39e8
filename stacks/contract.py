"""`python -m stacks.contract <site>`: joins the layers' contracts into `platform.json`.

Reads `<state>/contracts/<layer>.json` of each layer that the site builds; prints "written" or
"unchanged". Parts of layers that the site no longer builds are removed.
"""

from __future__ import annotations

import argparse
import sys

from components.kit import contract, layers
from stacks.composition import STACKS
from stacks.places import Places


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
    fresh = places.platform.with_suffix(".new")
    fresh.write_text(text, encoding="utf-8")
    fresh.replace(places.platform)
    return True


def main(argv: list[str] | None = None) -> int:
    """Join, and say whether anything is new."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("site")
    try:
        changed = join(parser.parse_args(argv).site)
    except contract.ContractError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write("written\n" if changed else "unchanged\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
