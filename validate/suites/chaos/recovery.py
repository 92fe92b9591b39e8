"""`validate recover`: undoes what interrupted experiments left, on every host of a stack."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from validate.core.errors import ClusterError
from validate.ground import Ground
from validate.suites.chaos.envelope import ROOT, Envelope
from validate.suites.chaos.injector import HERE, machine_of
from validate.suites.chaos.kinds.disk import forgotten


@dataclass
class Recovered:
    """What was found: lines for people. `wrong`: what is still there or could not be asked."""

    undone: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


def recover(ground: Ground, say: Callable[[str], None], root: str = ROOT) -> Recovered:
    """Asks every host, and this machine, for faults and undoes them; safe at any time."""
    found = Recovered()
    paths: dict[str, list[str]] = {}
    for member in ground.members():
        paths.setdefault(member.host, []).extend((member.paths or {}).values())
    # This machine first: a host that it switched off can't be asked before it is on again.
    for host in (HERE, *ground.hosts()):
        name = host or "this machine"
        try:
            machine = machine_of(ground, host)
            said = Envelope(machine, root).recover()
            if paths.get(host):
                said += machine.run(forgotten(paths[host]), root).splitlines()
        except ClusterError as error:
            found.wrong.append(f"{name}: {error.reason}")
            say(f"{name}: {error.reason}")
            continue
        found.undone += [f"{name}: {line}" for line in said]
        say(f"{name}: {'; '.join(said) or 'nothing was left'}")
    return found
