"""What is read of a host and how it is written: commands, files, packages, units, mounts.

Standard library only: it runs on bare hosts.
"""

from __future__ import annotations

import errno
import hashlib
import os
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

UNIT_FOLDER = "/etc/systemd/system/"
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


def run(*command: str, deadline: float = 300, env: dict[str, str] | None = None) -> str:
    """A command's output; StateError with its own words when it fails."""
    environment = {**os.environ, "LC_ALL": "C", **(env or {})}
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=deadline, check=False, env=environment
        )
    except FileNotFoundError:
        raise StateError(f"{command[0]} is not on this host") from None
    except subprocess.TimeoutExpired:
        raise StateError(f"`{' '.join(command[:4])}` gave no answer in {deadline:.0f} s") from None
    if done.returncode:
        words = (done.stderr or done.stdout).strip()[-900:]
        raise StateError(f"`{' '.join(command[:5])}` failed: {words}")
    return done.stdout


def digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()[:12]}"


def installed_packages() -> set[str]:
    """Read from dpkg's own file: a hundredth of the time of asking dpkg-query."""
    found, name = set(), ""
    for line in Path("/var/lib/dpkg/status").read_text(errors="replace").splitlines():
        if line.startswith("Package: "):
            name = line[9:]
        elif line == "Status: install ok installed":
            found.add(name)
    return found


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


def mounted() -> set[str]:
    return {line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()}


def write_file(path: Path, data: bytes, mode: int) -> None:
    """Whole or not at all; a file that is itself a mount can only be written in place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            os.fchmod(file.fileno(), mode)
        Path(temporary).replace(path)
    except OSError as error:
        Path(temporary).unlink(missing_ok=True)
        if error.errno != errno.EBUSY:
            raise
        path.write_bytes(data)


def mount_unit(volume: dict[str, Any]) -> dict[str, Any]:
    """A volume of the inventory as a loop-backed file system with its systemd mount unit."""
    kind, name = volume["class"], volume["name"]
    path, image = f"{VOLUMES}/{kind}/{name}", f"{DISKS}/{kind}-{name}.img"
    # systemd wants the escaped path as the unit's name: a dash of the path is \\x2d there.
    unit = path.strip("/").replace("-", "\\x2d").replace("/", "-") + ".mount"
    text = (
        f"[Unit]\nDescription=Volume {name} ({kind}, {volume['size_gib']} GiB)\n"
        "Requires=apadana-loops.service\nAfter=apadana-loops.service\nBefore=kubelet.service\n"
        f"\n[Mount]\nWhat={image}\nWhere={path}\nType=ext4\nOptions=loop,noatime\n"
        "\n[Install]\nWantedBy=multi-user.target\n"
    )
    return {
        "path": path,
        "image": image,
        "unit": unit,
        "text": text,
        "label": f"{kind}-{name}",
        "size_gib": volume["size_gib"],
    }


def make_disk(mount: dict[str, Any]) -> None:
    """A file system of a real size in a file; never made anew where a file is already."""
    image, path = Path(mount["image"]), Path(mount["path"])
    path.mkdir(parents=True, exist_ok=True)
    if not image.exists():
        image.parent.mkdir(parents=True, exist_ok=True)
        fresh = image.with_suffix(".new")
        with fresh.open("wb") as file:
            file.truncate(mount["size_gib"] << 30)
        # No reserved blocks, few inodes: a volume of n GiB must hold close to n GiB of data.
        run("mkfs.ext4", "-q", "-F", "-m", "0", "-L", mount["label"][:16], str(fresh))
        fresh.rename(image)
