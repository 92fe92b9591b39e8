"""Hosts' power by IPMI, against OpenIPMI's simulated BMC."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from validate.core.errors import ClusterError, ValidateError
from validate.ground.kubectl import wait_for
from validate.ground.power.bmc import Ipmi, IpmiHosts

pytestmark = pytest.mark.engine

PASSWORD = "open-sesame"
LAN = """
name "bmc"
set_working_mc 0x20
  startlan 1
    addr 127.0.0.1 {port}
    priv_limit admin
    allowed_auths_admin none md2 md5 straight
    guid a123456789abcdefa123456789abcdef
  endlan
  chassis_control "{folder}/chassis 0x20"
  user 1 true "" "x" user 10 none md2 md5 straight
  user 2 true "apadana" "{password}" admin 10 none md2 md5 straight
"""
BOARD = """
mc_setbmc 0x20
mc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02 persist_sdr
mc_enable 0x20
"""
# The simulator asks this for the state of the machine and tells it what to do: MC, verb, words.
CHASSIS = """#!/bin/sh
case "$2 $3" in
"get power") echo "power:$(cat {folder}/power)" ;;
"set power") echo "$4" >{folder}/power; echo "$4" >>{folder}/switched ;;
esac
"""


@pytest.fixture
def bmc(tmp_path: Path) -> Iterator[IpmiHosts]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    (tmp_path / "lan.conf").write_text(LAN.format(port=port, folder=tmp_path, password=PASSWORD))
    (tmp_path / "board").write_text(BOARD)
    chassis = tmp_path / "chassis"
    chassis.write_text(CHASSIS.format(folder=tmp_path))
    chassis.chmod(0o755)
    (tmp_path / "power").write_text("1\n")
    (tmp_path / "password").write_text(f"{PASSWORD}\n")
    process = subprocess.Popen(
        ["ipmi_sim", "-n", "-c", tmp_path / "lan.conf", "-f", tmp_path / "board", "-s", tmp_path],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    hosts = IpmiHosts({"n1": way(port, tmp_path / "password")}, patience=10)
    try:
        wait_for("the BMC", lambda: hosts._is("n1", "on") or None, timeout=20, every=0.2)
        yield hosts
    finally:
        process.kill()
        process.wait()


def way(port: int, password: Path) -> Ipmi:
    return Ipmi(address="127.0.0.1", port=port, user="apadana", password_file=password, cipher_suite=3)


def test_off_and_on(bmc: IpmiHosts, tmp_path: Path) -> None:
    bmc.kill("n1")
    assert (tmp_path / "power").read_text() == "0\n"
    bmc.kill("n1")  # the undo and its watchdog may both come
    bmc.start("n1")
    bmc.start("n1")
    assert (tmp_path / "switched").read_text().split() == ["0", "1"]
    assert bmc.known() == ["n1"]


def test_what_goes_wrong_is_said_without_the_password(
    bmc: IpmiHosts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = tmp_path / "wrong"
    wrong.write_text(f"not-{PASSWORD}")
    with pytest.raises(ClusterError, match="IPMI of n1") as error:
        IpmiHosts({"n1": way(bmc.machines["n1"].port, wrong)}).kill("n1")
    assert PASSWORD not in str(error.value)
    assert (tmp_path / "power").read_text() == "1\n"
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ValidateError, match="apt-get install ipmitool"):
        bmc.kill("n1")
