"""faults.yaml: what a room wants broken and what is promised meanwhile; its schema, reading it.

A file is `faults:` with a list. docs/validation-chaos.md explains each key; every mistake of all
files is reported at once, with file and key.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from components.kit import contract
from validate.core.errors import ValidateError

FILE = "faults.yaml"
During = Literal["continues", "may-stop", "refuses-cleanly"]
Steady = Literal["writes", "whole"]
Promise = Literal["one host", "all hosts", "none"]
Target = Literal["one member", "leader", "quorum", "all members", "host", "aligned", "all hosts", "pair", "clients"]
Weight = Literal["core", "wide", "deep"]
MACHINES = ("host", "all hosts")


class FaultsError(ValidateError):
    """A faults.yaml can't be used; the text lists every mistake."""


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class PodKill(_Model):
    """The pod is deleted without grace, as after an eviction that went wrong."""

    kind: Literal["pod-kill"]


class PodEviction(_Model):
    """The pod is asked to go, as when its host is drained: its grace and its budget hold."""

    kind: Literal["pod-eviction"]


class MemberKill(_Model):
    """SIGKILL to all processes of the member."""

    kind: Literal["member-kill"]


class Freeze(_Model):
    """SIGSTOP: connections stay open and nobody answers."""

    kind: Literal["freeze"]


class NetworkCut(_Model):
    """Packets of the member (or the host) are dropped; of a pair, those between the two."""

    kind: Literal["network-cut"]
    direction: Literal["both", "in", "out"] = "both"


class PacketLoss(_Model):
    kind: Literal["loss"]
    percent: Annotated[int, Field(ge=1, le=90)]


class SlowLink(_Model):
    kind: Literal["slow-link"]
    kbit_per_s: Annotated[int, Field(ge=64, le=1_000_000)]


class DiskFull(_Model):
    """`leave_kib` stay free on the member's own file system."""

    kind: Literal["disk-full"]
    leave_kib: Annotated[int, Field(ge=0, le=1_048_576)] = 64


class HostPoweroff(_Model):
    kind: Literal["host-poweroff"]


class PortClosed(_Model):
    """Nobody reaches these ports on, from or through the hosts.

    `seen_at`: where an observer finds them: on the hosts' own addresses, there but from outside
    (pods are fenced off from what is the hosts' business), or at the name server that pods are
    told of.
    """

    kind: Literal["port-closed"]
    ports: Annotated[list[Annotated[int, Field(ge=1, le=65535)]], Field(min_length=1)]
    udp: bool = False
    seen_at: Literal["hosts", "outside", "name server"] = "hosts"


class ServiceStop(_Model):
    kind: Literal["service-stop"]
    unit: Annotated[str, Field(pattern=r"^[\w@.-]+\.service$")]
    port: Annotated[int, Field(ge=1, le=65535)]  # where it answers: how its absence is seen


class ClockWrong(_Model):
    """The time that the member's process sees is moved (it must run under libfaketime)."""

    kind: Literal["clock-wrong"]
    offset_s: Annotated[int, Field(ge=-400 * 86400, le=400 * 86400)]


class BadInput(_Model):
    """Malformed and oversized bytes at the component's endpoint, again and again."""

    kind: Literal["bad-input"]
    protocol: str = ""  # an endpoint of the contract; "" is the first


class DependencyCut(_Model):
    """No packet passes between the members of the component and those of `on`."""

    kind: Literal["dependency-cut"]
    on: str


How = Annotated[
    PodKill
    | PodEviction
    | MemberKill
    | Freeze
    | NetworkCut
    | PacketLoss
    | SlowLink
    | DiskFull
    | HostPoweroff
    | PortClosed
    | ServiceStop
    | ClockWrong
    | BadInput
    | DependencyCut,
    Field(discriminator="kind"),
]
KINDS: tuple[str, ...] = tuple(get_args(m.model_fields["kind"].annotation)[0] for m in get_args(get_args(How)[0]))
_MEMBER: frozenset[str] = frozenset({"one member", "leader", "quorum", "all members"})
TARGETS: Mapping[str, frozenset[str]] = {
    **{k: _MEMBER for k in KINDS},
    "network-cut": _MEMBER | {"pair", "host"},
    "host-poweroff": frozenset({"host", "aligned"}),
    "port-closed": frozenset(MACHINES),
    "service-stop": frozenset(MACHINES),
    "bad-input": frozenset({"clients"}),
    "dependency-cut": frozenset({"all members"}),
}


