"""A setting that is changed on a lab by `site.yml`, and taken back: how campaigns run it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from tests import lab
from tests.drift_round import check_is_clean, wait_for_pods

SITE_S = 1500


def site(*more: str, well: bool = True) -> str:
    """What the playbook said, once it ended as expected."""
    begin = time.monotonic()
    done = lab.playbook("site", *more, timeout=SITE_S)
    print(f"site.yml {' '.join(more)}: {time.monotonic() - begin:.0f} s")
    assert (done.returncode == 0) is well, lab.told(done)
    return done.stdout


@contextmanager
def as_it_was() -> Iterator[None]:
    """Whole before, and whole again with the settings of the inventory."""
    check_is_clean()
    try:
        yield
    finally:
        site()
        check_is_clean()
        wait_for_pods()
