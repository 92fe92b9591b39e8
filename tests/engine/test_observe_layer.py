"""Two Prometheus and three Alertmanagers for real, on the loopback: one of each is lost."""

from __future__ import annotations

import shutil
import socket
import ssl
from collections.abc import Iterator

import pytest

from components.alertmanager import probe as alertmanager
from components.kit.asking import callers
from components.kit.driving import Job
from components.kit.probing import Verdict
from components.prometheus import load
from components.prometheus import probe as prometheus
from tests import debian_programs
from tests.engine import observing

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def layer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[observing.Layer]:
    try:
        with observing.layer(tmp_path_factory.mktemp("observe")) as made:
            yield made
    except debian_programs.NotHereError as error:
        pytest.skip(str(error))


def answered(layer: observing.Layer) -> dict[str, float]:
    """Minutes of the replica that answers, by the front that was asked."""
    found = {}
    for name, caller in callers(layer.target("prometheus"), prometheus.WHOLE).items():
        found[name] = (prometheus.query(caller, prometheus.OWN_MINUTES) or [-1.0])[0]
    return found


def all_pass(layer: observing.Layer, room: str) -> str:
    module = {"prometheus": prometheus, "alertmanager": alertmanager}[room]
    target = layer.target(room)
    checks = [*module.smoke(target), module.whole(target)]
    bad = [f"{c.name}: {c.detail}" for c in checks if c.verdict is not Verdict.PASS]
    return "; ".join(bad)


@pytest.mark.parametrize("room", observing.ROOMS)
def test_the_rooms_own_probe_finds_nothing_wrong(layer: observing.Layer, room: str) -> None:
    assert observing.until(lambda: all_pass(layer, room), "", 60) == ""


def test_what_two_prometheus_tell_three_alertmanagers_is_sent_once(layer: observing.Layer) -> None:
    def sent() -> int:
        names = [message["groupLabels"]["alertname"] for message in layer.told]
        return names.count("PostgresNoPrimary")

    assert observing.until(sent, 1, 60) == 1
    # A second member would send after its turn of 5 s, a third after 10 s.
    assert observing.until(sent, 2, 12) == 1


def test_a_question_of_the_load_generator_is_answered(layer: observing.Layer) -> None:
    driver = load.driver(layer.target("prometheus"), Job("range", "run-0", 0, 1))
    place, context = driver.place(), driver.tls()
    assert isinstance(context, ssl.SSLContext)
    with (
        socket.create_connection((place[0], place[1]), 5) as plain,
        context.wrap_socket(plain, server_hostname=place[2]) as link,
    ):
        link.sendall(driver.wires()())
        assert link.recv(4096).startswith(b"HTTP/1.1 200 ")


def test_a_replica_with_an_empty_volume_answers_only_when_the_other_is_gone(layer: observing.Layer) -> None:
    enough = prometheus.TOLERANCE_MINUTES + 5

    def long_enough() -> bool:
        return min(prometheus.minutes(layer.target("prometheus")).values()) > enough

    assert observing.until(long_enough, True, 90) is True
    layer.kill("prometheus-0")
    shutil.rmtree(layer.folder / "prometheus-0" / "data")
    target = layer.target("prometheus")
    (first, second) = callers(target, prometheus.WHOLE).values()
    # A pod on a new volume takes longer than the look of 2 s that finds the old one gone.
    assert observing.until(lambda: prometheus.query(second, "vector(1)"), [1.0], 10) == [1.0]
    layer.start("prometheus-0")
    poor: list[dict[str, float]] = []

    def whole() -> Verdict:
        found = answered(layer)
        if min(found.values()) < enough:
            poor.append(found)
        return prometheus.whole(target).verdict

    assert observing.until(whole, Verdict.PASS, 60) is Verdict.PASS
    assert poor == []  # while it came up, whichever front was asked
    layer.kill("prometheus-1")

    def alone() -> bool:
        return bool(prometheus.query(first, prometheus.OWN_MINUTES))

    assert observing.until(alone, True, 10) is True
    layer.start("prometheus-1")


def test_a_silence_outlives_the_member_that_took_it(layer: observing.Layer) -> None:
    members = callers(layer.target("alertmanager"), alertmanager.PROTOCOL)
    silence = alertmanager.make_silence(members["alertmanager-0"], "kept")
    path = f"/api/v2/silence/{silence}"
    others = {name: caller for name, caller in members.items() if name != "alertmanager-0"}
    assert observing.until(lambda: alertmanager.lacking(others, path), "", 10) == ""
    layer.kill("alertmanager-0")
    shutil.rmtree(layer.folder / "alertmanager-0" / "data")
    layer.start("alertmanager-0")
    assert observing.until(lambda: alertmanager.lacking(members, path), "", 20) == ""
