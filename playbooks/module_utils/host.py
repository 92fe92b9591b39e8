"""What is read of a host and how it is written: commands, files, packages, units, mounts.

Standard library only: it runs on bare hosts.
"""

from __future__ import annotations

import errno
import fcntl
import grp
import hashlib
import os
import pwd
import shutil
import stat
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible.module_utils import disks

UNIT_FOLDER = "/etc/systemd/system/"
LOCK = Path("/run/apadana/host.lock")
LOCK_SECONDS = 600
UMASK = 0o022  # of what is made here, whatever the host's is: services of other users read it
VOLUMES, DISKS = "/var/lib/apadana/volumes", "/var/lib/apadana/disks"


class StateError(Exception):
    """A difference cannot be mended."""


@dataclass(frozen=True)
class Difference:
    """One thing that is not as wanted."""

    role: str
    kind: str
    name: str
    wanted: str
    seen: str


def run(*command: str, deadline: float = 300, env: dict[str, str] | None = None, stdin: str | None = None) -> str:
    """A command's output; StateError with its own words when it fails."""
    environment = {**os.environ, "LC_ALL": "C", **(env or {})}
    try:
        done = subprocess.run(
            command,
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            timeout=deadline,
            check=False,
            env=environment,
        )
    except FileNotFoundError:
        raise StateError(f"{command[0]} is not on this host") from None
    except subprocess.TimeoutExpired:
        raise StateError(f"`{' '.join(command[:4])}` gave no answer in {deadline:.0f} s") from None
    if done.returncode:
        words = (done.stderr or done.stdout).strip()[-900:]
        raise StateError(f"`{' '.join(command[:5])}` failed: {words}")
    return done.stdout


def until(look: Callable[[], str], seconds: float) -> str:
    """Looks until nothing is wrong, or for so long. What `look` said last: "" where nothing is."""
    end = time.monotonic() + seconds
    while (told := look()) and time.monotonic() <= end:
        time.sleep(0.5)
    return told


@contextmanager
def alone() -> Iterator[None]:
    """One change of this host at a time: a module works on after its playbook was killed.

    What is changed is made under our own umask.
    """
    LOCK.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with LOCK.open("w") as file:
        end = time.monotonic() + LOCK_SECONDS
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > end:
                    raise StateError(
                        f"an earlier run works on this host since {LOCK_SECONDS} s; see `fuser -v {LOCK}` there"
                    ) from None
            time.sleep(0.2)
        before = os.umask(UMASK)
        try:
            yield
        finally:
            os.umask(before)


def digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()[:12]}"


def package_states() -> dict[str, str]:
    """dpkg's word on each package, from its own file: a hundredth of the time of dpkg-query."""
    found, name = {}, ""
    for line in Path("/var/lib/dpkg/status").read_text(errors="replace").splitlines():
        if line.startswith("Package: "):
            name = line[9:]
        elif line.startswith("Status: "):
            found[name] = line[8:]
    return found


def install_packages(names: list[str], held: list[str], *, unsafe_io: bool = False) -> None:
    """From the bundle; one that someone holds back is let go first, else apt leaves it so.

    `unsafe_io`: dpkg does not wait for the disk. A cut of power then leaves packages that are
    installed by name and empty by content, so it is for hosts that are made anew at will.
    """
    # Units start when their files are in place, not when dpkg is done with them.
    policy = Path("/usr/sbin/policy-rc.d")
    policy.write_text("#!/bin/sh\nexit 101\n")
    policy.chmod(0o755)
    options = ["-qq", "-y", "--no-install-recommends", "-o", "Dpkg::Options::=--force-confold"]
    options += ["-o", "Dpkg::Use-Pty=0"]
    options += ["-o", "Dpkg::Options::=--force-unsafe-io"] if unsafe_io else []
    options += ["-o", "DPkg::Lock::Timeout=300"]
    env = {"DEBIAN_FRONTEND": "noninteractive"}
    try:
        # What a host that died in the middle has left unpacked; apt refuses to work beside it.
        run("dpkg", "--force-confold", "--configure", "--pending", env=env)
        if held:
            run("apt-mark", "unhold", *held, env=env)
        run("apt-get", "-qq", "update", env=env)
        run("apt-get", *options, "install", *names, env=env, deadline=540)
    finally:
        policy.unlink()


