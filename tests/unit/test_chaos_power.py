"""Hosts' power: the file that says how, and Redfish against a small server that speaks it."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from validate.core.errors import ClusterError, ValidateError
from validate.ground.power import hosts
from validate.ground.power.bmc import Redfish, RedfishHosts

PASSWORD = "Xy-one-two-three"


class Bmc(ThreadingHTTPServer):
    """A ComputerSystem as DSP0266 describes it: state, its reset action, basic login."""

    state = "On"
    offered: tuple[str, ...] = ("On", "ForceOff", "GracefulShutdown")
    stuck = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/redfish/v1/Systems/1"


class Handler(BaseHTTPRequestHandler):
    server: Bmc

    def do_GET(self) -> None:
        if self._allowed() and self.path == "/redfish/v1/Systems/1":
            reset = {
                "target": "/redfish/v1/Systems/1/Actions/ComputerSystem.Reset",
                "ResetType@Redfish.AllowableValues": list(self.server.offered),
            }
            self._say(200, {"PowerState": self.server.state, "Actions": {"#ComputerSystem.Reset": reset}})

    def do_POST(self) -> None:
        length = int(self.headers["Content-Length"])
        body = json.loads(self.rfile.read(length))
        if not self._allowed():
            return
        assert self.path.endswith("/Actions/ComputerSystem.Reset")
        self.server.asked.append(body["ResetType"])
        if not self.server.stuck:
            self.server.state = {"ForceOff": "Off", "On": "On"}[body["ResetType"]]
        self.send_response(204)
        self.end_headers()

    def _allowed(self) -> bool:
        wanted = base64.b64encode(f"apadana:{PASSWORD}".encode()).decode()
        if self.headers.get("Authorization") == f"Basic {wanted}":
            return True
        self._say(401, {"error": {"code": "Base.1.8.InsufficientPrivilege"}})
        return False

    def _say(self, status: int, body: dict[str, Any]) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, *_: object) -> None:
        """Quiet."""


@pytest.fixture
def bmc() -> Iterator[Bmc]:
    server = Bmc()
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


def hosts_of(bmc: Bmc, folder: Path, password: str = PASSWORD) -> RedfishHosts:
    file = folder / "password"
    file.write_text(f"{password}\n")
    way = Redfish(url=bmc.url, user="apadana", password_file=file)
    return RedfishHosts({"n1": way}, patience=2.0)


def test_off_and_on(bmc: Bmc, tmp_path: Path) -> None:
    faults = hosts_of(bmc, tmp_path)
    faults.kill("n1")
    assert (bmc.state, bmc.asked) == ("Off", ["ForceOff"])
    faults.kill("n1")  # the undo and its watchdog may both come
    faults.start("n1")
    faults.start("n1")
    assert (bmc.state, bmc.asked) == ("On", ["ForceOff", "On"])
    assert faults.known() == ["n1"]


def test_what_goes_wrong_is_said_without_the_password(bmc: Bmc, tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match="HTTP 401") as error:
        hosts_of(bmc, tmp_path, "Wrong-" + PASSWORD).kill("n1")
    assert PASSWORD not in str(error.value)
    bmc.offered = ("GracefulShutdown",)
    with pytest.raises(ClusterError, match="ForceOff is not offered, only GracefulShutdown"):
        hosts_of(bmc, tmp_path).kill("n1")
    bmc.offered, bmc.stuck = ("ForceOff",), True
    with pytest.raises(ClusterError, match="waiting for n1 to be off"):
        hosts_of(bmc, tmp_path).kill("n1")


def test_a_bmc_that_is_not_there(bmc: Bmc, tmp_path: Path) -> None:
    faults = hosts_of(bmc, tmp_path)
    bmc.shutdown()
    bmc.server_close()
    with pytest.raises(ClusterError, match="refused"):
        faults.kill("n1")


def test_the_password_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    way = Redfish(url="https://bmc/redfish/v1/Systems/1", user="u", password_env="BMC_PASSWORD")
    with pytest.raises(ValidateError, match="BMC_PASSWORD is not set"):
        way.password()
    monkeypatch.setenv("BMC_PASSWORD", PASSWORD)
    assert way.password() == PASSWORD


URL = "https://bmc/redfish/v1/Systems/1"


@pytest.mark.parametrize(
    ("host", "told"),
    [
        ({}, "give redfish, ipmi or ssh, one of the three"),
        ({"redfish": {"url": URL, "user": "u"}}, "give password_file or password_env"),
        ({"redfish": {"url": URL, "user": "u", "password": PASSWORD}}, "redfish.password: Extra"),
        ({"redfish": {"url": "https://bmc/", "user": "u", "password_env": "P"}}, "redfish.url"),
        (
            {"redfish": {"url": URL.replace("https", "http"), "user": "u", "password_env": "P"}},
            "http would show the password",
        ),
        ({"ssh": {"address": "10.0.0.1"}}, "ssh.key: Field required"),
        ({"ipmi": {"user": "u", "password_env": "P"}}, "ipmi.address: Field required"),
        (
            {"ipmi": {"address": "h", "user": "u", "password_env": "P", "cipher_suite": 0}},
            "ipmi.cipher_suite: Input should be 3 or 17",
        ),
        ({"wol": {}}, "hosts.n1.wol: Extra inputs are not permitted"),
    ],
)
def test_mistakes_in_the_file(host: dict[str, Any], told: str, tmp_path: Path) -> None:
    file = tmp_path / "power.yaml"
    file.write_text(yaml.safe_dump({"hosts": {"n1": host}}))
    with pytest.raises(ValidateError) as error:
        hosts.read(file)
    assert told in str(error.value)
    assert PASSWORD not in str(error.value)


def test_a_file_that_is_right(tmp_path: Path) -> None:
    file = tmp_path / "power.yaml"
    file.write_text(f"""
hosts:
  n1: {{redfish: {{url: "{URL}", user: u, password_env: P}}}}
  n2: {{ssh: {{address: 10.0.0.2, key: /k, known_hosts: /h}}}}
""")
    found = hosts.read(file)
    assert (found.hosts["n1"].ssh, found.hosts["n2"].redfish) == (None, None)
    file.write_text("hosts: {}")
    with pytest.raises(ValidateError, match="at least 1 item"):
        hosts.read(file)
    with pytest.raises(ValidateError, match="No such file"):
        hosts.read(tmp_path / "absent.yaml")
