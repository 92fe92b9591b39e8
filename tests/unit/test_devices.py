"""A volume on a device of its own: formatted once, never over data, told from every other's."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.unit.test_bad_input import DOOR, reach
from tests.unit.test_observed_state import disks, host, observed_state

GIB = 1 << 30
needs_tools = pytest.mark.skipif(not shutil.which("mkfs.ext4") or not shutil.which("blkid"), reason="needs e2fsprogs")
OWNER = "acme/w1"


@pytest.fixture
def volume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """On a file that stands for a blank disk of 1 GiB."""
    monkeypatch.setattr(host, "VOLUMES", str(tmp_path / "volumes"))
    monkeypatch.setattr(host, "DISKS", str(tmp_path / "disks"))
    device = tmp_path / "disk"
    with device.open("wb") as file:
        file.truncate(GIB)
    return {"name": "kafka", "class": "hdd", "size_gib": 1, "device": str(device)}


def made(volume: dict[str, Any], owner: str = OWNER) -> dict[str, Any]:
    mount: dict[str, Any] = host.mount_unit(volume, owner)
    host.make_disk(mount)
    return mount


@needs_tools
def test_a_blank_disk_is_formatted_once(volume: dict[str, Any]) -> None:
    mount = made(volume)
    seen = host.on_device(volume["device"])
    assert seen == {"TYPE": "ext4", "LABEL": "hdd-kafka", "UUID": mount["uuid"]}
    assert f"What=/dev/disk/by-uuid/{mount['uuid']}" in mount["text"] and "loop" not in mount["text"]
    subprocess.run(["debugfs", "-w", "-R", "mkdir kept", volume["device"]], check=True, capture_output=True)
    made(volume)
    listed = subprocess.run(["debugfs", "-R", "ls", volume["device"]], check=True, capture_output=True, text=True)
    assert "kept" in listed.stdout


def partitioned(device: Path) -> None:
    """One partition of Linux, as an MBR says it."""
    entry = bytes([0, 0, 0, 0, 0x83, 0, 0, 0]) + (2048).to_bytes(4, "little") + (8192).to_bytes(4, "little")
    with device.open("r+b") as file:
        file.write(bytes(446) + entry + bytes(48) + b"\x55\xaa")


FOREIGN: dict[str, Callable[[dict[str, Any]], object]] = {
    "another host's": lambda volume: made(volume, "acme/w2"),
    "another site's": lambda volume: made(volume, "other/w1"),
    "another volume's": lambda volume: made({**volume, "name": "minio"}),
    "somebody's": lambda volume: subprocess.run(["mkfs.ext4", "-q", "-F", volume["device"]], check=True),
    "swap": lambda volume: subprocess.run(["mkswap", volume["device"]], check=True, capture_output=True),
    "a partition table": lambda volume: partitioned(Path(volume["device"])),
}


@needs_tools
@pytest.mark.parametrize("kind", FOREIGN)
def test_what_holds_anything_else_is_left_as_it_is(kind: str, volume: dict[str, Any]) -> None:
    FOREIGN[kind](volume)
    before = host.on_device(volume["device"])
    assert before
    with pytest.raises(host.StateError, match="holds something that is not this volume") as caught:
        made(volume)
    assert f"wipefs --all {volume['device']}" in str(caught.value)
    assert host.on_device(volume["device"]) == before


@needs_tools
def test_a_reset_gives_back_its_own_disks_alone(volume: dict[str, Any]) -> None:
    mount = made(volume)
    assert host.wiped({**mount, "uuid": "another"}) is False
    assert host.wiped(mount) is True
    assert host.on_device(volume["device"]) == {}
    assert host.wiped(mount) is False


@needs_tools
def test_a_disk_too_small_or_gone_is_told_with_its_size(volume: dict[str, Any]) -> None:
    with pytest.raises(host.StateError, match=r"has 1\.0 GiB; allowed: 2 GiB \(size_gib\) or more"):
        made({**volume, "size_gib": 2})
    assert host.on_device(volume["device"]) == {}
    with pytest.raises(host.StateError, match="is not there"):
        made({**volume, "device": f"{volume['device']}-gone"})


@needs_tools
def test_a_volume_that_was_a_file_is_not_left_behind(volume: dict[str, Any]) -> None:
    former = Path(host.DISKS) / "hdd-kafka.img"
    former.parent.mkdir()
    former.write_text("data")
    with pytest.raises(host.StateError, match=r"has been the file .* so far; copy what is in it"):
        made(volume)
    assert host.on_device(volume["device"]) == {}


def test_a_disk_that_died_under_its_mount_is_seen(volume: dict[str, Any]) -> None:
    role = observed_state.Role("storage", {"volumes": [volume], "volumes_of": OWNER})
    path = Path(role.mounts[0]["path"])
    path.mkdir(parents=True)

    def seen(mounts: set[str]) -> list[tuple[str, str]]:
        return [(item.kind, item.seen) for item in role.observe_mounts(mounts)]

    assert seen(set()) == [("mount", "absent")]
    assert seen({str(path)}) == [("mount", f"mounted from another device than {volume['device']}")]
    Path(volume["device"]).unlink()
    assert seen({str(path)}) == [("mount", f"mounted, and {volume['device']} is gone")]


def test_identities_differ_by_all_of_their_names() -> None:
    names = [("a", "b", "ssd", "x"), ("b", "a", "ssd", "x"), ("a", "b", "hdd", "x"), ("a", "b", "ssd", "y")]
    made = {disks.identity(site, on, {"class": kind, "name": name}) for site, on, kind, name in names}
    assert len(made) == len(names)
    assert disks.identity("a", "b", {"class": "ssd", "name": "x"}) in made


MINE = {"name": "kafka", "class": "hdd", "size_gib": 1, "device": "/dev/data/kafka"}
UUID = disks.identity("acme", "cp1", MINE)
AT = "device=/dev/data/kafka"


@pytest.mark.parametrize(
    ("told", "words"),
    [
        (f"{AT} {GIB}", ""),
        (f"{AT} {GIB} DEVNAME=/dev/dm-0 LABEL=hdd-kafka UUID={UUID} TYPE=ext4 USAGE=filesystem", ""),
        ("", "is not there"),
        (f"{AT} {GIB - 1} ", "or more"),
        (f"{AT} {GIB} UUID=1-2-3 TYPE=xfs", "holds something that is not this volume (TYPE xfs, UUID 1-2-3)"),
        (f"{AT} {GIB} DEVNAME=/dev/dm-0 PTUUID=7 PTTYPE=gpt", "(PTTYPE gpt)"),
        (f"{AT} {GIB} TYPE=unclear", "(TYPE unclear)"),
    ],
)
def test_devices_are_judged_before_anything_is_changed(told: str, words: str) -> None:
    door = replace(DOOR, site="acme", volumes=(MINE,))
    found = reach.judge(door, reach.Seen(0, f"free={100 * GIB}\nmember=yes\n{told}\n", ""))
    assert [word for word in found if words in word] == found
    assert bool(found) is bool(words)


@needs_tools
def test_the_look_of_a_device_says_what_is_on_it(volume: dict[str, Any]) -> None:
    """The script itself; a file stands for the block device."""
    door = replace(DOOR, site="acme", name="w1", volumes=(volume,))
    script: str = (
        reach.device_look(door, volume).replace("[ -b ", "[ -e ").replace("blockdev --getsize64", "stat -c %s")
    )

    def look() -> list[str]:
        done = subprocess.run(["sh", "-s"], input=script, capture_output=True, text=True, check=True)
        found: list[str] = reach.device_faults(door, done.stdout)
        return found

    assert look() == []
    made(volume)
    assert look() == []
    subprocess.run(["mkswap", "-q", volume["device"]], check=True, capture_output=True)
    (told,) = look()
    assert told.startswith("w1: device") and "TYPE swap" in told


@needs_tools
def test_a_system_volume_that_is_made_and_not_mounted_may_hold_a_member(volume: dict[str, Any]) -> None:
    etcd = {**volume, "name": "etcd", "class": "system"}
    door = replace(DOOR, site="acme", name="w1", volumes=(etcd,))
    script: str = reach.device_look(door, etcd).replace("[ -b ", "[ -e ").replace("blockdev --getsize64", "stat -c %s")

    def look() -> str:
        return subprocess.run(["sh", "-s"], input=script, capture_output=True, text=True, check=True).stdout

    assert "unmounted" not in look()
    made(etcd)
    assert "unmounted=yes" in look()