class Bounds(_Model):
    """Seconds. `max_gap_s` of a fault that `continues`: null takes the contract's promise."""

    max_gap_s: Annotated[float, Field(gt=0, le=3600)] | None = None
    recovered_s: Annotated[float, Field(gt=0, le=3600)] = 90.0


class SteadyState(_Model):
    """What must hold before, while it lasts, and after."""

    before: tuple[Steady, ...] = ("writes", "whole")
    during: tuple[Steady, ...] = ("writes",)
    after: tuple[Steady, ...] = ("writes", "whole")  # what was acknowledged is always read back


class Fault(_Model):
    """One fault: what, where, how long, and what the platform promises of it."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$")]
    do: How
    target: Target
    role: str = ""  # only members whose role in the contract contains this word
    duration_s: Annotated[int, Field(ge=1, le=900)]
    during: During = "continues"
    steady: SteadyState = SteadyState()
    bounds: Bounds = Bounds()
    promise: Promise = "one host"
    weight: Weight = "wide"
    rationale: Annotated[str, Field(min_length=10)]
    remediation: Annotated[str, Field(min_length=10)]

    @property
    def kind(self) -> str:
        return self.do.kind

    @model_validator(mode="after")
    def _sound(self) -> Fault:
        allowed = TARGETS[self.kind]
        if self.target not in allowed:
            listed = ", ".join(sorted(allowed))
            raise ValueError(f"target {self.target!r} does not go with {self.kind}: {listed}")
        if self.during != "continues" and self.bounds.max_gap_s is not None:
            raise ValueError(
                f"bounds.max_gap_s says how long writes may pause, but during: {self.during} lets "
                "them stop: leave it out, or say during: continues"
            )
        return self

    def wish(self) -> dict[str, object]:
        """All that decides what is done: part of a plan's digest."""
        return self.model_dump(mode="json", exclude={"rationale", "remediation"})


class _File(_Model):
    faults: list[Any] = []


def read(paths: Iterable[Path]) -> dict[str, list[Fault]]:
    """The faults of each room by its folder's name; FaultsError with every mistake."""
    found: dict[str, list[Fault]] = {}
    wrong: list[str] = []
    for path in sorted(paths):
        room = path.parent.name
        faults, mistakes = parse(path.read_text(encoding="utf-8"), f"{room}/{path.name}")
        found[room] = faults
        wrong += mistakes
    if wrong:
        raise FaultsError("faults can't be planned:\n  " + "\n  ".join(wrong))
    return found


def parse(text: str, name: str) -> tuple[list[Fault], list[str]]:
    """What is right and what is wrong in a file's text."""
    try:
        content = _File.model_validate(yaml.safe_load(text) or {})
    except yaml.YAMLError as error:
        return [], [f"{name}: not YAML: {' '.join(str(error).split())}"]
    except ValidationError as error:
        return [], _told(error, name)
    one = TypeAdapter(Fault)
    faults, wrong = [], []
    for number, item in enumerate(content.faults):
        label = item.get("name") if isinstance(item, dict) else None
        where = f"{name}: faults[{label if isinstance(label, str) else number}]"
        try:
            faults.append(one.validate_python(item))
        except ValidationError as error:
            wrong += _told(error, where)
    names = [f.name for f in faults]
    twice = sorted({n for n in names if names.count(n) > 1})
    return faults, wrong + [f"{name}: faults[{n}]: the name occurs twice" for n in twice]


def _told(error: ValidationError, where: str) -> list[str]:
    said = []
    for item in error.errors(include_url=False):
        key = ".".join(str(p) for p in item["loc"] if p not in KINDS)
        value = item.get("input")
        seen = f", not {value!r:.80}" if not isinstance(value, dict | list) else ""
        reason = re.sub(r"^Value error, ", "", item["msg"])
        said.append(f"{where}{'.' + key if key else ''}: {reason}{seen}")
    return said


def pairs(platform: contract.Platform) -> list[tuple[str, str]]:
    """Each (component, what it depends on) of the contract."""
    return [(c.name, on) for c in platform.components for on in c.depends_on]


def of_pair(component: str, on: str) -> Fault:
    """The fault that every dependency gets without being written down."""
    return Fault(
        name=f"cut-from-{on}"[:40].rstrip("-"),
        do=DependencyCut(kind="dependency-cut", on=on),
        target="all members",
        duration_s=20,
        during="refuses-cleanly",
        promise="none",
        steady=SteadyState(during=()),
        rationale=f"{component} depends on {on}; when the way between them breaks, it has to say "
        "so to its clients, keep what it acknowledged, and come back by itself.",
        remediation=f"Time-outs and retries of {component} towards {on}; no cached success.",
    )
