"""Writes a toy's state folder, starts it, stops it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from components.kit import pki
from tests.certificates import ending
from tests.toy.plan import CLIENT, STRANGER, MemberPlan, Plan, address

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]
ROOMS = HERE / "rooms"
ENDS = {"expired": -1, "ending": 9}  # days from now
START_SECONDS = 30.0  # a busy machine may need that; a quiet one needs less than two
SETTLE_SECONDS = 5.0  # to elect leaders; with some defects there will never be one


def write(plan: Plan, state: Path) -> None:
    """All that a toy is started from, and all that the validator reads of it."""
    for folder in ("run", "logs", "hosts", "data", "secrets"):
        (state / folder).mkdir(parents=True)
    pki.ensure_ca(state / "pki", plan.site)
    _secrets(plan, state)
    hosts = {name: address(name) for name in (*plan.hosts, CLIENT, STRANGER)}
    members = [
        {
            "config": _config(plan, m, state),
            "server": m.server,
            "restarts": m.restarts,
            "delay": m.delay,
            "disk_mib": m.disk_mib,
        }
        for m in plan.members
    ]
    _json(state / "members.json", {"hosts": hosts, "members": members})
    _json(state / "platform.json", plan.contract)
    _json(state / "objects.json", plan.objects)
    _rooms(plan, state)


def _config(plan: Plan, m: MemberPlan, state: Path) -> dict[str, Any]:
    secured = (
        m.certificate != "none"
        and "peer" in plan.passwords[m.component]
        and (plan.component(m.component).get("ca_ref") is not None)
    )
    return {
        "component": m.component,
        "name": m.name,
        "host": m.host,
        "address": address(m.host),
        "port": m.port,
        "metrics_port": m.metrics_port,
        "folder": str(state / "data" / m.name),
        "version": m.version,
        "peers": {
            o.name: (address(o.host), o.port) for o in plan.of(m.component) if o is not m and m.peers and o.peers
        },
        **(_certificate(m, plan, state) if secured else {}),
        "ca": str(state / "pki" / "ca.crt"),
        "users": plan.passwords[m.component],
        "allowed": [address(h) for h in plan.allowed[m.component]],
        "upstream": _upstream(plan, m.component),
        "options": m.options,
    }


def _upstream(plan: Plan, component: str) -> dict[str, Any]:
    for name in plan.component(component).get("depends_on", []):
        login = {"user": "probe", "password": plan.passwords[name]["probe"]}
        return {"addresses": [(address(m.host), m.port) for m in plan.of(name)], "login": login}
    return {}


def _certificate(m: MemberPlan, plan: Plan, state: Path) -> dict[str, str]:
    folder = state / "pki"
    if m.certificate == "other-ca":
        folder = state / "pki-other"
        pki.ensure_ca(folder, f"not {plan.site}")
    leaf = pki.ensure_leaf(folder, f"{m.name}-tls", [m.name], [address(m.host)])
    if m.certificate in ENDS:
        end = datetime.now(UTC) + timedelta(days=ENDS[m.certificate])
        leaf.certificate.write_bytes(ending(leaf.certificate, end))
    return {"certificate": str(leaf.certificate), "key": str(leaf.key)}


def _secrets(plan: Plan, state: Path) -> None:
    for component, users in plan.passwords.items():
        folder = state / "secrets" / component
        folder.mkdir()
        told = {"username": "probe", "password": users["probe"]}
        for name, text in told.items():
            (folder / name).write_text(text)
        if plan.component(component).get("ca_ref"):
            shutil.copy(state / "pki" / "ca.crt", folder / "ca.crt")


def _rooms(plan: Plan, state: Path) -> None:
    """The rooms of the repository, changed as the plan says."""
    shutil.copytree(ROOMS, state / "rooms", ignore=shutil.ignore_patterns("__pycache__"))
    for path, text in plan.rooms.items():
        file = state / "rooms" / path
        if text is None:
            file.unlink()
        else:
            file.write_text(text)


def start(plan: Plan, state: Path) -> int:
    """Starts it and waits until every member answers; the process that all of it hangs on."""
    # All of the toy is in namespaces of its own and dies with its first process, which dies with
    # the process that called this: nothing outlives a test that was killed.
    front = [
        "setpriv",
        "--pdeathsig",
        "KILL",
        "unshare",
        "--net",
        "--mount",
        "--pid",
        "--fork",
        "--mount-proc",
        "--kill-child",
    ]
    if os.geteuid() != 0:
        front += ["--user", "--map-root-user"]
    with (state / "logs" / "supervisor.log").open("ab") as log:
        process = subprocess.Popen(
            [*front, sys.executable, "-m", "tests.toy.supervisor", str(state)],
            cwd=REPOSITORY,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    _json(state / "local.json", place(plan, state, process.pid))
    wanted = [state / "run" / f"{m.name}.ready" for m in plan.members if m.delay <= 0]
    end = time.monotonic() + START_SECONDS
    while not all(path.exists() for path in wanted):
        if process.poll() is not None or time.monotonic() > end:
            stop(process.pid)
            said = "\n".join(p.read_text()[-1500:] for p in sorted((state / "logs").glob("*.log")))
            raise RuntimeError(f"the toy did not start within {START_SECONDS:g} s:\n{said}")
        time.sleep(0.02)  # between two looks at a condition with a deadline
    end = time.monotonic() + SETTLE_SECONDS
    while not all(p.with_suffix(".settled").exists() for p in wanted) and time.monotonic() < end:
        time.sleep(0.02)  # between two looks at a condition with a deadline
    return process.pid


def place(plan: Plan, state: Path, pid: int) -> Mapping[str, Any]:
    """local.json: see validate/ground/local.py."""

    def reach(host: str) -> list[str]:
        return [
            "nsenter",
            f"--mount=/proc/{pid}/ns/mnt",
            f"--pid=/proc/{pid}/ns/pid_for_children",
            f"--net=/proc/{pid}/root/run/netns/{host}",
            f"--wd={state}",
            "--",
        ]

    return {
        "rooms": "rooms",
        "objects": "objects.json",
        "secrets": "secrets",
        "clients": {"client": reach(CLIENT), "stranger": reach(STRANGER)},
        "hosts": {
            h: {
                "reach": reach(h),
                "off": ["touch", str(state / "hosts" / f"{h}.off")],
                "on": ["rm", "-f", str(state / "hosts" / f"{h}.off")],
            }
            for h in plan.hosts
        },
        "members": [
            {
                "component": m.component,
                "name": m.name,
                "host": m.host,
                "address": address(m.host),
                "pid_file": f"run/{m.name}.pid",
                "paths": {"data": str(state / "data" / m.name)},
            }
            for m in plan.members
        ],
    }


def stop(pid: int) -> None:
    """Ends all of it; returns when no member is left. The kernel takes its networks down later."""
    members = [child for supervisor in _children(pid) for child in _children(supervisor)]
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    with suppress(ChildProcessError):
        os.waitpid(pid, 0)
    end = time.monotonic() + 5
    while any(Path(f"/proc/{member}").exists() for member in members) and time.monotonic() < end:
        time.sleep(0.01)  # between two looks at a condition with a deadline


def _children(pid: int) -> list[int]:
    return [int(c) for p in Path(f"/proc/{pid}/task").glob("*/children") for c in p.read_text().split()]


@contextmanager
def running(plan: Plan, root: Path) -> Iterator[Path]:
    """A toy for the time of a block; yields its state folder, `root`/<site>."""
    state = root / plan.site
    write(plan, state)
    pid = start(plan, state)
    try:
        yield state
    finally:
        stop(pid)


def _json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=1) + "\n")
