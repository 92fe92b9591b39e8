"""2,000 replayed releases through the judge: what it lets through, what it throws away, what it needs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor

import pytest

from components.models.judge.wish import Rules
from components.models.judge.words import Phase
from tests import releases
from tests.bench.figures import Figure, show

pytestmark = pytest.mark.bench
REPLAYS = int(os.environ.get("APADANA_REPLAYS", "2000"))
COMMAND = "pytest -s -m bench tests/bench/test_judge.py"
SIX_MINUTES = 18_000  # requests at 50/s


def ended(about: tuple[str, int]) -> releases.End:
    return releases.replay(*about)


def replays() -> dict[str, list[releases.End]]:
    """Half of them good, the rest in five kinds alike; each with a seed of its own."""
    each = {kind: REPLAYS // 2 if kind == "good" else REPLAYS // 10 for kind in releases.KINDS}
    asked = [(kind, 10_000 * number + seed) for number, kind in enumerate(each) for seed in range(each[kind])]
    with ProcessPoolExecutor(int(os.environ.get("APADANA_WORKERS", "1"))) as pool:
        ends = list(pool.map(ended, asked, chunksize=10))
    found: dict[str, list[releases.End]] = {kind: [] for kind in releases.KINDS}
    for (kind, seed), end in zip(asked, ends, strict=True):
        found[kind].append(end)
        if end.phase is not (Phase.PROMOTED if kind == "good" else Phase.ROLLED_BACK):
            print(f"{kind} {seed}: {end.phase} after {end.requests}: {end.why}")
    return found


def spread(ends: Sequence[releases.End]) -> str:
    asked = sorted(end.requests for end in ends)
    return f"{asked[len(asked) // 2]} / {asked[len(asked) * 95 // 100]} / {asked[-1]}"


def test_judge() -> None:
    found = replays()
    good, alpha = found["good"], Rules().alpha
    bad = [end for kind, ends in found.items() if kind != "good" for end in ends]
    promoted = sum(end.phase is Phase.PROMOTED for end in bad)
    thrown = sum(end.phase is Phase.ROLLED_BACK for end in good)
    swift = sum(end.phase is Phase.PROMOTED and end.requests <= SIX_MINUTES for end in good)
    calm = [end for number, end in enumerate(good) if number % 3]
    rows = [
        Figure(f"bad versions promoted, of {len(bad)}", str(promoted), goal="0", command=COMMAND),
        Figure(f"bad versions rolled back, of {len(bad)}", str(sum(e.phase is Phase.ROLLED_BACK for e in bad))),
        Figure(f"good versions rolled back, of {len(good)}", str(thrown), goal=f"at most {alpha:.0%}"),
        Figure(f"good versions at 100 % within {SIX_MINUTES} requests, of {len(good)}", str(swift), goal="all"),
        Figure("requests of a good one, no shared trouble (median / 95 % / most)", spread(calm), goal="18000"),
        Figure("requests of a good one, all (median / 95 % / most)", spread(good), goal="18000"),
    ]
    rows += [
        Figure(f"requests until it is gone: {kind} (median / 95 % / most)", spread(ends))
        for kind, ends in found.items()
        if kind != "good"
    ]
    show("judge", rows)
    assert promoted == 0
    assert thrown <= alpha * len(good)
