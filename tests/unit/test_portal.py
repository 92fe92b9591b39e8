"""The portal: what it asks, what it makes of the answers, what its page says."""

from __future__ import annotations

import html
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from components.kit import pki, serving
from components.kit.settings import SiteFacts
from components.portal import settings as portal
from components.portal.server import overview, page
from components.portal.server.overview import ALERTS, MODELS, RELEASES, UP, WATCHED, Overview, looked
from components.portal.server.prometheus import Prometheus, Series
from components.prometheus import settings as prometheus
from tests.unit import test_outcomes_settings as outcomes

SETTINGS = portal.Settings()
ROOMS = [
    {"name": "kafka", "layer": "data", "version": "4.0", "url": ""},
    {"name": "mlflow", "layer": "ml", "version": "3.17", "url": "https://mlflow.lab.internal/"},
    {"name": "models", "layer": "ml", "version": "1", "url": "https://models.lab.internal/"},
    {"name": "new", "layer": "ml", "version": "1", "url": ""},
]
ALERT = {"__name__": "ALERTS", "alertstate": "firing", "alertname": "ModelsDrift", "severity": "warning"}
ANSWERS: dict[str, Series] = {
    UP: [({"component": "kafka"}, 3), ({"component": "mlflow"}, 1), ({"component": "models"}, 2)],
    WATCHED: [({"component": "kafka"}, 3), ({"component": "mlflow"}, 2), ({"component": "models"}, 2)],
    ALERTS: [
        (ALERT | {"component": "models", "model": "<b>", "version": "aa", "measure": "age", "cause": "drift"}, 1),
        ({"alertname": "KafkaDown", "severity": "critical", "component": "kafka"}, 1),
    ],
    RELEASES: [({"release": "tabular", "phase": "canary"}, 1), ({"release": "text", "phase": "waits"}, 1)],
    MODELS["rate"]: [({"model": "tabular", "version": "aa"}, 12.34)],
    MODELS["p99"]: [
        ({"model": "tabular", "version": "aa"}, 0.0421),
        ({"model": "tabular", "version": "bb"}, float("nan")),
    ],
    MODELS["wrong"]: [({"model": "tabular", "version": "aa"}, 0.125)],
}


def site(**rooms: Any) -> SiteFacts:
    return outcomes.site(**{"portal": SETTINGS, "prometheus": prometheus.Settings(), **rooms})


@pytest.fixture(scope="module")
def found() -> Overview:
    return looked(ROOMS, lambda text: ANSWERS.get(text, []))


def test_each_part_is_as_its_members_and_its_alerts_say(found: Overview) -> None:
    assert {part.name: (part.state, part.up, part.watched, part.alerts) for part in found.parts} == {
        "kafka": ("told of", 3, 3, 1),
        "mlflow": ("part of it", 1, 2, 0),
        "models": ("told of", 2, 2, 1),
        "new": ("not watched", 0, 0, 0),
    }
    assert [overview.Part("a", "ml", "1", "", up=up, watched=2).state for up in (0, 2)] == ["down", "well"]
    assert overview.Part("a", "ml", "1", "", shows=False).state == "shows nothing"


def test_the_worst_alert_comes_first_with_what_tells_it_from_others(found: Overview) -> None:
    assert [(alert.severity, alert.name, alert.about) for alert in found.alerts] == [
        ("critical", "KafkaDown", ""),
        ("warning", "ModelsDrift", "measure age, model <b>, version aa"),
    ]


def test_a_model_has_the_figures_that_are_known_of_it(found: Overview) -> None:
    assert found.models == {("tabular", "aa"): {"rate": 12.34, "p99": 0.0421, "wrong": 0.125}}
    state = json.loads(json.dumps(page.state(found)))
    assert state["models"] == [{"model": "tabular", "version": "aa", "rate": 12.34, "p99": 0.0421, "wrong": 0.125}]
    assert state["parts"][0]["state"] == "told of"


def shown(found: Overview, age: float = 3.2) -> str:
    return page.page(page.Facts("lab & co", lambda: found, lambda: age, lambda: ""))


