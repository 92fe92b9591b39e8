"""Whose hand is on a stack: `make up` and the plain `pulumi` keep to the same rules.

The program is told neither which command of Pulumi runs it, nor when that ends, so it looks at the process above it.
`pulumi destroy` and `pulumi refresh` run it because the shell of `stacks.home` asks for it (PULUMI_RUN_PROGRAM).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pulumi

from common import locking
from common.places import Places, forgotten
from components.kit import protecting
from components.kit.mistakes import SiteError
from stacks.names import StackName

PULUMI = "pulumi"
ENDING = {"destroy", "down", "dn"}  # all names of one command
COMMANDS = ENDING | {"up", "update", "preview", "pre", "refresh", "watch"}  # those that run a program


@dataclass(frozen=True)
class Engine:
    """The `pulumi` that runs this program: it goes on when the program has ended, and deletes then."""

    pid: int
    words: tuple[str, ...] = ()

    @property
    def verb(self) -> str:
        """Its command; "" where it is none that we know."""
        return next((word for word in self.words[1:] if word in COMMANDS), "")


def take(stack: StackName, places: Places, environment: Mapping[str, str] = os.environ) -> None:
    """The site for as long as Pulumi runs, and what is guarded in this stack under protection.

    Raises SiteError where the stack would be destroyed without its name being said, Taken where another one holds the
    site. A preview holds nothing.
    """
    engine = found()
    ends = engine.verb in ENDING
    if ends and str(stack) not in forgotten(environment):
        raise SiteError(
            f"stack {stack} was left as it is: `pulumi {engine.verb}` would take all of it away. "
            f"If that is meant, name it: FORGET={stack} pulumi {engine.verb} ... "
            "(volumes, StatefulSets and namespaces stay in the cluster even so)"
        )
    if not pulumi.runtime.is_dry_run():
        locking.hold_for(engine.pid, places.state_root, stack.site, f"pulumi {engine.verb} --stack {stack}")
    if not ends:
        protecting.protect()


def found() -> Engine:
    """The outermost one above us, or whatever started us."""
    engines = [pid for pid, name in _above(os.getpid()) if name == PULUMI]
    if not engines:
        return Engine(os.getppid())
    words = Path(f"/proc/{engines[-1]}/cmdline").read_text(errors="replace").split("\0")
    return Engine(engines[-1], tuple(words))


def _above(pid: int) -> Iterator[tuple[int, str]]:
    """Our parents with their names, the nearest first."""
    while pid > 1:
        said = Path(f"/proc/{pid}/status").read_text(errors="replace")
        fields = dict(line.split(":\t", 1) for line in said.splitlines() if ":\t" in line)
        yield pid, fields["Name"]
        pid = int(fields["PPid"])
