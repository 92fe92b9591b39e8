"""Settings of the PostgreSQL room, and what follows from them."""

from __future__ import annotations

import base64
import hashlib
import hmac
from types import ModuleType

import pytest
from pydantic import ValidationError

from components.kit.contract import Component
from components.kit.settings import SiteFacts
from components.postgres.settings import Settings, contract, endpoints, server_names, values
from tests import scripts
from tests.repo.charts import ROOT

SITE = SiteFacts("test", "platform", images={"postgres": "apadana.local/postgres@sha256:0"})


def script(name: str) -> ModuleType:
    return scripts.load(ROOT / "components" / "postgres" / "chart" / "files" / f"{name}.py", name)


def test_the_contract_fits_its_schema() -> None:
    made = Component.model_validate(contract(Settings(), SITE))
    assert [member.name for member in made.members] == ["postgres-0", "postgres-1", "postgres-2"]
    assert made.secret_ref == "postgres-client-probe"


def test_clients_are_led_to_the_poolers() -> None:
    first, second = endpoints(Settings(), SITE)
    assert first["address"] == "postgres.platform.svc.cluster.local:5432"
    assert str(second["address"]).count(":8008") == 3


def test_the_certificate_names_what_clients_verify() -> None:
    names = server_names(Settings(), SITE)
    assert "postgres.platform.svc.cluster.local" in names
    assert "postgres-1.postgres-members.platform.svc.cluster.local" in names


def test_values_are_of_the_room() -> None:
    assert values(Settings(), SITE)["synchronous"] == "quorum"


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"databases": [{"owner": "Drop Table", "name": "app"}]}, "pattern"),
        ({"members": 2}, "3 or 5"),
        ({"shared_buffers_mib": 3000}, "40 %"),
        ({"colour": "blue"}, "Extra inputs"),
    ],
)
def test_what_cannot_work_is_refused(wrong: dict[str, object], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        Settings.model_validate(wrong)


def test_the_verifier_proves_the_password_and_does_not_change() -> None:
    made = script("users").verifier("probe", "a-password")
    assert made == script("users").verifier("probe", "a-password")
    assert "a-password" not in made
    kind, parameters, keys = made.split("$")
    iterations, salt = parameters.split(":")
    stored, _ = (base64.b64decode(key) for key in keys.split(":"))
    salted = hashlib.pbkdf2_hmac("sha256", b"a-password", base64.b64decode(salt), int(iterations))
    key = hmac.new(salted, b"Client Key", hashlib.sha256).digest()
    assert kind == "SCRAM-SHA-256"
    assert hashlib.sha256(key).digest() == stored
