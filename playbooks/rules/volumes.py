"""Volumes of the hosts: their form, their names, what they stand on, and that of etcd."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from components.kit.names import is_label
from playbooks.rules.telling import plain, wrong

Hosts = Mapping[str, Mapping[str, Any]]
CLASSES = ("ssd", "hdd", "system")  # the last one is for what the cluster itself stands on
ETCD, ETCD_GIB = "etcd", 2  # its write-ahead log and snapshots take one of them
FORM = "{name: kafka, class: ssd, size_gib: 20}"
NEEDED, KNOWN = {"name", "class", "size_gib"}, {"name", "class", "size_gib", "room", "device"}
# Names of the kernel move between disks from one boot to the next.
LASTING = re.compile(r"/dev/(disk/by-(id|path|partuuid|partlabel)|mapper|(?!disk/)[A-Za-z0-9_.+-]+)/[A-Za-z0-9_.:+@-]+")
DEVICE = (
    "a name that lasts: /dev/disk/by-id/..., by-path, by-partuuid, by-partlabel, /dev/mapper/..., /dev/GROUP/VOLUME"
)


def listed(host: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Those that have the form of a volume."""
    given = host.get("storage_volumes") or []
    return [v for v in given if isinstance(v, Mapping)] if isinstance(given, list) else []


def volume_faults(hosts: Hosts) -> list[str]:
    found = []
    for name, host in hosts.items():
        given, subject = host.get("storage_volumes") or [], f"{name}: storage_volumes"
        if not isinstance(given, list):
            found.append(wrong(subject, given, "a list", f"write `- {FORM}` for each"))
            continue
        odd = [item for item in given if not isinstance(item, Mapping)]
        found += [wrong(f"{subject} (one of it)", item, FORM, "correct it") for item in odd]
        found += [fault for volume in listed(host) for fault in _faults(name, volume)]
        keys = Counter((str(v.get("class")), str(v.get("name"))) for v in listed(host))
        found += [
            f"{name}: volume {key[1]} of class {key[0]} stands {count} times; name it once"
            for key, count in keys.items()
            if count > 1
        ]
    return found


def _faults(host: str, volume: Mapping[str, Any]) -> list[str]:
    extra = (NEEDED - set(volume)) | (set(volume) - KNOWN)
    if extra:
        told = f"{host}: volume {plain(volume)} wants name, class, size_gib, may have room, device; see {sorted(extra)}"
        return [told]
    found, subject, size = [], f"{host}: volume {volume['name']}", volume["size_gib"]
    if not is_label(str(volume["name"])):
        allowed = "lower-case letters, digits and hyphens, at most 63, no hyphen first or last"
        found.append(wrong(f"{host}: the name of a volume", volume["name"], allowed, "rename it"))
    if not is_label(str(volume.get("room", "x"))):
        allowed = "the room that the volume is for, a folder of components/; left out, it is the volume's name"
        found.append(wrong(f"{subject}: room", volume["room"], allowed, "correct it"))
    if "device" in volume and not LASTING.fullmatch(str(volume["device"])):
        found.append(wrong(f"{subject}: device", volume["device"], DEVICE, "see `ls -l /dev/disk/by-id` there"))
    if volume["class"] not in CLASSES:
        found.append(f"{subject} has class {plain(volume['class'])!r}; allowed are {', '.join(CLASSES)}")
    if not isinstance(size, int) or isinstance(size, bool) or size < 1:
        found.append(f"{subject} has size_gib {plain(size)!r}; give whole GiB of 1 or more")
    return found


def device_faults(hosts: Hosts, *, lab: bool) -> list[str]:
    """What a volume stands on. A file on the disk of the system shares its room, its speed and its
    death; only a lab may have that. A device is one volume's alone."""
    found = []
    for name, host in hosts.items():
        with_one = [volume for volume in listed(host) if "device" in volume]
        bare = [str(volume.get("name")) for volume in listed(host) if "device" not in volume]
        if bare and not lab:
            found.append(
                f"{name}: storage_volumes {', '.join(bare)} name no device, so each would be a file on the disk of the "
                f"system, which only a lab has (lab_name); allowed: {DEVICE}; add `device: ...` to each"
            )
        counts = Counter(str(volume["device"]) for volume in with_one)
        found += [
            f"{name}: device {device} stands {count} times; a device has one volume"
            for device, count in counts.items()
            if count > 1
        ]
    return found


def system_faults(hosts: Hosts, groups: Mapping[str, Iterable[str]]) -> list[str]:
    """The folder of etcd is one setting of the whole cluster: all of its members have the volume,
    or none."""
    planes = list(groups.get("control_plane", ()))
    having, found = set(), []
    for name, host in hosts.items():
        for volume in listed(host):
            if volume.get("class") != "system":
                continue
            if volume.get("name") != ETCD or name not in planes:
                found.append(
                    f"{name}: volume {volume.get('name')} has class 'system', which only the "
                    f"volume {ETCD} of a control plane has; give it class ssd or hdd, or remove it"
                )
                continue
            having.add(name)
            size = volume.get("size_gib")
            if isinstance(size, int) and size < ETCD_GIB:
                found.append(f"{name}: volume {ETCD} has size_gib {size}; give {ETCD_GIB} or more")
    lacking = [name for name in planes if name not in having]
    if having and lacking:
        found.append(
            f"{', '.join(lacking)} of control_plane have no volume {ETCD} of class system, and "
            f"{', '.join(sorted(having))} have; give it to all of them or to none"
        )
    return found
