"""A command on one site, `python -m stacks.<name> <site>`: its answer, or its refusal in words."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

from common.errors import Refusal


def run(doc: str | None, answer: Callable[[str], str], argv: list[str] | None) -> int:
    """The exit code. `doc` is the module's, `answer` gets the site's name and gives the text to print."""
    parser = argparse.ArgumentParser(description=(doc or "").splitlines()[0])
    parser.add_argument("site")
    try:
        said = answer(parser.parse_args(argv).site)
    except (Refusal, FileNotFoundError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(said)
    return 0
