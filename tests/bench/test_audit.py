"""Figures of the audit: a million operations judged, in its own process; and the losing disk."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.bench.figures import Figure, show
from validate.ground.site import REPOSITORY
from validate.suites.durability import mount

pytestmark = pytest.mark.bench

OPERATIONS, CLIENTS, LOSSES, STALE = 1_000_000, 8, 17, 5
MEASURED = """
import json, resource, sys, time
from pathlib import Path
from components.kit.probing import Held
from validate.audit.analysis import Limits
from validate.audit.session import Collected, held, judge_store
begin = time.perf_counter()
record, back = map(Path, sys.argv[1:])
found = held(back.read_text(), {"duplicates": True, "ordered": True, "corrupt": []})
check, figures = judge_store(Collected("bench", record, found), Limits(60, 500, 0.1))
print(json.dumps({
    "seconds": time.perf_counter() - begin, "verdict": check.verdict, "lost": list(figures.lost),
    "stale": len(figures.damage.stale), "acknowledged": figures.acknowledged,
    "cpu": time.process_time(),
    "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
}))
"""


def make(folder: Path) -> tuple[Path, Path, list[str]]:
    """A record of a million writes and a hundred thousand reads, and what was read back of it."""
    draw = random.Random(1)
    step = 100_000  # ns between two writes
    record, back = folder / "record.jsonl", folder / "readback"
    head = {
        "kind": "run",
        "v": 2,
        "store": "bench",
        "run": "abcd1234",
        "clients": CLIENTS,
        "rate": 10_000,
        "mono": 0,
        "wall": 1e9,
        "demanded": {},
    }
    lost = set(draw.sample(range(OPERATIONS), LOSSES))
    stale = set(draw.sample(range(1000, OPERATIONS // 10), STALE))
    with record.open("w") as lines, back.open("w") as kept:
        lines.write(json.dumps(head) + "\n")
        for n in range(OPERATIONS):
            client, seq, at = n % CLIENTS, n // CLIENTS, n * step
            uid = f"abcd1234-{client}-{seq}"
            lines.write(
                f'{{"kind":"op","client":{client},"seq":{seq},"uid":"{uid}","try":1,"start":{at},'
                f'"end":{at + 50_000},"wall":{1e9 + at / 1e9},"outcome":"ok","error":""}}\n'
            )
            if n % 10 == 9:
                seen = seq // 2 if n // 10 in stale else seq
                lines.write(
                    f'{{"kind":"read","client":{client},"seen":{seen},"start":{at + 60_000},'
                    f'"end":{at + 90_000},"outcome":"ok","error":""}}\n'
                )
            if n not in lost:
                kept.write(uid + "\n")
        lines.write(json.dumps({"kind": "end", "mono": OPERATIONS * step, "wall": 1e9}) + "\n")
    return record, back, [f"abcd1234-{n % CLIENTS}-{n // CLIENTS}" for n in sorted(lost)]


def test_a_million_operations(tmp_path: Path) -> None:
    record, back, lost = make(tmp_path)
    runs = []
    for _ in range(3):
        done = subprocess.run(
            [sys.executable, "-c", MEASURED, str(record), str(back)],
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            check=True,
        )
        runs.append(json.loads(done.stdout))
        found = runs[-1]
        assert sorted(found["lost"]) == sorted(lost) and found["stale"] == STALE
        assert found["acknowledged"] == OPERATIONS and found["verdict"] == "FAIL"
    seconds = sorted(run["seconds"] for run in runs)
    cpu = sorted(run["cpu"] for run in runs)
    peak = max(run["peak_mib"] for run in runs)
    size = record.stat().st_size / 2**20
    command = "pytest -s tests/bench/test_audit.py -m bench"
    show(
        "audit",
        [
            Figure(
                f"1 M writes + 0.1 M reads judged ({size:.0f} MiB), median of 3",
                f"{seconds[1]:.1f} s ({seconds[0]:.1f} to {seconds[2]:.1f}), CPU {cpu[1]:.1f} s",
                "Elle, JVM: 6 to 10 s per 1 M transactions (its README)",
                "< 10 s",
                command,
            ),
            Figure("1 M writes + 0.1 M reads judged, peak memory", f"{peak:.0f} MiB", "-", "< 1 GB", command),
            Figure("planted losses found in 1 M", f"{LOSSES} of {LOSSES}, by name", "-", "k of k", command),
        ],
    )


def test_the_losing_disk(tmp_path: Path) -> None:
    """How fast a store may write to it: each write of 8 KiB followed by fdatasync."""
    count = 2000
    with mount.mounted(tmp_path / "disk", tmp_path / "mount") as layer:
        handle = os.open(layer.path / "log", os.O_RDWR | os.O_CREAT, 0o600)
        begin = time.perf_counter()
        for number in range(count):
            os.pwrite(handle, b"x" * 8192, number * 8192)
            os.fdatasync(handle)
        rate = count / (time.perf_counter() - begin)
        os.close(handle)
    show(
        "audit",
        [
            Figure(
                "disk that loses unsynced writes: write 8 KiB + fdatasync",
                f"{rate:,.0f}/s",
                "-",
                "> 400/s, what the test writes",
                "pytest -s tests/bench/test_audit.py -m bench",
            )
        ],
    )
