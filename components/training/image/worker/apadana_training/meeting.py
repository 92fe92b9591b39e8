"""What all groups have in common until their workers are there."""

from __future__ import annotations

import socket

#: Until all workers are there: images are fetched, a host is lost and its pod made elsewhere.
MEET_S = 900.0
AGAIN_S, ANSWERS_S = 1.0, 5.0
#: How long one worker may be behind the others before they take it for lost.
SILENCE_S = 600


def answering(name: str, port: int) -> str:
    """The address of the first worker, which answers there. A name may lead to a pod that is gone, at which a library
    waits as long as for a slow one. Raises OSError."""
    address = socket.gethostbyname(name)
    socket.create_connection((address, port), timeout=ANSWERS_S).close()
    return address
