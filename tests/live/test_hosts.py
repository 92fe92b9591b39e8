"""What stands on the hosts themselves, asked by another than our own playbooks: testinfra."""

from __future__ import annotations

import pytest
import testinfra
from testinfra.host import Host

from tests import lab

pytestmark = pytest.mark.live
VOLUME = "/var/lib/apadana/volumes/system/etcd"
#: Where the running etcd keeps its data, the mount it is on, and the room that the file below has
#: and has taken.
LOOK = f"""
data=$(tr '\\0' '\\n' < "/proc/$(pgrep -x etcd)/cmdline" | sed -n 's/^--data-dir=//p')
echo "$data on $(findmnt -no TARGET --target "$data")"
stat -c '%s %b %B' /var/lib/apadana/disks/system-etcd.img
[ -s {VOLUME}/data/member/snap/db ] && echo there
"""
EVERYWHERE = ("containerd", "kubelet", "haproxy")
CONTROL_PLANES = ("keepalived", "docker-registry")
#: Whatever speaks for the site or for a host.
KEYS = "grep -rIl -e '-----BEGIN.*PRIVATE KEY' /etc /var/lib/kubelet/pki"


def facts(host: str) -> Host:
    return testinfra.get_host(f"podman://{lab.container(host)}")


@pytest.mark.parametrize("host", ["cp1", "cp2", "cp3", "gpu1"])
def test_what_runs_now_is_what_runs_after_a_boot(host: str) -> None:
    asked = facts(host)
    on = (*EVERYWHERE, *(CONTROL_PLANES if host in lab.control_planes() else ()))
    for unit in (*EVERYWHERE, *CONTROL_PLANES):
        service = asked.service(unit)
        seen = (service.is_running, service.is_enabled)
        assert seen == (unit in on, unit in on), f"{host}: {unit}: (runs, is enabled) is {seen}"


@pytest.mark.parametrize("host", ["cp1", "cp2", "cp3", "gpu1"])
def test_private_keys_are_not_for_everyone(host: str) -> None:
    asked = facts(host)
    keys = asked.run(KEYS).stdout.split()
    assert any("kubelet" in key for key in keys)  # the look itself finds them
    open_to_others = [key for key in keys if asked.file(key).mode & 0o037]
    assert open_to_others == []


@pytest.mark.parametrize("host", ["cp1", "cp2", "cp3"])
def test_etcd_has_a_file_system_of_its_own_whose_room_is_taken(host: str) -> None:
    where, image, there = lab.on_host(host, LOOK).splitlines()
    assert where == f"{VOLUME}/data on {VOLUME}"
    size, blocks, block = map(int, image.split())
    assert blocks * block >= size
    assert there == "there"