def unit_states(names: list[str]) -> dict[str, tuple[str, str]]:
    """(is it enabled, is it active) by unit."""
    if not names:
        return {}
    told = run("systemctl", "show", "--property=Id,UnitFileState,ActiveState", *names, deadline=30)
    states = {}
    for name, block in zip(names, told.strip().split("\n\n"), strict=True):
        facts = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        states[name] = (facts.get("UnitFileState", ""), facts.get("ActiveState", ""))
    return states


def rises(enabled: str, active: str) -> bool:
    """Whether a unit runs, or will after the next boot."""
    return enabled == "enabled" or active in ("active", "activating", "reloading")


def mounted() -> set[str]:
    return {line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()}


def mount_seen(mount: dict[str, Any], mounts: set[str]) -> str:
    """`mounted`, or what is there instead: a disk that died stays mounted and is no device any more."""
    if mount["path"] not in mounts:
        return "absent"
    if mount["image"]:
        return "mounted"
    device = Path(mount["volume"]["device"])
    if not device.exists():
        return f"mounted, and {device} is gone"
    if device.stat().st_rdev != Path(mount["path"]).stat().st_dev:
        return f"mounted from another device than {device}"
    return "mounted"


def mount_told(mount: dict[str, Any], mounts: set[str]) -> Iterator[tuple[str, str, str, str]]:
    """What of a volume is not as wanted: kind, name, wanted, seen."""
    seen, folder = mount_seen(mount, mounts), mount["folder"]
    if seen != "mounted":
        yield "mount", mount["path"], "mounted", seen
    elif folder and not Path(folder).is_dir():
        yield "folder", folder, "there", "absent"


def make_folders(mounts: list[dict[str, Any]]) -> None:
    """Inside what is mounted, never below it."""
    there = mounted()
    for mount in mounts:
        if mount["folder"] and mount["path"] in there:
            Path(mount["folder"]).mkdir(exist_ok=True)


def rights(mode: int, user: int, group: int) -> str:
    """Mode and owners in words: `0640 root:docker-registry`; an id without a name as its number."""
    try:
        who = pwd.getpwuid(user).pw_name
    except KeyError:
        who = str(user)
    try:
        team = grp.getgrgid(group).gr_name
    except KeyError:
        team = str(group)
    return f"{mode:04o} {who}:{team}"


def file_wanted(file: dict[str, Any]) -> str:
    """Content, mode and owners of a file; it belongs to who runs this (root), unless it says so."""
    try:
        group = grp.getgrnam(file["group"]).gr_gid if "group" in file else os.getegid()
    except KeyError:
        group = -1  # its package is not there yet, and brings it
    mode = int(file.get("mode", "0644"), 8)
    return f"{digest(file['content'].encode())} {rights(mode, os.geteuid(), group)}"


def file_seen(path: Path) -> str:
    try:
        if path.is_symlink():
            return f"link to {path.readlink()}"
        facts = path.stat()
        words = rights(stat.S_IMODE(facts.st_mode), facts.st_uid, facts.st_gid)
        return f"{digest(path.read_bytes())} {words}"
    except FileNotFoundError:
        return "absent"


