"""A device of a host as one volume's: whose file system is on it, and why it can't be had. Pure.

The machine that runs the playbooks asks before anything is changed, the host once more when it is
about to write. Standard library only: it runs on bare hosts too.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

#: What volumes' identities are derived in; a change of it would disown every disk there is.
OURS = uuid.UUID("5e0fd0a6-3f0c-4c6e-9f0b-6a2f7c1d8e94")
GIB = 1 << 30
TELLING = ("TYPE", "PTTYPE", "LABEL", "UUID")


def identity(site: str, host: str, volume: Mapping[str, Any]) -> str:
    """UUID of the volume's file system. It follows from the names, so that a disk of another host,
    of another site or of another volume is told from the volume's own."""
    return str(uuid.uuid5(OURS, f"{site}/{host}/{volume['class']}/{volume['name']}"))


def facts(told: str) -> dict[str, str]:
    """`blkid --probe --output export`, as one line or several: what it sees on a device."""
    pairs = (word.partition("=") for word in told.split())
    return {key: value for key, _, value in pairs if key in TELLING}


def fault(volume: Mapping[str, Any], size: int | None, seen: Mapping[str, str], mine: str) -> str:
    """Why the device can't be the volume's; nothing where it is blank or has the volume already.

    `size` in bytes, None where there is no such device.
    """
    name = f"device {volume['device']} of volume {volume['name']} ({volume['class']})"
    if size is None:
        return f"{name} is not there; see `ls -l /dev/disk/by-id` and `lsblk` on that host, or exchange the dead disk"
    if seen and seen.get("UUID") != mine:
        holds = ", ".join(f"{key} {seen[key]}" for key in TELLING if key in seen)
        return (
            f"{name} holds something that is not this volume ({holds}), and is left as it is; name another device, "
            f"or, if that may be lost, run `wipefs --all {volume['device']}` on that host"
        )
    if size < volume["size_gib"] * GIB:
        return f"{name} has {size / GIB:.1f} GiB; allowed: {volume['size_gib']} GiB (size_gib) or more"
    return ""
