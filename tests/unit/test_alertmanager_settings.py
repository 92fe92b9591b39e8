"""Alertmanager: who is told, and how that is said."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from components.alertmanager.settings import Receiver, Settings, contract, told, values
from components.kit.settings import SiteFacts

SITE = SiteFacts("test", "platform", images={"alertmanager": "apadana.local/alertmanager@sha256:0"})


def test_nobody_is_told_and_the_contract_says_so() -> None:
    assert told(Settings()).startswith("nobody")
    made = contract(Settings(), SITE)
    assert made["client"]["required"]["tells"] == told(Settings())  # type: ignore[index]


def test_a_receiver_is_named_in_the_contract_and_its_port_opened() -> None:
    hook = Receiver(name="duty", url="https://alerts.client.example:8443/hook", secret_ref="duty-token")
    own = Settings(receivers=(hook,))
    assert told(own) == "duty"
    receivers: Any = values(own, SITE)["receivers"]
    (made,) = receivers
    assert (made["port"], made["secret"], made["trust"]) == (8443, "duty-token", "site")


@pytest.mark.parametrize(("url", "port"), [("https://a.example/x", 443), ("http://a.example/x", 80)])
def test_the_port_follows_from_the_scheme(url: str, port: int) -> None:
    assert Receiver(name="duty", url=url).port == port


@pytest.mark.parametrize(
    "url", ["alerts.example", "ftp://a.example/", "https://u:p@a.example/", "https://a b/", "https://a:99999/"]
)
def test_an_address_that_cannot_be_called_is_refused(url: str) -> None:
    with pytest.raises(ValidationError):
        Receiver(name="duty", url=url)


def test_a_receiver_stands_once() -> None:
    hook = Receiver(name="duty", url="https://a.example/")
    with pytest.raises(ValidationError, match="receivers: each name once"):
        Settings(receivers=(hook, hook))
