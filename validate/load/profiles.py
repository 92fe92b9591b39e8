"""What is asked of the platform, as data: the named profiles and a room's load.yaml.

The contract names 60 million records a month and more than 100 requests/s; it names no peak, no
record size, no limit for records. What had to be assumed for a test to be possible is written with
each profile, word for word as the report prints it.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from validate.errors import ValidateError
from validate.load.arrivals import Schedule

RECORDS_A_MONTH = 60_000_000
SECONDS_A_MONTH = 30 * 86_400
MEAN = RECORDS_A_MONTH / SECONDS_A_MONTH  # 23.15 records/s
TENFOLD = 10 * MEAN
PEAK = 100 * MEAN
BACKLOG_S, DRAIN_S = 3600.0, 900.0

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, Field(gt=0, lt=1)]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class LatencyLimit(_Model):
    """`percentile` 99 and `max_ms` 300 mean: fewer than 1 % take longer than 300 ms."""

    percentile: Annotated[float, Field(ge=50, lt=100)]
    max_ms: Positive

    @property
    def allowed(self) -> float:
        return round(1 - self.percentile / 100, 12)

    @property
    def nanos(self) -> int:
        return int(self.max_ms * 1e6)

    def __str__(self) -> str:
        return f"p{self.percentile:g} < {self.max_ms:g} ms"


class Profile(_Model):
    """One load and what must hold under it."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]*$")]
    rate_per_s: Annotated[float, Field(ge=0, le=200_000, allow_inf_nan=False)]
    end_rate_per_s: Annotated[float, Field(ge=0, le=200_000)] | None = None
    spacing: Literal["constant", "poisson"] = "poisson"
    duration_s: Annotated[float, Field(gt=0, le=7 * 86_400)]
    warmup_s: Annotated[float, Field(ge=0, le=600)] = 5.0
    timeout_s: Annotated[float, Field(gt=0, le=120)] = 10.0
    latency: tuple[LatencyLimit, ...] = ()
    success_share: Share | None = None
    min_rate_per_s: Positive | None = None
    max_drift_share: Positive | None = None  # growth of p99 from the first to the last hour
    record_bytes: Annotated[int, Field(ge=0, le=100_000_000)] = 0
    assumptions: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if not self.latency and self.success_share is None:
            raise ValueError("give `latency` or `success_share`: without a limit nothing is judged")
        slowest = max((limit.max_ms for limit in self.latency), default=0.0)
        if slowest >= self.timeout_s * 1000:
            raise ValueError(
                f"timeout_s {self.timeout_s:g} must be longer than the limit of {slowest:g} ms"
            )
        if max(self.rate_per_s, self.end_rate_per_s or 0) <= 0:
            raise ValueError("rate_per_s and end_rate_per_s are both 0: nothing would be sent")
        return self

    def schedule(self, seed: int) -> Schedule:
        return Schedule(self.rate_per_s, self.duration_s, self.spacing, self.end_rate_per_s, seed)

    @property
    def top_rate(self) -> float:
        return max(self.rate_per_s, self.end_rate_per_s or 0)

    def lasting(self, seconds: float) -> Profile:
        """The same for another time; shorter means that less can be decided."""
        return Profile.model_validate({**self.model_dump(), "duration_s": seconds})


RECORD = "A record is 1 KB; the contract names no size."
ANSWER = (
    "A record counts as taken when the store acknowledges it within 1 s (p99) and 99.9 % are "
    "acknowledged; the contract names no limit."
)
RECORD_LIMITS = (LatencyLimit(percentile=99, max_ms=1000),)


def _records(name: str, rate: float, seconds: float, *assumptions: str) -> Profile:
    return Profile(
        name=name, rate_per_s=round(rate, 2), duration_s=seconds, record_bytes=1000,
        latency=RECORD_LIMITS, success_share=0.999, assumptions=(*assumptions, RECORD, ANSWER),
    )  # fmt: skip


