"""What keepers tell Prometheus of rows without a label, over pages as pods show them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from components.kserve.image.server.counters import Counters
from components.models.judge import looking, scrape
from components.models.keeper import objects, page
from components.models.keeper.unsure import LOOK_SECONDS
from components.models.keeper.wish import Wish
from tests.unit import test_models_keeper as keepers
from tests.unit.test_models_wish import CANARY, DIGESTS, FLOORED, PLACE, STABLE

HOST = "127.0.0.1"


def marks(labels: dict[str, str]) -> str:
    return ",".join(f'{key}="{value}"' for key, value in labels.items())


@dataclass
class Pod:
    """Its counters, at /metrics."""

    counters: Counters
    text: str = ""  # instead of them
    port: int = 0
    asked: int = field(default=0)

    def page(self) -> str:
        self.asked += 1
        samples = [sample for family in self.counters.families() for sample in family.samples]
        return self.text or "\n".join(f"{name}{{{marks(labels)}}} {value}" for name, labels, value in samples)


class Handler(BaseHTTPRequestHandler):
    pod: Pod

    def do_GET(self) -> None:
        body = self.pod.page().encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""


class Floors:
    """A release with a floor, one pod for each version."""

    def __init__(self) -> None:
        self.world = keepers.World()
        self.servers: list[ThreadingHTTPServer] = []

    def pod(self, version: str) -> Pod:
        made = Pod(Counters(model="iris", version=objects.short(DIGESTS[version])))
        server = ThreadingHTTPServer((HOST, 0), type("H", (Handler,), {"pod": made}))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.servers.append(server)
        made.port = server.server_address[1]
        service = objects.predictor(objects.version(FLOORED, DIGESTS[version]))
        end = {"addresses": [HOST], "targetRef": {"name": f"{service}-0"}, "conditions": {"ready": True}}
        metadata = {"name": service, "namespace": PLACE.work, "labels": {looking.SERVICE: service}}
        ports = [{"port": made.port}]
        self.world.cluster.make({"kind": "EndpointSlice", "metadata": metadata, "ports": ports, "endpoints": [end]})
        return made

    def wish(self, wish: Wish) -> None:
        """Until its pods are known to have been ready, and were looked at."""
        self.world.wish(wish)
        for _ in range(3):
            self.world.round()

    def told(self, name: str) -> dict[str, float]:
        """The number of each version, after one more look."""
        self.world.round(after=LOOK_SECONDS + 1)
        shown = page.Told("lab", dict, lambda: True, lambda: True, self.world.keeper.unsure.lines)
        lines = [line for line in page.numbers(shown).splitlines() if line.startswith(f"apadana_models_{name}_total{{")]
        return {line.split('"')[3]: float(line.rpartition(" ")[2]) for line in lines}


@pytest.fixture
def floors(monkeypatch: pytest.MonkeyPatch) -> Iterator[Floors]:
    """On a machine that may be busy."""
    monkeypatch.setattr(scrape, "SECONDS_OF_ALL", 30.0)
    made = Floors()
    yield made
    for server in made.servers:
        server.shutdown()


def test_rows_of_each_version_are_added_up_from_the_first_look_on(floors: Floors) -> None:
    pods = [floors.pod(version) for version in (CANARY.stable, CANARY.candidate)]
    pods[0].counters.rows = 1000  # for a keeper before this one
    floors.wish(replace(CANARY, floor=0.8))
    for n, pod in enumerate(pods):
        pod.counters.rows += 40
        pod.counters.not_sure += 10 + n
    assert floors.told("rows") == {"1111111111": 40, "2222222222": 40}
    assert floors.told("not_sure") == {"1111111111": 10, "2222222222": 11}
    # A pod that began anew takes nothing back.
    pods[0].counters.rows, pods[0].counters.not_sure = 5, 3
    assert floors.told("rows")["1111111111"] == 45
    assert floors.told("not_sure")["1111111111"] == 13


def test_a_release_without_a_floor_is_not_asked_and_one_that_lost_it_is_forgotten(floors: Floors) -> None:
    pod = floors.pod(STABLE.stable)
    floors.wish(STABLE)
    assert floors.told("rows") == {} and pod.asked == 0
    floors.wish(FLOORED)
    assert floors.told("rows") == {"1111111111": 0} and pod.asked
    floors.wish(STABLE)
    assert floors.told("rows") == {}


@pytest.mark.parametrize("text", ["<html>", 'apadana_model_rows_total{model="iris"} NaN', "apadana_model_rows_total 3"])
def test_a_pod_that_shows_nonsense_is_said_once_and_holds_up_nothing(floors: Floors, text: str) -> None:
    floors.pod(STABLE.stable).text = text
    floors.wish(FLOORED)
    for _ in range(3):
        assert floors.told("rows") == {"1111111111": 0}
    assert sum("does not say how often it was not sure: no apadana" in said for said in floors.world.said) == 1
