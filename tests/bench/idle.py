"""What the hosts of a lab use, from the counters of their control groups and of their processes."""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests import lab

CGROUPS = Path("/sys/fs/cgroup")
TICKS = os.sysconf("SC_CLK_TCK")
MIB = 1 << 20


@dataclass(frozen=True)
class Use:
    """Seconds of processor since the start, bytes in use now."""

    cpu_seconds: float
    memory: float


def pids_of_hosts() -> dict[str, int]:
    """The first process of each host, as this machine numbers it."""
    names = [lab.container(host) for host in lab.hosts()]
    done = lab.run("podman", "inspect", *names, timeout=60)
    assert done.returncode == 0, lab.told(done)
    return {host: int(row["State"]["Pid"]) for host, row in zip(lab.hosts(), json.loads(done.stdout), strict=True)}


def group_of(pid: int, controller: str) -> Path:
    """Folder of a process's control group, in version 1 (by controller) or version 2.

    systemd moves its first process into init.scope; the host is the folder above.
    """
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, names, path = line.split(":", 2)
        if controller in names.split(",") or not names:
            plain = path.removesuffix("/init.scope").lstrip("/")
            root = CGROUPS / (names or "")
            found = (root if root.is_dir() else CGROUPS / controller) / plain
            if (found / "cgroup.procs").exists() and (names or (found / "cpu.stat").exists()):
                return found
    raise AssertionError(f"process {pid} is in no control group of {controller}")


def host_use(pid: int) -> Use:
    return Use(cpu_of(group_of(pid, "cpuacct")), memory_of(group_of(pid, "memory")))


def cpu_of(group: Path) -> float:
    if (group / "cpuacct.usage").exists():
        return int((group / "cpuacct.usage").read_text()) / 1e9
    return table(group / "cpu.stat")["usage_usec"] / 1e6


def memory_of(group: Path) -> float:
    """The working set: what is in use less what the kernel could drop at once."""
    stat = table(group / "memory.stat")
    for name in ("memory.usage_in_bytes", "memory.current"):
        if (group / name).exists():
            inactive = stat.get("total_inactive_file", stat.get("inactive_file", 0))
            return int((group / name).read_text()) - inactive
    raise AssertionError(f"{group} says nothing of memory")


def table(file: Path) -> dict[str, int]:
    rows = (line.split() for line in file.read_text().splitlines())
    return {row[0]: int(row[1]) for row in rows if len(row) == 2}


def members(first: int) -> list[int]:
    """All processes in the PID namespace of a host, and in those below it (pods): by descent."""
    children: dict[int, list[int]] = defaultdict(list)
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                rest = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            children[int(rest[1])].append(int(entry.name))
    found, waiting = [], [first]
    while waiting:
        found.append(waiting.pop())
        waiting += children[found[-1]]
    return found


def process_use(pid: int) -> tuple[str, Use] | None:
    """Name and use of one process; children that it waited for count to it."""
    folder = Path(f"/proc/{pid}")
    try:
        name, rest = (folder / "stat").read_text().partition("(")[2].rsplit(")", 1)
        ticks = sum(map(int, rest.split()[11:15]))
        pss = table_of_smaps(folder / "smaps_rollup")
        argv = (folder / "cmdline").read_bytes().split(b"\0")
    except (OSError, ValueError):
        return None
    return told_name(name, argv), Use(ticks / TICKS, pss)


def told_name(name: str, argv: list[bytes]) -> str:
    """`java`, `python3` and shells are what they run."""
    if name.startswith(("python", "java", "sh", "bash", "patroni")):
        words = [Path(word.decode(errors="replace")).name for word in argv[1:] if word]
        said = next((word for word in words if not word.startswith("-")), "")
        return f"{name} {said}"[:32].strip()
    return name


def table_of_smaps(file: Path) -> float:
    """Proportional share: a page that two processes share counts half to each."""
    line = next(line for line in file.read_text().splitlines() if line.startswith("Pss:"))
    return int(line.split()[1]) * 1024


def by_process(firsts: Iterable[int]) -> dict[int, tuple[str, Use]]:
    found = {}
    for first in firsts:
        for pid in members(first):
            used = process_use(pid)
            if used:
                found[pid] = used
    return found


@dataclass(frozen=True)
class Share:
    cores: float
    memory: float
    count: int


def split(
    before: Mapping[int, tuple[str, Use]], after: Mapping[int, tuple[str, Use]], seconds: float
) -> dict[str, Share]:
    """Cores over the time and memory at its end, by name. A process that came counts from zero."""
    found: dict[str, Share] = {}
    for pid, (name, use) in after.items():
        old = before.get(pid)
        base = old[1].cpu_seconds if old and old[0] == name else 0.0
        known = found.get(name, Share(0.0, 0.0, 0))
        cores = known.cores + max(0.0, use.cpu_seconds - base) / seconds
        found[name] = Share(cores, known.memory + use.memory, known.count + 1)
    return found
