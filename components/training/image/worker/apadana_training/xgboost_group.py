"""Workers that add up by XGBoost's own collective, which its boosting uses, too.

The first worker's pod runs the tracker, at the name and port that Kubeflow's Trainer tells every pod. A group is made
once: when a worker is lost the others find their connections broken, and end; their Job makes all of them anew.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
from xgboost import collective
from xgboost.core import XGBoostError
from xgboost.tracker import RabitTracker

from .meeting import AGAIN_S, MEET_S, SILENCE_S, answering
from .watching import Watch

#: One try. A worker that is lost while all of them meet costs the others the rest of it.
TRY_S = 60


class Group:
    """The collective of this process."""

    def __init__(self) -> None:
        self.rank, self.workers = collective.get_rank(), collective.get_world_size()

    def all_sum(self, values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        return collective.allreduce(np.ascontiguousarray(values), collective.Op.SUM)

    def from_first(self, value: Any) -> Any:
        return collective.broadcast(value, 0)


@contextmanager
def joined(given: Mapping[str, str], meet_s: float = MEET_S) -> Iterator[Group]:
    """All workers are there, as Trainer's environment says; ranks are those of the pods."""
    rank, workers = int(given["DMLC_TASK_ID"]), int(given["DMLC_NUM_WORKER"])
    with ExitStack() as held:
        tracker, watch = _met(given, rank, workers, held, time.monotonic() + meet_s)
        group = Group()
        if (group.rank, group.workers) != (rank, workers):
            raise RuntimeError(f"is worker {group.rank} of {group.workers}, and was told {rank} of {workers}")
        yield group
        # Nobody has succeeded before all have: who succeeds is not begun again, and the others could not do without it.
        group.all_sum(np.zeros(1))
        watch.end()
        held.close()
        if tracker is not None:
            tracker.wait_for(TRY_S)


def _met(
    given: Mapping[str, str], rank: int, workers: int, held: ExitStack, end: float
) -> tuple[RabitTracker | None, Watch]:
    """Try until the first worker's tracker is there and all have come to it. A name may lead to a pod that is gone."""
    name, port = given["DMLC_TRACKER_URI"], int(given["DMLC_TRACKER_PORT"])
    while True:
        tracker, watch = None, Watch()
        try:
            if rank == 0:
                tracker = RabitTracker(workers, given.get("POD_IP", "127.0.0.1"), port, sortby="task", timeout=TRY_S)
                tracker.start()
                watch.over_all(port + 1)
            # Of a look the tracker says "Failed to initialize worker proxy", and goes on.
            address = answering(name, port) if rank else socket.gethostbyname(name)
            context = collective.CommunicatorContext(
                dmlc_communicator="rabit",
                dmlc_tracker_uri=address,
                dmlc_tracker_port=port,
                # Ranks are given in the order of these words.
                dmlc_task_id=f"{rank:06d}",
                dmlc_retry=1,
                dmlc_timeout=int(given.get("SILENCE_S", SILENCE_S)),
            )
            held.enter_context(context)
        except (OSError, XGBoostError) as error:
            watch.close()
            if time.monotonic() > end:
                raise TimeoutError(f"worker {rank} did not meet the others at {name}:{port}: {error}") from error
            time.sleep(AGAIN_S)  # between two looks at a condition that has a deadline
        else:
            if rank:
                watch.over_first(address, port + 1)
            return tracker, watch
