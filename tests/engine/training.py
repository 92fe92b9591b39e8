"""Workers of a distributed training as processes, started as their pods start them, by either library."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from components.minio import probe as minio
from components.training.image.worker.apadana_training.kept import Bucket
from tests import bytecode, debian_programs
from tests.engine import built, stores
from tests.engine.mirroring import unpacked
from tests.engine.test_integration_stores import target
from tests.ports import HOST, free_port
from validate.ground.kubectl import wait_for
from validate.ground.site import REPOSITORY

IMAGES = REPOSITORY / "components" / "training" / "image"
NAMED = "localhost"  # also the name of the server's certificate
ENDS_S = 120
PORT = 29500


@dataclass(frozen=True)
class Library:
    """The Python that has it, and how Kubeflow's Trainer tells a worker of its group."""

    python: Sequence[str]
    address: str
    port: str
    workers: str
    rank: str
    environment: Mapping[str, str] = field(default_factory=dict)

    def told(self, number: int, workers: int, address: str, port: int) -> dict[str, str]:
        group = {self.address: address, self.port: str(port), self.workers: str(workers), self.rank: str(number)}
        return {"PATH": os.environ["PATH"], "PYTHONPATH": str(IMAGES / "worker"), **self.environment, **group}


def xgboost() -> Library:
    """What the developers' environment has is what the image has."""
    words = ("DMLC_TRACKER_URI", "DMLC_TRACKER_PORT", "DMLC_NUM_WORKER", "DMLC_TASK_ID")
    return Library([sys.executable], *words)


def torch() -> Library:
    """The image's Python with its libraries: Debian's packages, but for those that it takes away again, and before them
    the clients' wheels."""
    purged = re.search(r"dpkg --purge --force-depends (.*) \\\n", (IMAGES / "torch" / "Containerfile").read_text())
    assert purged, "the image of torch takes nothing away"
    wheels = built.built("wheels/clients-*")
    try:
        root = debian_programs.root("image/torch", purged[1].split())
    except debian_programs.NotHereError as error:
        pytest.skip(str(error))
    clients = unpacked(sorted(wheels.glob("*.whl")), wheels.name)
    # Gloo lies in /usr/lib itself, and to OpenBLAS an alternative leads, which unpacking makes none of.
    python = debian_programs.command(root, "bin/python3.13", more=["..", "openblas-pthread"])
    environment = {
        "PYTHONHOME": f"{root}/usr",
        "PYTHONPATH": f"{IMAGES / 'worker'}:{clients}",
        "GLOO_SOCKET_IFNAME": "lo",  # a pod finds its own address by its name
        **bytecode.KEPT,
    }
    words = ("PET_MASTER_ADDR", "PET_MASTER_PORT", "PET_NNODES", "PET_NODE_RANK")
    return Library(python, *words, environment)


def two_ports() -> int:
    """The first of two in a row. A worker that is lost leaves connections at the second one, where the kernel lets no
    tracker listen for a minute: no other start is to be given it."""
    first = free_port()
    while (second := free_port()) != first + 1:
        first = second
    return first


