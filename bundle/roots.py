"""Root file systems by mmdebstrap from locked packages: the base image, the lab's machines."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from bundle import debian, files
from bundle.apt import Package
from bundle.commands import run
from bundle.places import Places
from bundle.versions import Versions
from common import files as whole

SOURCES = "deb [trusted=yes] file:/debs ./"
# What no container reads; licences (copyright files) stay, they are an obligation.
UNREAD = (
    "path-exclude=/usr/share/man/*",
    "path-exclude=/usr/share/info/*",
    "path-exclude=/usr/share/locale/*",
    "path-exclude=/usr/share/doc/*",
    "path-include=/usr/share/doc/*/copyright",
    "path-exclude=/usr/share/lintian/*",
)
CLEAN = 'rm -rf "$1"/var/lib/apt/lists/* "$1"/var/cache/apt/* "$1"/var/log/* "$1"/var/cache/ldconfig/aux-cache'


def make(
    versions: Versions,
    packages: Sequence[Package],
    include: Sequence[str],
    *,
    variant: str,
    hooks: Sequence[str],
    target: Path,
    places: Places,
) -> None:
    """Write a root's tar to `target`: whole or not at all."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".root-", dir=places.cache) as folder:
        work = Path(folder)
        debian.repository(packages, work / "debs", places)
        _release(work / "debs", versions.debian.suite)
        part = work / "root.tar"
        command: list[str | Path] = [
            "mmdebstrap",
            "--mode=root",
            f"--variant={variant}",
            "--format=tar",
            f"--architectures={versions.debian.architecture}",
            f"--include={','.join(include)}",
        ]
        for option in UNREAD:
            command.append(f"--dpkgopt={option}")
        for hook in hooks:
            command.append(f"--customize-hook={hook}")
        command += [
            f"--customize-hook={CLEAN}",
            versions.debian.suite,
            part,
            f"deb [trusted=yes] copy:{work / 'debs'} ./",
        ]
        run(command, what=f"making the root {target.name}", env={"SOURCE_DATE_EPOCH": "0"})
        part.replace(target)


def _release(repository: Path, suite: str) -> None:
    """mmdebstrap asks for the packages of the suite by its name: the flat folder needs one."""
    index = repository / "Packages"
    lines = [
        f"Suite: {suite}",
        f"Codename: {suite}",
        "Date: Thu, 01 Jan 1970 00:00:00 UTC",
        "SHA256:",
        f" {files.sha256(index)} {index.stat().st_size} Packages",
    ]
    whole.write(repository / "Release", "\n".join(lines) + "\n")


def base(versions: Versions, lock: Sequence[Package], target: Path, places: Places) -> None:
    """The root under every image. Its only apt source is the folder mounted by a build."""
    sources = f"echo '{SOURCES}' > \"$1/etc/apt/sources.list\""
    keep = "printf '%s\\n' " + " ".join(f"'{line}'" for line in UNREAD) + ' > "$1/etc/dpkg/dpkg.cfg.d/apadana"'
    make(
        versions,
        debian.in_group(lock, "base"),
        versions.debian.base,
        variant="apt",
        hooks=[sources, keep],
        target=target,
        places=places,
    )


def base_key(versions: Versions, lock: Sequence[Package]) -> str:
    digests = sorted(item.sha256 for item in debian.in_group(lock, "base"))
    return files.key_of("base", 3, versions.debian.base, digests, SOURCES, UNREAD, CLEAN)


def node(versions: Versions, lock: Sequence[Package], places: Places) -> Path:
    """The tar of a bare lab machine; a machine's own identity is not in it."""
    digests = sorted(item.sha256 for item in debian.in_group(lock, "lab"))
    key = files.key_of("node", 2, versions.debian.lab, digests)
    target = places.cache / "node.tar"
    mark = places.store / "node.key"
    if target.exists() and mark.exists() and mark.read_text() == key:
        return target
    debian.download(debian.in_group(lock, "lab"), places.debs)
    identity = ': > "$1/etc/machine-id"; rm -f "$1"/etc/ssh/ssh_host_*'
    sources = 'rm -f "$1"/etc/apt/sources.list'
    make(
        versions,
        debian.in_group(lock, "lab"),
        versions.debian.lab,
        variant="minbase",
        hooks=[identity, sources],
        target=target,
        places=places,
    )
    whole.write(mark, key)
    return target