def remove_path(path: Path) -> None:
    """A folder with all in it, a file, or a link but not what it leads to."""
    shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def write_file(path: Path, data: bytes, mode: int, group: str | None = None) -> None:
    """Whole or not at all; a file that is itself a mount can only be written in place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    owner, team = os.geteuid(), grp.getgrnam(group).gr_gid if group else os.getegid()
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            os.fchown(file.fileno(), owner, team)
            os.fchmod(file.fileno(), mode)
        Path(temporary).replace(path)
    except OSError as error:
        Path(temporary).unlink(missing_ok=True)
        if error.errno != errno.EBUSY:
            raise
        path.write_bytes(data)
        os.chown(path, owner, team)
        path.chmod(mode)


def mount_unit(volume: dict[str, Any], owner: str) -> dict[str, Any]:
    """A volume of the inventory as a file system with its systemd mount unit: on a device, or, in a
    lab, on a file. `owner` is `site/host`."""
    kind, name = volume["class"], volume["name"]
    path, device = f"{VOLUMES}/{kind}/{name}", str(volume.get("device") or "")
    image = "" if device else f"{DISKS}/{kind}-{name}.img"
    site, _, host = owner.partition("/")
    mine = disks.identity(site, host, volume)
    # systemd wants the escaped path as the unit's name: a dash of the path is \\x2d there.
    unit = path.strip("/").replace("-", "\\x2d").replace("/", "-") + ".mount"
    what, options, needs = f"/dev/disk/by-uuid/{mine}", "noatime", ""
    if image:
        what, options = image, "loop,noatime"
        needs = "Requires=apadana-loops.service\nAfter=apadana-loops.service\n"
    text = (
        f"[Unit]\nDescription=Volume {name} ({kind}, {volume['size_gib']} GiB)\n"
        f"{needs}Before=kubelet.service\n"
        f"\n[Mount]\nWhat={what}\nWhere={path}\nType=ext4\nOptions={options}\n"
        "\n[Install]\nWantedBy=multi-user.target\n"
    )
    return {
        "path": path,
        "volume": volume,
        "image": image,
        "uuid": mine,
        # What a claim is given lies inside: where the disk is not mounted there is nothing to fill.
        "folder": f"{path}/data" if device and kind != "system" else "",
        "unit": unit,
        "text": text,
        "label": f"{kind}-{name}",
        "size_gib": volume["size_gib"],
        # What the cluster itself stands on takes its room at once: others may fill the disk below.
        "taken_at_once": kind == "system",
    }


def make_disk(mount: dict[str, Any]) -> None:
    """A file system of a real size, on its device or in a file; never made anew where one is."""
    Path(mount["path"]).mkdir(parents=True, exist_ok=True)
    if not mount["image"]:
        format_device(mount)
        return
    image = Path(mount["image"])
    if not image.exists():
        image.parent.mkdir(parents=True, exist_ok=True)
        fresh = image.with_suffix(".new")
        with fresh.open("wb") as file:
            file.truncate(mount["size_gib"] << 30)
        make_ext4(mount, fresh, "-F")
        if mount["taken_at_once"]:
            with fresh.open("rb+") as file:  # after mkfs, which gives back what it zeroes
                os.posix_fallocate(file.fileno(), 0, mount["size_gib"] << 30)
        fresh.rename(image)


def make_ext4(mount: dict[str, Any], place: Path, *options: str) -> None:
    # No reserved blocks, few inodes: a volume of n GiB must hold close to n GiB of data.
    run("mkfs.ext4", "-q", "-m", "0", "-L", mount["label"][:16], *options, str(place), deadline=600)


def on_device(device: str) -> dict[str, str]:
    """What blkid sees on it, read from the device itself and not from what blkid remembers."""
    command = ["blkid", "--probe", "--output", "export", device]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode not in (0, 2):  # 2: nothing is there
        raise StateError(
            f"`{' '.join(command)}` failed ({done.returncode}): {done.stderr.strip() or 'several answers'}"
        )
    found: dict[str, str] = disks.facts(done.stdout)
    return found


def format_device(mount: dict[str, Any]) -> None:
    """Once in the life of a disk: what holds anything, or is in use, is refused."""
    volume, device = mount["volume"], str(mount["volume"]["device"])
    former = Path(f"{DISKS}/{mount['label']}.img")
    if former.exists():
        raise StateError(
            f"volume {mount['label']} has been the file {former} so far; copy what is in it to the device, or, if it "
            "may be lost, remove it, then run again"
        )
    size, seen = device_size(device), {}
    if size is not None:
        seen = on_device(device)
    if told := disks.fault(volume, size, seen, mount["uuid"]):
        raise StateError(told)
    if not seen:
        make_ext4(mount, Path(device), "-U", mount["uuid"])


def device_size(device: str) -> int | None:
    """Bytes; None where there is none. A device in use (mounted, of a RAID, a group) is refused."""
    try:
        handle = os.open(device, os.O_RDONLY | os.O_EXCL)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StateError(f"device {device} can't be had: {error.strerror}; see `lsblk {device}`") from None
    try:
        return os.lseek(handle, 0, os.SEEK_END)
    finally:
        os.close(handle)


def wiped(mount: dict[str, Any]) -> bool:
    """Takes a volume's own file system off its device; any other is left."""
    device = str(mount["volume"].get("device") or "")
    if not device or not Path(device).exists() or on_device(device).get("UUID") != mount["uuid"]:
        return False
    device_size(device)  # told when it is in use
    run("wipefs", "--quiet", "--all", device)
    return True