def test_the_page_says_it_all_and_runs_nothing(found: Overview) -> None:
    text = shown(found)
    assert "<script" not in text and "<b>" not in text and html.escape("<b>") in text
    assert "Platform lab &amp; co" in text and "4 parts, 2 alerts. Not whole: mlflow." in text
    assert '<a href="https://mlflow.lab.internal/">mlflow.lab.internal</a>' in text
    for each in ("12.3", ">42<", "12.5%", "canary", "text", "waits", "1 of 2", "3 s ago"):
        assert each in text, each


def test_before_prometheus_answered_addresses_are_shown() -> None:
    parts = (overview.Part(each["name"], each["layer"], each["version"], each["url"]) for each in ROOMS)
    text = shown(Overview(tuple(parts)), 500)
    assert "mlflow.lab.internal" in text and "not watched" in text and "500 s ago" in text
    assert "No model is in service." in text and "None fires." in text


class _Handler(serving.Handler):
    """A replica of Prometheus."""

    said: Callable[[str], tuple[int, str]]

    def get(self) -> None:
        status, text = type(self).said(self.headers["Authorization"] + " " + self.path)
        self.answer(status, "application/json", text)


@pytest.fixture
def replica(tmp_path: Path) -> Iterator[tuple[serving.Server, Path, list[str]]]:
    pki.ensure_ca(tmp_path / "pki", "test")
    leaf = pki.ensure_leaf(tmp_path / "pki", "server", ["localhost"], ["127.0.0.1"])
    (tmp_path / "tls.crt").write_bytes(leaf.certificate.read_bytes())
    (tmp_path / "tls.key").write_bytes(leaf.key.read_bytes())
    (tmp_path / "username").write_text("portal")
    (tmp_path / "password").write_text("word\n")
    asked: list[str] = []
    result = [{"metric": {"component": "kafka"}, "value": [1.0, "3"]}]

    def said(text: str) -> tuple[int, str]:
        asked.append(text)
        return 200, json.dumps({"data": {"result": result}})

    handler = type("Handler", (_Handler,), {"said": staticmethod(said)})
    server = serving.Server(handler, 0, tmp_path)
    server.start()
    yield server, tmp_path, asked
    server.shutdown()
    server.server_close()


def test_a_replica_that_is_away_is_passed_over_and_asked_last_from_then_on(
    replica: tuple[serving.Server, Path, list[str]],
) -> None:
    server, folder, asked = replica
    there = ("localhost", server.server_address[1])
    made = Prometheus([("localhost", 1), there], str(folder / "pki" / "ca.crt"), folder)
    assert made.query('up{a="b"}') == [({"component": "kafka"}, 3.0)]
    assert asked == ["Basic cG9ydGFsOndvcmQ= /api/v1/query?query=up%7Ba%3D%22b%22%7D"]
    assert made._places[0] == there
    alone = Prometheus([("localhost", 1)], str(folder / "pki" / "ca.crt"), folder)
    with pytest.raises(OSError, match="no replica of Prometheus answers; localhost: ConnectionRefusedError"):
        alone.query("up")


def test_it_lists_every_other_room_and_asks_all_replicas() -> None:
    told = portal.told(site())
    rooms = {each["name"]: each for each in told["rooms"]}
    assert {"mlflow", "outcomes", "prometheus", "postgres"} <= rooms.keys() and "portal" not in rooms
    assert rooms["mlflow"]["url"] == "https://mlflow.lab.internal/" and rooms["postgres"]["url"] == ""
    assert len(told["prometheus"]) == prometheus.Settings().replicas
    assert "password" not in json.dumps(told)


def test_without_prometheus_nobody_knows() -> None:
    (wrong,) = SETTINGS.misfits(site(prometheus=None))
    assert wrong.key == "portal.mode" and "no room prometheus" in wrong.allowed


def test_prometheus_has_an_account_for_it_and_keeps_the_validator_s() -> None:
    assert portal.ROOM in prometheus.Settings().clients
    here = site(prometheus=prometheus.Settings(clients=("probe",)))
    assert [m.key for m in here.rooms["prometheus"].misfits(here)] == ["prometheus.clients"]
    assert portal.values(SETTINGS, site())["login_secret"] == "prometheus-client-portal"
