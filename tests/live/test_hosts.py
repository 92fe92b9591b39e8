"""What stands on the hosts themselves."""

from __future__ import annotations

import pytest

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


@pytest.mark.parametrize("host", ["cp1", "cp2", "cp3"])
def test_etcd_has_a_file_system_of_its_own_whose_room_is_taken(host: str) -> None:
    where, image, there = lab.on_host(host, LOOK).splitlines()
    assert where == f"{VOLUME}/data on {VOLUME}"
    size, blocks, block = map(int, image.split())
    assert blocks * block >= size
    assert there == "there"
