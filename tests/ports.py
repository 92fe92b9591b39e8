"""Ports of loopback for servers that tests start beside each other."""

from __future__ import annotations

import socket

from filelock import FileLock

from common import places

HOST = "127.0.0.1"
#: Below those that the kernel gives to connections, and those of Kubernetes' Services.
FIRST, LAST = 20_000, 30_000


def free_port() -> int:
    """The next one that nobody has, in turn over all tests of this machine.

    One that the kernel chooses is given to another server, or to a connection, before its own server has begun.
    """
    folder = places.cache()
    folder.mkdir(parents=True, exist_ok=True)
    given = folder / "test-port"
    with FileLock(f"{given}.lock", timeout=60):
        last = int(given.read_text()) if given.exists() else LAST
        for step in range(1, LAST - FIRST):
            port = FIRST + (last - FIRST + step) % (LAST - FIRST)
            if _free(port):
                given.write_text(str(port))
                return port
    raise OSError(f"no port of {HOST} from {FIRST} to {LAST} is free")


def _free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True
