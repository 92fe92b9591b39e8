#!/usr/bin/env python3
"""The site's CA and the registry's certificate, on the machine that holds the site's state.

    leaf.py <pki folder> <site> <registry name> [<address>]

Prints `renewed` when it wrote a certificate and `kept` when the one there still fits.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from components.kit import pki


def main() -> int:
    """The registry is reached by its own name through the load balancer of each host."""
    folder, site, name, *addresses = sys.argv[1:]
    pki.ensure_ca(Path(folder), site)
    leaf = pki.ensure_leaf(Path(folder), "registry", [name], [*addresses, "127.0.0.1"])
    sys.stdout.write("renewed\n" if leaf.renewed else "kept\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
