"""A small network over rows that no single worker sees. Runs in a distributed training of PyTorch, as one file.

    job.py ROWS STEPS RATE [PAUSE_S]     PAUSE_S: after each step, so that there is time to lose a worker

Each worker makes its own part of the rows, of which every value follows from its number: whoever computes the model in
one process gets the same. At each step the workers add up their gradients, so that all of them have the same weights. A
checkpoint holds the weights and what the optimiser remembers.
"""

from __future__ import annotations

import hashlib
import io
import json
import time
from typing import Any

import numpy as np
import torch
from torch.nn.parallel import DistributedDataParallel

COLUMNS, HIDDEN, MOMENTUM = 6, 16, 0.9
EVERY = 5  # steps between two checkpoints


def rows(part: slice) -> tuple[torch.Tensor, torch.Tensor]:
    """These rows: columns and what is to be foretold."""
    number = np.arange(part.start, part.stop, dtype=np.uint64)[:, None]
    mixed = (number * np.uint64(2654435761) + np.arange(COLUMNS, dtype=np.uint64) * np.uint64(40503)) >> np.uint64(7)
    columns = ((mixed % np.uint64(64)) / np.float64(64)).astype(np.float32)
    label = np.sin(6 * columns[:, :1]) + columns[:, 1:2] * columns[:, 2:3] - (columns[:, 3:4] > 0.5)
    return torch.from_numpy(columns), torch.from_numpy(label.astype(np.float32))


def network(rate: float) -> tuple[torch.nn.Module, torch.optim.Optimizer]:
    """Untrained, and the same wherever it is made: its weights are drawn from one seed."""
    torch.manual_seed(7)
    model = torch.nn.Sequential(torch.nn.Linear(COLUMNS, HIDDEN), torch.nn.Tanh(), torch.nn.Linear(HIDDEN, 1))
    return model, torch.optim.SGD(model.parameters(), lr=rate, momentum=MOMENTUM)


def packed(*parts: Any) -> bytes:
    """What each of them holds, in one piece."""
    held = io.BytesIO()
    torch.save([part.state_dict() for part in parts], held)
    return held.getvalue()


def unpacked(data: bytes, *parts: Any) -> None:
    """Into them. Nothing but numbers is read, and no code is run."""
    for part, state in zip(parts, torch.load(io.BytesIO(data), weights_only=True), strict=True):
        part.load_state_dict(state)


def digest(model: torch.nn.Module) -> str:
    """Of all weights, to the last bit."""
    return hashlib.sha256(b"".join(each.detach().numpy().tobytes() for each in model.parameters())).hexdigest()


def train(job: Any) -> None:
    """What every worker runs."""
    count, steps, rate = int(job.words[0]), int(job.words[1]), float(job.words[2])
    pause_s = float(job.words[3]) if len(job.words) > 3 else 0.0
    columns, label = rows(job.mine(count))
    model, optimizer = network(rate)
    done, kept = job.last()
    if done:
        unpacked(kept, model, optimizer)
    together = DistributedDataParallel(model)
    untrained = float(label.square().mean())  # of one that says nought
    for step in range(done, steps):
        error = (together(columns) - label).square()
        job.loss(step, float(error.mean()), untrained)
        # Now that the weights are known to be numbers.
        if step > done and step % EVERY == 0:
            job.keep(step, lambda: packed(model, optimizer))
        optimizer.zero_grad()
        # The workers' gradients are averaged: so weighed it is the one of all rows, also where parts are not equal.
        (error.sum() * job.workers / count).backward()
        optimizer.step()
        time.sleep(pause_s)
    with torch.no_grad():
        missed = float((model(columns) - label).square().sum())
    # What every worker has of it, added up: the same number at each of them.
    total = job.all_sum(np.array([missed, len(label)], dtype=np.float64))
    figures = {"rows": int(total[1]), "steps": steps, "rmse": float(np.sqrt(total[0] / total[1])), "from": done}
    job.say(json.dumps(figures | {"weights": digest(model)}))
    job.result("model.pt", packed(model))
    job.result("figures.json", json.dumps(figures).encode())
