"""Debian packages: the lock, the download, flat apt repositories."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from bundle import files
from bundle.apt import Apt, Package, lines_of, mirrors, parse
from bundle.commands import run
from bundle.errors import BundleError
from bundle.places import Places
from bundle.versions import Debian
from common import files as whole

HELPER = "/usr/lib/apt/apt-helper"
BATCH = 40


def resolve(debian: Debian) -> list[Package]:
    """The closure of every group, asked of the machine's mirror."""
    with TemporaryDirectory(prefix="apadana-apt-") as folder:
        apt = Apt(Path(folder), debian)
        apt.update()
        minimal = apt.essential(required=False)
        # The lab's bare machines are `minbase`, which has the Required packages too.
        machine = apt.essential(required=True)
        groups: dict[str, set[str]] = {}
        versions: dict[str, str] = {}
        for group, wanted in debian.groups().items():
            root = machine if group in ("lab", "hosts") else [*minimal, *debian.base]
            closure = apt.closure([*root, *wanted])
            versions.update(closure)
            for name in closure:
                groups.setdefault(name, set()).add(group)
        return [replace(item, groups=tuple(sorted(groups[item.name]))) for item in apt.describe(versions)]


def lock(debian: Debian, path: Path) -> list[str]:
    """Renew the lock; returns the differences as lines for people."""
    old = {item.name: item for item in read_lock(path)} if path.exists() else {}
    new = {item.name: item for item in resolve(debian)}
    whole.write(path, lines_of(new.values()))
    changes = [f"+ {name} {new[name].version}" for name in sorted(new.keys() - old.keys())]
    changes += [f"- {name} {old[name].version}" for name in sorted(old.keys() - new.keys())]
    changes += [
        f"~ {name} {old[name].version} -> {new[name].version}"
        for name in sorted(new.keys() & old.keys())
        if new[name].version != old[name].version
    ]
    return changes


def read_lock(path: Path) -> list[Package]:
    if not path.exists():
        raise BundleError(f"{path} is missing; make it with `python -m bundle lock`")
    return parse(path.read_text(), str(path))


def in_group(packages: Iterable[Package], *groups: str) -> list[Package]:
    return [item for item in packages if set(groups) & set(item.groups)]


def missing(packages: Iterable[Package], debs: Path) -> list[Package]:
    """Those not yet in the cache; a size tells a whole file, its digest was checked on arrival."""
    return [
        item for item in packages if not (debs / item.file).exists() or (debs / item.file).stat().st_size != item.size
    ]


def download(packages: Sequence[Package], debs: Path) -> int:
    """Fetch what is not there, through the machine's apt (its mirror, its proxy, its limits)."""
    wanted = missing(packages, debs)
    if not wanted:
        return 0
    debs.mkdir(parents=True, exist_ok=True)
    served = mirrors()
    batches = [wanted[start : start + BATCH] for start in range(0, len(wanted), BATCH)]
    with ThreadPoolExecutor(max_workers=4) as pool:
        failed = [line for lines in pool.map(lambda b: _fetch(b, debs, served), batches) for line in lines]
    if failed:
        raise BundleError(
            f"{len(failed)} locked package(s) could not be had from the machine's mirror:\n"
            + "\n".join(f"  {line}" for line in failed)
            + "\nIf the mirror has newer ones by now, run `python -m bundle lock`, read the"
            " difference and commit bundle/debian.lock."
        )
    return len(wanted)


def _fetch(batch: Sequence[Package], debs: Path, served: dict[str, str]) -> Iterator[str]:
    words: list[str] = [HELPER, "-o", "APT::Sandbox::User=root", "download-file"]
    for item in batch:
        base = served.get(item.archive, served["debian"])
        words += [f"{base}/{item.path}", str(debs / f".{item.file}.part"), f"SHA256:{item.sha256}"]
    said = subprocess.run(words, capture_output=True, text=True, check=False)
    problems: list[str] = []
    for item in batch:
        part = debs / f".{item.file}.part"
        if part.exists() and part.stat().st_size == item.size and (files.sha256(part) == item.sha256):
            part.chmod(0o644)
            part.replace(debs / item.file)
        else:
            part.unlink(missing_ok=True)
            reason = next(
                (line for line in said.stderr.splitlines() if Path(item.path).name in line),
                said.stderr.strip().splitlines()[-1] if said.stderr.strip() else "not whole",
            )
            problems.append(f"{item.name} {item.version}: {reason}")
    return iter(problems)


def stanza(item: Package, debs: Path, memo: Path) -> str:
    """The package's paragraph of a flat index, from its own control file."""
    kept = memo / item.sha256
    if kept.exists():
        control = kept.read_text()
    else:
        control = run(["dpkg-deb", "--field", debs / item.file], what=f"reading {item.file}")
        whole.write(kept, control)
    return f"{control.rstrip()}\nFilename: ./{item.file}\nSize: {item.size}\nSHA256: {item.sha256}\n"


def index(packages: Iterable[Package], places: Places) -> str:
    """The text of a flat repository's Packages file."""
    memo = places.store / "control"
    return "\n".join(
        stanza(item, places.debs, memo) for item in sorted(packages, key=lambda item: (item.name, item.version))
    )


def repository(packages: Sequence[Package], target: Path, places: Places) -> None:
    """A folder that apt can use: links to the packages and their index."""
    with files.building(target) as part:
        for item in packages:
            whole.link(places.debs / item.file, part / item.file)
        whole.write(part / "Packages", index(packages, places))
