"""Workers that add up by PyTorch's collectives over gloo, which its DistributedDataParallel uses, too.

The first worker's pod holds the store where they find each other, at the name and port that Kubeflow's Trainer tells
every pod. A group is made once: when a worker is lost the others find their connections broken, and end; their Job
makes all of them anew.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import numpy as np
import torch
import torch.distributed as dist

from .meeting import AGAIN_S, MEET_S, SILENCE_S, answering
from .watching import Watch

TRY_S = 60.0
#: What every worker begins with, at each start: a program draws the same weights everywhere.
SEED = 1


class Group:
    """The collective of this process."""

    def __init__(self) -> None:
        self.rank, self.workers = dist.get_rank(), dist.get_world_size()

    def all_sum(self, values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        added = torch.from_numpy(np.array(values))
        dist.all_reduce(added)
        found: np.ndarray[Any, Any] = added.numpy()
        return found

    def from_first(self, value: Any) -> Any:
        held = [value]
        dist.broadcast_object_list(held, src=0)
        return held[0]


@contextmanager
def joined(given: Mapping[str, str], meet_s: float = MEET_S) -> Iterator[Group]:
    """All workers are there, as Trainer's environment says; ranks are those of the pods, one process in each."""
    rank, workers = int(given["PET_NODE_RANK"]), int(given["PET_NNODES"])
    end, watch = time.monotonic() + meet_s, Watch()
    store = _store(given, rank, workers, watch, end)
    _wait_for_all(store, rank, workers, end)
    silence = timedelta(seconds=int(given.get("SILENCE_S", SILENCE_S)))
    dist.init_process_group("gloo", store=store, rank=rank, world_size=workers, timeout=silence)
    torch.manual_seed(SEED)
    group = Group()
    yield group
    # Nobody has succeeded before all have: who succeeds is not begun again, and the others could not do without it.
    group.all_sum(np.zeros(1))
    watch.end()
    dist.destroy_process_group()


def _store(given: Mapping[str, str], rank: int, workers: int, watch: Watch, end: float) -> dist.TCPStore:
    """The first worker's. Whoever has found it is watched from then on: while all meet a loss ends the others, too."""
    name, port = given["PET_MASTER_ADDR"], int(given["PET_MASTER_PORT"])
    if rank == 0:
        watch.over_all(port + 1)
        store = _opened(given.get("POD_IP", "127.0.0.1"), port, workers, True)
        store.add(_here(rank), 1)
        return store
    while True:
        try:
            address = answering(name, port)
            store = _opened(address, port, workers, False)
            if store.add(_here(rank), 1) > 1:
                raise ConnectionError("it is that of a group which has not ended yet")
            watch.over_first(address, port + 1)
        except (OSError, RuntimeError) as error:  # the library's own are of the second kind
            if time.monotonic() > end:
                raise TimeoutError(f"worker {rank} did not meet the others at {name}:{port}: {error}") from error
            time.sleep(AGAIN_S)  # between two looks at a condition that has a deadline
        else:
            return store


def _opened(address: str, port: int, workers: int, first: bool) -> dist.TCPStore:
    # Debian builds it without libuv.
    wait = timedelta(seconds=TRY_S)
    return dist.TCPStore(address, port, workers, first, wait, wait_for_workers=False, use_libuv=False)


def _here(rank: int) -> str:
    return f"here/{rank}"


def _wait_for_all(store: dist.TCPStore, rank: int, workers: int, end: float) -> None:
    left = timedelta(seconds=max(1.0, end - time.monotonic()))
    try:
        store.wait([_here(each) for each in range(workers)], left)
    except RuntimeError as error:
        missing = [each for each in range(workers) if not store.check([_here(each)])]
        raise TimeoutError(f"worker {rank} did not meet the others: {missing} of {workers} did not come") from error
