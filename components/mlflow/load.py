"""MLflow's operations for the load generator. Standard library only."""

from __future__ import annotations

import asyncio
import itertools
import json
import ssl
import time
from collections.abc import Callable

from components.kit.asking import places
from components.kit.driving import Asker, Job, chosen, wire
from components.kit.probing import Target
from components.mlflow.probe import API, PROTOCOL, clients

OPERATIONS = {
    "log-metric": "one value of a run's metric, after PostgreSQL's commit",
    "get-run": "a run with its metrics and parameters, from any replica",
}
TAG = "load"
METRICS = 20  # of the run that is read


class MlflowDriver:
    """Requests to all replicas in turn, on one run of this process."""

    expect = (200, 200)

    def __init__(self, target: Target, job: Job) -> None:
        self._target, self._job = target, job
        self._known = places(target, PROTOCOL)
        self._places = itertools.cycle(self._known)
        self._run = ""

    async def open(self) -> None:
        """Remove what killed runs left; make the run, and what is to be read of it."""
        await asyncio.get_running_loop().run_in_executor(None, self._prepare)

    def _prepare(self) -> None:
        api = clients(self._target)[0]
        for found in api.runs(TAG, self._job.campaign):
            if found["info"]["run_name"] == self._job.run:
                api.post("runs/delete", run_id=found["info"]["run_id"])
        self._run = str(api.run(self._job.run, TAG, self._job.campaign)["run_id"])
        if self._job.operation == "get-run":
            for number in range(METRICS):
                api.log(self._run, f"metric-{number}", number / METRICS, 0)

    async def close(self) -> None:
        """Delete the run."""
        api = clients(self._target)[0]
        work = asyncio.get_running_loop().run_in_executor(None, lambda: api.post("runs/delete", run_id=self._run))
        await work

    def wires(self) -> Callable[[], bytes]:
        """Each value has a step of its own."""
        numbers = itertools.count()
        _, port, host = self._known[0]  # one name for all replicas
        head = {"Host": f"{host}:{port}"}
        get = wire("GET", f"{API}runs/get?run_id={self._run}", head)
        if self._job.operation == "get-run":
            return lambda: get

        def value() -> bytes:
            number = next(numbers)
            body = json.dumps(
                {
                    "run_id": self._run,
                    "key": f"loss-{number % METRICS}",
                    "value": 1 / (number + 1),
                    "timestamp": round(time.time() * 1000),
                    "step": number,
                }
            )
            return wire("POST", f"{API}runs/log-metric", head | {"Content-Type": "application/json"}, body.encode())

        return value

    def place(self) -> tuple[str, int, str | None]:
        """The replicas in turn."""
        return next(self._places)

    def tls(self) -> ssl.SSLContext | None:
        """The site's CA and no other."""
        return ssl.create_default_context(cafile=self._target.ca_file)


def driver(target: Target, job: Job) -> Asker:
    """One process's."""
    chosen(OPERATIONS, job)
    return MlflowDriver(target, job)
