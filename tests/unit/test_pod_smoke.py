"""How long smoke waits for an answer, and how long those who measure a fault wait."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from components.kit.probing import Check, Endpoint, Target, Verdict
from components.postgres import probe as postgres
from components.redis import probe as redis
from validate.pod import smoke, targets


def _target(patience: float = 0.0) -> Target:
    endpoints = [Endpoint("postgres", "postgres.platform.svc:5432")]
    return Target("postgres", endpoints, "probe", "word", "/ca.crt", patience=patience)


def test_smoke_has_more_patience_than_a_client_that_measures(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[float] = []
    budgets: list[float] = []

    def asked(target: Target) -> Iterator[Check]:
        seen.append(target.within(2.0))
        budgets.append(target.budget)
        yield Check("answers", Verdict.PASS, "")

    room = SimpleNamespace(smoke=asked, whole=lambda target: next(asked(target)))
    monkeypatch.setattr(targets, "target", lambda name: _target())
    monkeypatch.setattr(targets, "probe", lambda name: room)
    list(smoke.smoke("postgres", deadline=9))
    list(smoke.whole("postgres", deadline=1))
    assert seen == [smoke.SMOKE_PATIENCE, 2.0]
    assert smoke.SMOKE_PATIENCE > 2.0
    assert budgets == [9, 0]  # nobody says how long a fault may be looked at


@pytest.mark.parametrize(("patience", "seconds"), [(0.0, 2), (1.0, 2), (10.0, 10)])
def test_the_stores_clients_wait_as_long_as_the_target_says(patience: float, seconds: int) -> None:
    target = _target(patience)
    assert postgres.client_settings(target)["connect_timeout"] == seconds
    options = redis.client_options(target, redis.SOCKET_SECONDS)
    assert (options["socket_connect_timeout"], options["socket_timeout"]) == (seconds, seconds)
