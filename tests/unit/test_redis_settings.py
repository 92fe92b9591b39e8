"""Settings of the Redis room, and what follows from them."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from components.kit.contract import Component
from components.kit.settings import SiteFacts
from components.redis.settings import Settings, contract, endpoints, values

SITE = SiteFacts("test", "platform", images={"valkey": "apadana.local/valkey@sha256:0"})


def test_the_contract_fits_its_schema() -> None:
    made = Component.model_validate(contract(Settings(), SITE))
    assert [member.name for member in made.members] == ["redis-0", "redis-1", "redis-2"]
    assert made.promises is not None
    assert "up to 2 s" in made.promises.loss and "set back" in made.promises.loss


def test_fsync_always_promises_more() -> None:
    made = Component.model_validate(contract(Settings(fsync="always"), SITE))
    assert made.promises is not None
    assert made.promises.loss.endswith("at once: none")


def test_clients_are_led_to_every_sentinel() -> None:
    (only,) = endpoints(Settings(), SITE)
    assert only["protocol"] == "redis-sentinel"
    assert str(only["address"]).split(",")[2] == ("redis-2.redis-members.platform.svc.cluster.local:26379")


def test_values_are_of_the_room() -> None:
    assert values(Settings(members=5), SITE)["members"] == 5


@pytest.mark.parametrize(
    "wrong",
    [
        {"members": 4},
        {"fsync": "no"},
        {"down_after_ms": 10},
        {"keyspaces": [{"owner": "a b", "name": "app"}]},
        {"x": 1},
    ],
)
def test_what_cannot_work_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Settings.model_validate(wrong)
