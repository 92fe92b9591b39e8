"""What is asked of the platform, as data: the named profiles.

The contract names 60 million records a month and more than 100 requests/s; it names no peak, no
record size, no limit for records. What had to be assumed for a test to be possible is written with
each profile, word for word as the report prints it.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from validate.core.errors import ValidateError
from validate.pod.load.arrivals import Schedule
from validate.pod.load.httptarget import HttpRequest
from validate.pod.load.worker import Order

RECORDS_A_MONTH = 60_000_000
SECONDS_A_MONTH = 30 * 86_400
MEAN = RECORDS_A_MONTH / SECONDS_A_MONTH  # 23.15 records/s
TENFOLD = 10 * MEAN
PEAK = 100 * MEAN
BACKLOG_S, DRAIN_S = 3600.0, 900.0

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, Field(gt=0, lt=1)]


class ProfileModel(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class LatencyLimit(ProfileModel):
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


class Profile(ProfileModel):
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
            raise ValueError(f"timeout_s {self.timeout_s:g} must be longer than the limit of {slowest:g} ms")
        if max(self.rate_per_s, self.end_rate_per_s or 0) <= 0:
            raise ValueError("rate_per_s and end_rate_per_s are both 0: nothing would be sent")
        return self

    def schedule(self, seed: int) -> Schedule:
        return Schedule(self.rate_per_s, self.duration_s, self.spacing, self.end_rate_per_s, seed)

    @property
    def top_rate(self) -> float:
        return max(self.rate_per_s, self.end_rate_per_s or 0)

    def order(self, seed: int = 1, request: HttpRequest | None = None) -> Order:
        """The whole run for the generator; a room's operation is added by whoever names one."""
        limits = tuple(limit.nanos for limit in self.latency)
        return Order(
            request,
            self.schedule(seed),
            limits,
            self.warmup_s,
            self.timeout_s,
            self.window_s,
            record_bytes=self.record_bytes,
        )

    @property
    def window_s(self) -> int:
        """Of the percentiles over time: thirty of them in a run, for the trend."""
        return max(1, math.ceil(self.duration_s / 30))

    def lasting(self, seconds: float) -> Profile:
        """The same for another time; shorter means that less can be decided."""
        return Profile.model_validate({**self.model_dump(), "duration_s": seconds})

    def scaled(self, factor: float) -> Profile:
        """The same at a share of its rate."""
        changed = {
            name: round(value * factor, 2)
            for name in ("rate_per_s", "end_rate_per_s", "min_rate_per_s")
            if (value := getattr(self, name)) is not None
        }
        return Profile.model_validate({**self.model_dump(), **changed})

    @property
    def decided_after_s(self) -> float:
        """Seconds in which its limits can be decided, with room for a bad request or two.

        A share below s is shown at 95 % by 3/s good requests and none bad, by 6.3/s with two bad.
        """
        shares = [limit.allowed for limit in self.latency]
        shares += [1 - self.success_share] if self.success_share is not None else []
        mean = self.schedule(1).expected / self.duration_s
        return 6.3 / min(shares) / mean


RECORD = "A record is 1 KB; the contract names no size."
ANSWER = (
    "The contract's limits for requests, p99 < 300 ms and 99.9 % success, are asked of each "
    "record's acknowledgement, too; it names none for records."
)
KEEPS_UP = "A store keeps up when nine tenths of what is offered are answered while it is offered."
RECORD_LIMITS = (LatencyLimit(percentile=99, max_ms=300),)


def _records(name: str, rate: float, seconds: float, *assumptions: str) -> Profile:
    return Profile(
        name=name,
        rate_per_s=round(rate, 2),
        duration_s=seconds,
        record_bytes=1000,
        latency=RECORD_LIMITS,
        success_share=0.999,
        min_rate_per_s=round(0.9 * rate, 2),
        assumptions=(*assumptions, RECORD, ANSWER, KEEPS_UP),
    )


PROFILES = {
    made.name: made
    for made in (
        _records(
            "records-mean", MEAN, 600, "60 million records a month are 23.15/s, spread evenly over 30 days of 24 hours."
        ),
        _records(
            "records-tenfold",
            TENFOLD,
            600,
            "Growth to ten times the volume is 231.5/s on average; the contract names no peak.",
        ),
        _records("records-peak", PEAK, 600, "The peak is ten times the tenfold mean, 2,315/s, and lasts 10 minutes."),
        _records(
            "records-backlog",
            math.ceil(TENFOLD * (BACKLOG_S / DRAIN_S + 1)),
            DRAIN_S,
            "What gathered in one hour at 231.5/s is drained in 15 minutes while new records keep "
            "coming: 926/s and 231.5/s together.",
        ),
        _records(
            "records-soak",
            TENFOLD,
            600,
            "Drift below 10 % means: p99 grows by less than 10 % over the run (Theil-Sen).",
            "10 minutes stand for lasting operation; what grows slower than that isn't seen.",
        ).model_copy(update={"max_drift_share": 0.10}),
        Profile(
            name="http",
            rate_per_s=120,
            duration_s=600,
            success_share=0.999,
            min_rate_per_s=100,
            latency=(LatencyLimit(percentile=99, max_ms=300),),
            assumptions=(
                "More than 100 requests/s is shown by offering 120/s: 100/s offered would never be exceeded.",
                "300 ms holds for 99 of 100 requests, from the moment a user would have sent "
                "it; failed requests count as slower than any limit.",
                "Success is an HTTP status from 200 to 399 within 10 s.",
            ),
        ),
        Profile(
            name="http-ramp",
            rate_per_s=10,
            end_rate_per_s=240,
            duration_s=600,
            success_share=0.999,
            latency=(LatencyLimit(percentile=99, max_ms=300),),
            assumptions=("Twice the demanded rate is reached in a straight line from 10/s.",),
        ),
        Profile(
            name="http-soak",
            rate_per_s=120,
            duration_s=8 * 3600,
            success_share=0.999,
            min_rate_per_s=100,
            latency=(LatencyLimit(percentile=99, max_ms=300),),
            max_drift_share=0.10,
            assumptions=(
                "Drift below 10 % means: p99 grows by less than 10 % over the run (Theil-Sen).",
                "8 hours stand for lasting operation; a leak slower than that isn't seen.",
            ),
        ),
    )
}


def named(name: str) -> Profile:
    try:
        return PROFILES[name]
    except KeyError:
        known = ", ".join(PROFILES)
        raise ValidateError(f"--profile {name}: no such profile; there are: {known}") from None
