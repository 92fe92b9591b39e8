"""Audit clients in the pod: one process per store, detached from the exec that started it.

A host's death may take the API server that carries `kubectl exec`; so the clients run on their
own, write their record to the pod's disk and a status file, and end when a stop file appears.
"""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
import time
from typing import Any

from components.kit.probing import Held
from validate.pod import targets
from validate.pod.record import AuditRecorder, AuditRun, AuditWriter
from validate.pod.smoke import emit
from validate.pod.waiting import LateError, wait

FOLDER = targets.WORK / "audit"


def launch(names: list[str], run: str, clients: int, rate: float, lifetime: float) -> None:
    """Starts one process for each store and returns."""
    FOLDER.mkdir(exist_ok=True)
    for name in names:
        args = [
            sys.executable,
            "-m",
            "validate.pod",
            "clients",
            "--component",
            name,
            "--run",
            run,
            "--clients",
            str(clients),
            "--rate",
            str(rate),
            "--lifetime",
            str(lifetime),
        ]
        with (FOLDER / f"{name}.log").open("ab") as log:
            subprocess.Popen(args, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
    emit({"kind": "launched", "components": names, "run": run})


def clients(name: str, run: str, count: int, rate: float, lifetime: float) -> None:
    """The process of one store: writes until the stop file is there or its lifetime is over."""
    target = targets.target(name)
    module = targets.probe(name)

    def open_writer() -> AuditWriter[None]:
        writer = module.writer()
        writer.open(target)
        opened: AuditWriter[None] = writer
        return opened

    recorder = AuditRecorder(FOLDER / f"{name}.jsonl")
    audit = AuditRun(name, run, recorder, open_writer, count, rate, target.client)
    audit.start()
    end = time.monotonic() + lifetime
    stop = FOLDER / "stop"
    while not stop.exists() and time.monotonic() < end and not recorder.broken:
        _status(name, recorder, "running")
        time.sleep(0.25)  # the status file's rhythm
    audit.finish()
    _status(name, recorder, "finished")
    os._exit(0)  # a client that hangs in its library must not keep the process


def _status(name: str, recorder: AuditRecorder, state: str) -> None:
    record: dict[str, Any] = {
        "state": state,
        "acknowledged": recorder.durable_ok,
        "failed": recorder.failed,
        "last_ack": dict(recorder.last_ack),
        "broken": recorder.broken,
        "wall": time.time(),
    }
    temporary = FOLDER / f".{name}.status"
    temporary.write_text(json.dumps(record))
    temporary.replace(FOLDER / f"{name}.status")


def status(names: list[str]) -> None:
    for name in names:
        path = FOLDER / f"{name}.status"
        log = FOLDER / f"{name}.log"
        record = json.loads(path.read_text()) if path.exists() else {"state": "absent"}
        tail = log.read_text(errors="replace")[-600:] if log.exists() else ""
        emit({"kind": "status", "component": name, "log": tail, **record})


def stop() -> None:
    """Ends the clients of all stores."""
    (FOLDER / "stop").touch()
    emit({"kind": "stopping"})


def read_back(name: str, run: str, deadline: float) -> None:
    """Writes every uid of the run that the store holds to a file.

    One a line in the store's order, an empty line between two lanes (probing.Held).
    """

    def read() -> Held:
        writer = targets.probe(name).writer()
        writer.open(targets.target(name))
        held = read_with(writer, run)
        writer.close()
        return held

    try:
        found = wait(read, timeout=deadline, every=1.0, swallow=(Exception,))
    except LateError as late:
        error = f"{type(late.__cause__).__name__}: {late}"
        emit({"kind": "readback", "component": name, "error": error})
        return
    lanes = ["\n".join(lane) for lane in found.lanes if lane]
    (FOLDER / f"{name}.readback").write_text("\n\n".join(lanes))
    emit(
        {
            "kind": "readback",
            "component": name,
            "count": sum(len(lane) for lane in found.lanes),
            "duplicates": found.repeats,
            "ordered": found.ordered,
            "corrupt": found.corrupt,
        }
    )


def read_with(writer: Any, run: str) -> Held:
    """With all that this writer can show; a set of keys shows no more than what is there."""
    if hasattr(writer, "read_back"):
        shown: Held = writer.read_back(run)
        return shown
    found = writer.read_all(run)
    return Held([list(found)], repeats=not isinstance(found, (set, frozenset)))


def fetch(name: str, suffix: str) -> None:
    """One file, compressed, on stdout."""
    with gzip.open(sys.stdout.buffer, "wb", compresslevel=3) as out:
        out.write((FOLDER / f"{name}.{suffix}").read_bytes())
