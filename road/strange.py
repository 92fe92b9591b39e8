"""Places that some program on the way would stumble over late: refused first, all at once."""

from __future__ import annotations

import os
import pwd
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

from road.place import Place, RoadError

#: ssh and apt split their options at spaces, Podman its mounts at colons, Pulumi its URL at others.
PLAIN = re.compile(r"(/[A-Za-z0-9_.@+-]+)+")


def refuse(place: Place) -> None:
    """RoadError with each of them."""
    found = [*paths(place), *checkout(place.repository)]
    if found:
        told = "".join(f"\n- {fault}" for fault in found)
        raise RoadError(f"Nothing was changed. This can't be run from here:{told}")


def paths(place: Place) -> Iterator[str]:
    for what, path, how in (
        ("the checkout", place.repository, "move it, or clone it elsewhere"),
        ("the state", place.state_root, "set APADANA_STATE to another folder"),
        ("the cache", place.cache, "set APADANA_CACHE to another folder"),
    ):
        if not PLAIN.fullmatch(str(path)):
            yield (
                f"{what} is at {str(path)!r}; allowed: a whole path of letters, digits and"
                f" _ . @ + - without a space; {how}"
            )


def checkout(repository: Path, me: int | None = None) -> Iterator[str]:
    """The bundle packs the files that git knows, and git refuses a checkout of somebody else."""
    git, mine = repository / ".git", os.geteuid() if me is None else me
    if not git.exists():
        yield (
            f"{repository} is no checkout of git: .git is missing; clone the repository, or run"
            " `git init` and `git add --all` there"
        )
        return
    owners = {path.stat().st_uid for path in (repository, git)} - {mine}
    if owners and not _git_takes(repository):
        names = ", ".join(sorted(_name(uid) for uid in owners))
        yield (
            f"{repository} belongs to {names}, and this runs as {_name(mine)}; allowed: a checkout"
            f" of one's own; run as {names}, or clone it as {_name(mine)}"
        )


def _git_takes(repository: Path) -> bool:
    """It knows exceptions: `sudo`, and its setting safe.directory."""
    command = ["git", "-C", str(repository), "rev-parse", "--git-dir"]
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"the user {uid}"
