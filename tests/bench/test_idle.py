"""What the lab with its platform uses when nobody asks anything of it.

    APADANA_IDLE_MINUTES=10 pytest -s -m bench tests/bench/test_idle.py

Whole hosts are counted by their control groups, so nothing is missed; the split by process name
is made of processes that live at the end, and what ended in between (probes) is the rest. Pss
counts file pages that the kernel could drop, so the split adds up to more than the working set.
"""

from __future__ import annotations

import os
import threading
import time

import pytest

from tests import lab
from tests.bench import idle
from tests.bench.figures import Figure, save, show, table

pytestmark = pytest.mark.bench
MINUTES = float(os.environ.get("APADANA_IDLE_MINUTES", "10"))
FLOOR = "cluster alone: 0.35 core, 2.4 GiB in use"
SHOWN = 25


def test_idle() -> None:
    firsts = idle.pids_of_hosts()
    hosts, processes = hosts_now(firsts), idle.by_process(firsts.values())
    begun = time.monotonic()
    # A figure over time: nothing is waited for but the time itself.
    threading.Event().wait(MINUTES * 60)
    seconds = time.monotonic() - begun
    after, later = hosts_now(firsts), idle.by_process(firsts.values())
    cores = {host: (after[host].cpu_seconds - hosts[host].cpu_seconds) / seconds for host in hosts}
    memory = {host: use.memory / idle.MIB for host, use in after.items()}
    shares = idle.split(processes, later, seconds)
    show_split(shares, sum(cores.values()))
    command = f"APADANA_IDLE_MINUTES={MINUTES:g} pytest -s -m bench tests/bench/test_idle.py"
    total = [
        Figure("idle cores, all hosts", f"{sum(cores.values()):.2f}", FLOOR, "0.8", command),
        Figure("idle working set, all hosts", f"{sum(memory.values()) / 1024:.2f} GiB", FLOOR, "9 GiB", command),
    ]
    show("idle", total + [Figure(f"  {host}", f"{cores[host]:.2f} cores, {memory[host]:.0f} MiB") for host in hosts])


def hosts_now(firsts: dict[str, int]) -> dict[str, idle.Use]:
    return {host: idle.host_use(pid) for host, pid in firsts.items()}


def show_split(shares: dict[str, idle.Share], cores: float) -> None:
    ordered = sorted(shares.items(), key=lambda pair: -pair[1].cores)
    rows = [
        [name, str(share.count), f"{share.cores:.3f}", f"{share.memory / idle.MIB:.0f}"]
        for name, share in ordered[:SHOWN]
    ]
    rest = cores - sum(share.cores for share in shares.values())
    rows.append(["ended in between, and the kernel", "-", f"{rest:.3f}", "-"])
    print(f"\nby process, over {MINUTES:g} min on {', '.join(lab.hosts())}")
    print(table(("process", "count", "cores", "MiB (Pss)"), rows))
    save(
        "idle-processes",
        [
            {
                "name": name,
                "count": share.count,
                "cores": round(share.cores, 4),
                "mib": round(share.memory / idle.MIB, 1),
            }
            for name, share in ordered
        ],
        "name",
    )