class Job:
    """A job of that name: its workers, and where they keep what they have."""

    def __init__(
        self, name: str, folder: Path, environment: Mapping[str, str], library: Library, *program: str | Path
    ) -> None:
        """`program`: the file, and the words that every start has."""
        self.name, self.folder, self._environment = name, folder, environment
        self._library, self._program, self._starts = library, program, 0

    def start(self, workers: int, *words: str) -> list[subprocess.Popen[bytes]]:
        """As the pods that Trainer's environment makes of them; anew is at another address, as new pods are."""
        port, self._starts = two_ports(), self._starts + 1
        return [self._worker(number, workers, (NAMED, port), words) for number in range(workers)]

    def apart(self, first: str, second: str, space: str, *words: str) -> list[subprocess.Popen[bytes]]:
        """Two workers at these addresses, the second one on a network of its own; a wire of that name leads to it."""
        self._starts += 1
        met, inside = (first, PORT), ("ip", "netns", "exec", space)
        return [
            self._worker(0, 2, met, words, POD_IP=first, GLOO_SOCKET_IFNAME=space),
            self._worker(1, 2, met, words, inside, POD_IP=second, GLOO_SOCKET_IFNAME="eth0"),
        ]

    def _worker(
        self,
        number: int,
        workers: int,
        met: tuple[str, int],
        words: Sequence[str],
        before: Sequence[str] = (),
        **more: str,
    ) -> subprocess.Popen[bytes]:
        """`before`: the words of a program that starts it elsewhere."""
        said = {
            **self._library.told(number, workers, *met),
            "OMP_NUM_THREADS": "1",
            "JOB_NAME": self.name,
            "JOB_UID": f"wish-{self.name}",
            "POD_IP": HOST,
            **self._environment,
            **more,
        }
        command = [*self._library.python, "-m", "apadana_training", *map(str, self._program), *words]
        with self._log(number).open("wb") as log:
            return subprocess.Popen(
                [*before, "setpriv", "--pdeathsig", "KILL", *command], stdout=log, stderr=log, env=said
            )

    def _log(self, number: int) -> Path:
        return self.folder / f"{self._starts}-{number}.log"

    def log(self, number: int) -> str:
        """Of its newest start."""
        return self._log(number).read_text()

    def logs(self) -> str:
        return "\n".join(path.read_text() for path in sorted(self.folder.glob(f"{self._starts}-*.log")))

    def ends(self, workers: list[subprocess.Popen[bytes]]) -> None:
        for number, worker in enumerate(workers):
            assert worker.wait(ENDS_S) == 0, self.log(number)


@contextmanager
def bucket() -> Iterator[tuple[Bucket, dict[str, str]]]:
    """One of a real MinIO, and what a pod is told of it."""
    with stores.platform() as made:
        built.add_minio(made)
        there = target(made, "minio")
        built.make_bucket(there)
        name, login = minio.bucket(there), made.state / "secrets" / "minio"
        address = minio.addresses(there)[0]
        said = {"CHECKPOINTS": f"s3://{name}", "STORE_ADDRESS": address, "APADANA_LOGIN": str(login)}
        yield Bucket(name, said, login), said


@contextmanager
def wire() -> Iterator[tuple[str, str, str]]:
    """A host with a network of its own: both addresses, and the name of it and of the wire's end here."""
    number = os.getpid() % 16384
    name, here, there = f"train{os.getpid()}", *(f"198.18.{number // 64}.{number % 64 * 4 + end}" for end in (1, 2))
    made = (
        f"ip netns add {name}",
        f"ip link add {name} type veth peer name eth0 netns {name}",
        f"ip addr add {here}/30 dev {name}",
        f"ip link set {name} up",
        f"ip -n {name} addr add {there}/30 dev eth0",
        f"ip -n {name} link set eth0 up",
        f"ip -n {name} link set lo up",
    )
    try:
        for command in made:
            if subprocess.run(command.split(), capture_output=True, check=False).returncode:
                pytest.skip(f"this machine lets nobody do `{command}`")
        yield here, there, name
    finally:
        for command in (f"ip link del {name}", f"ip netns del {name}"):
            subprocess.run(command.split(), capture_output=True, check=False)


def begun(job: Job, workers: Sequence[subprocess.Popen[bytes]]) -> None:
    """They have met, and have kept something."""

    def look() -> bool | None:
        assert all(worker.poll() is None for worker in workers), job.logs()
        return True if "kept step" in job.log(0) else None

    wait_for("a checkpoint", look, timeout=ENDS_S, every=0.1)


def hung(job: Job, workers: Sequence[subprocess.Popen[bytes]]) -> None:
    """The second one is stopped for a while."""
    first, second = workers
    begun(job, workers)
    second.send_signal(signal.SIGSTOP)
    try:
        assert first.wait(ENDS_S) == 1, job.log(0)
    finally:
        second.send_signal(signal.SIGCONT)
    assert "ends: stuck" in job.log(0)
    assert second.wait(ENDS_S) == 1, job.log(1)


def unplugged(job: Job, *words: str) -> None:
    """No packet is answered any more: both find it out by themselves."""
    with wire() as (here, there, name):
        workers = job.apart(here, there, name, *words)
        begun(job, workers)
        subprocess.run(["ip", "link", "set", name, "down"], check=True)
        began = time.monotonic()
        for number, worker in enumerate(workers):
            assert worker.wait(ENDS_S) == 1
            assert "is lost" in job.log(number)
        assert time.monotonic() - began < 60  # 20 s, on a machine that has its hands full
