"""A room's load.yaml: which of its operations are loaded, by which profiles, within which limits.

version: 1
constrained: {records-tenfold: 0.5}   # share of the rate on a site that says it is constrained
scenarios:
  - name: produce
    operation: produce                # of the room's load.py; `write`: its probe's own client
    profiles: [records-tenfold, records-peak]
    stress: true
"""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Annotated, Literal, Self

import yaml
from pydantic import Field, ValidationError, ValidationInfo, model_validator

from validate.core.errors import ValidateError
from validate.suites.load.profiles import PROFILES, LatencyLimit, Profile, ProfileModel, Share

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]*$")]


class Scenario(ProfileModel):
    """One operation of a room under some of the profiles.

    `operation`: one of the room's load.py, `write` (the client of its probe.py), or `http` with the
    endpoint's protocol and a path. Limits given here replace the profile's, with the reason.
    """

    name: Name
    operation: Name
    endpoint: str | None = None
    path: Annotated[str, Field(pattern=r"^/")] | None = None
    profiles: Annotated[tuple[str, ...], Field(min_length=1)]
    latency: tuple[LatencyLimit, ...] | None = None
    success_share: Share | None = None
    record_bytes: Annotated[int, Field(ge=0, le=100_000_000)] | None = None
    rate_per_s: Annotated[float, Field(gt=0, le=200_000)] | None = None
    because: str | None = None
    least_requests: Annotated[int, Field(ge=1, le=1_000_000)] | None = None  # of a short run
    clients: Annotated[int, Field(ge=1, le=1024)] = 32  # operations at once, at most
    stress: bool = False  # search the highest rate that it bears
    soak: str | None = None  # the profile that shows that it doesn't get worse

    @model_validator(mode="after")
    def _sound(self, info: ValidationInfo) -> Self:
        wrong = []
        if info.context and self.operation not in info.context:
            offered = ", ".join(sorted(info.context))
            wrong.append(f"no operation {self.operation!r} in this room; there are: {offered}")
        if (self.operation == "http") != (self.endpoint is not None and self.path is not None):
            wrong.append("`endpoint` and `path` go with `operation: http`, and only with it")
        named = [*self.profiles, *([self.soak] if self.soak else [])]
        if unknown := [name for name in named if name not in PROFILES]:
            wrong.append(f"no profile {unknown}; there are: {', '.join(PROFILES)}")
        elif self.soak and PROFILES[self.soak].max_drift_share is None:
            wrong.append(f"soak {self.soak}: that profile has no max_drift_share to judge")
        changed = (self.latency, self.success_share, self.record_bytes, self.rate_per_s)
        if any(value is not None for value in changed) and not self.because:
            wrong.append("`because` is missing: limits, rates and sizes of its own need a reason")
        if wrong:
            raise ValueError("; ".join(wrong))
        return self

    def profile(self, name: str) -> Profile:
        """One of the profiles with the scenario's own limits and size."""
        own = {"latency": self.latency, "success_share": self.success_share, "record_bytes": self.record_bytes}
        change: dict[str, object] = {key: v for key, v in own.items() if v is not None}
        reason = (self.because,) if self.because else ()
        known = PROFILES[name]
        if self.rate_per_s is not None:
            known = known.scaled(self.rate_per_s / known.top_rate)
        return known.model_copy(update={**change, "assumptions": (*known.assumptions, *reason)})


class RoomLoad(ProfileModel):
    """A room's load.yaml."""

    version: Literal[1]
    constrained: dict[str, Annotated[float, Field(gt=0, le=1)]] = Field(default_factory=dict)
    scenarios: Annotated[tuple[Scenario, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _sound(self) -> Self:
        wrong = []
        if unknown := [name for name in self.constrained if name not in PROFILES]:
            wrong.append(f"constrained: no profile {unknown}; there are: {', '.join(PROFILES)}")
        names = [scenario.name for scenario in self.scenarios]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            wrong.append(f"scenarios named twice: {', '.join(twice)}")
        if wrong:
            raise ValueError("; ".join(wrong))
        return self


def read(path: Path) -> RoomLoad:
    """ValidateError with every mistake and its place in the file."""
    try:
        given = yaml.safe_load(path.read_text(encoding="utf-8"))
        return RoomLoad.model_validate(given, context=operations(path.parent))
    except FileNotFoundError:
        raise ValidateError(f"no {path}: this room says nothing of its load") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValidateError(f"{path} is not YAML: {error}") from error
    except ValidationError as error:
        lines = "\n".join(f"  {_place(e['loc'])}: {_said(e)}" for e in error.errors())
        raise ValidateError(f"{path} does not fit its schema (validate/suites/load/roomload.py):\n{lines}") from error


def operations(room: Path) -> set[str]:
    """What the room offers, read from its load.py without importing the store's client."""
    found = {"http", "write"}
    try:
        tree = ast.parse((room / "load.py").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return found
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "OPERATIONS":
            found |= set(ast.literal_eval(node.value))
    return found


def _place(location: tuple[int | str, ...]) -> str:
    return ".".join(map(str, location)) or "the file"


def _said(error: object) -> str:
    assert isinstance(error, dict)
    text = str(error["msg"]).removeprefix("Value error, ")
    given = error.get("input")
    shown = f" (given: {given!r})" if isinstance(given, (str, int, float, bool)) else ""
    if error["type"] == "extra_forbidden":
        return f"there is no such key{shown}"
    return text + shown
