"""One write of a client that does not give up at the first refusal."""

from __future__ import annotations

import time

from components.kit.probing import Writer


def patiently(writer: Writer, uid: str, tries: int, pause: float) -> None:
    """Up to `tries` times, `pause` seconds apart; what the last try raised is raised."""
    for left in range(tries - 1, -1, -1):
        try:
            writer.write(uid)
            return
        except Exception:
            if not left:
                raise
            time.sleep(pause)  # between two tries