PROFILES = {
    made.name: made
    for made in (
        _records(
            "records-mean", MEAN, 600,
            "60 million records a month are 23.15/s, spread evenly over 30 days of 24 hours.",
        ),
        _records(
            "records-tenfold", TENFOLD, 600,
            "Growth to ten times the volume is 231.5/s on average; the contract names no peak.",
        ),
        _records(
            "records-peak", PEAK, 600,
            "The peak is ten times the tenfold mean, 2,315/s, and lasts 10 minutes.",
        ),
        _records(
            "records-backlog", math.ceil(TENFOLD * (BACKLOG_S / DRAIN_S + 1)), DRAIN_S,
            "What gathered in one hour at 231.5/s is drained in 15 minutes while new records keep "
            "coming: 926/s and 231.5/s together.",
        ),
        Profile(
            name="http", rate_per_s=120, duration_s=600, success_share=0.999, min_rate_per_s=100,
            latency=(LatencyLimit(percentile=99, max_ms=300),),
            assumptions=(
                "More than 100 requests/s is shown by offering 120/s: 100/s offered would never "
                "be exceeded.",
                "300 ms holds for 99 of 100 requests, from the moment a user would have sent "
                "it; failed requests count as slower than any limit.",
                "Success is an HTTP status from 200 to 399 within 10 s.",
            ),
        ),
        Profile(
            name="http-ramp", rate_per_s=10, end_rate_per_s=240, duration_s=600,
            success_share=0.999, latency=(LatencyLimit(percentile=99, max_ms=300),),
            assumptions=("Twice the demanded rate is reached in a straight line from 10/s.",),
        ),
        Profile(
            name="http-soak", rate_per_s=120, duration_s=8 * 3600, success_share=0.999,
            min_rate_per_s=100, latency=(LatencyLimit(percentile=99, max_ms=300),),
            max_drift_share=0.10,
            assumptions=(
                "Drift below 10 % means: p99 grows by less than 10 % over the run (Theil-Sen).",
                "8 hours stand for lasting operation; a leak slower than that isn't seen.",
            ),
        ),
    )
}  # fmt: skip


def named(name: str) -> Profile:
    try:
        return PROFILES[name]
    except KeyError:
        known = ", ".join(PROFILES)
        raise ValidateError(f"--profile {name}: no such profile; there are: {known}") from None


class Scenario(_Model):
    """One operation of a room under some of the profiles.

    `operation`: `http` with the endpoint's protocol and a path, or `write`: the client of the
    room's probe.py. Limits given here replace the profile's, with the reason.
    """

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]*$")]
    operation: Literal["http", "write"]
    endpoint: str | None = None
    path: Annotated[str, Field(pattern=r"^/")] | None = None
    profiles: Annotated[tuple[str, ...], Field(min_length=1)]
    latency: tuple[LatencyLimit, ...] | None = None
    success_share: Share | None = None
    because: str | None = None
    most_running: Annotated[int, Field(ge=1, le=1024)] = 64

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if (self.operation == "http") != (self.endpoint is not None and self.path is not None):
            raise ValueError("`endpoint` and `path` go with `operation: http`, and only with it")
        unknown = [name for name in self.profiles if name not in PROFILES]
        if unknown:
            raise ValueError(f"no profile {unknown}; there are: {', '.join(PROFILES)}")
        if (self.latency or self.success_share) and not self.because:
            raise ValueError("`because` is missing: limits other than the profile's need a reason")
        return self

    def load(self) -> list[Profile]:
        """Its profiles with its own limits."""
        change: dict[str, object] = {"latency": self.latency, "success_share": self.success_share}
        change = {key: value for key, value in change.items() if value is not None}
        reason = (self.because,) if self.because else ()
        return [
            PROFILES[name].model_copy(
                update={**change, "assumptions": (*PROFILES[name].assumptions, *reason)}
            )
            for name in self.profiles
        ]


class RoomLoad(_Model):
    """A room's load.yaml."""

    version: Literal[1]
    scenarios: Annotated[tuple[Scenario, ...], Field(min_length=1)]


def read(path: Path) -> RoomLoad:
    try:
        return RoomLoad.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise ValidateError(f"no {path}: this room says nothing of its load") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValidateError(f"{path} is not YAML: {error}") from error
    except ValidationError as error:
        raise ValidateError(f"{path} does not fit its schema:\n{error}") from error
