"""`python -m validate.ground.switch --stack NAME off|on HOST`: a host's power, in its own way.

This is what a fault of a host runs on the validator's own machine, under the same envelope with
watchdog as every other fault.
"""

from __future__ import annotations

from typing import Annotated

import typer

from validate.core.errors import ClusterError
from validate.ground import choose, site
from validate.ground.power.hosts import adapter


def main(stack: Annotated[str, typer.Option("--stack")], verb: str, host: str) -> None:
    faults = adapter(choose.of(site.load(stack)))
    if faults is None or host not in faults.known():
        known = ", ".join(faults.known()) if faults else "none"
        raise SystemExit(f"{host} can't be switched; those that can: {known}")
    if verb not in ("off", "on"):
        raise SystemExit(f"off or on, not {verb}")
    try:
        (faults.kill if verb == "off" else faults.start)(host)
    except ClusterError as error:
        raise SystemExit(str(error)) from error


if __name__ == "__main__":
    typer.run(main)
