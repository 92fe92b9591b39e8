"""Looks at the network from where it runs; streamed to `python3 -` on stdin, prints one JSON list.

argv[1]: a JSON list of {"kind": "dns", "name"} | {"kind": "tcp", "host", "port"}
| {"kind": "http", "host", "port"}; optional "timeout" in seconds and "again", how many times more,
0.25 s apart (the answers are then a list in "series"). All are looked at together.
"""

from __future__ import annotations

import json
import socket
import sys
import threading
import time
from typing import Any


def look(wish: dict[str, Any]) -> dict[str, Any]:
    begin, began = time.monotonic(), time.time()
    try:
        seen = _see(wish, float(wish.get("timeout", 2.0)))
        outcome: dict[str, Any] = {"ok": True, "seen": seen}
    except OSError as error:
        outcome = {"ok": False, "seen": f"{type(error).__name__}: {error}"}
    took = round(time.monotonic() - begin, 4)
    return {**wish, **outcome, "seconds": took, "began": began}


def _see(wish: dict[str, Any], timeout: float) -> str:
    if wish["kind"] == "dns":
        found = socket.getaddrinfo(wish["name"], None, socket.AF_INET, socket.SOCK_STREAM)
        return ",".join(sorted({str(entry[4][0]) for entry in found}))
    with socket.create_connection((wish["host"], wish["port"]), timeout) as connection:
        if wish["kind"] == "tcp":
            return str(connection.getpeername()[0])
        connection.settimeout(timeout)
        connection.sendall(b"HEAD / HTTP/1.0\r\n\r\n")
        answer = connection.recv(64).split(b"\r\n")[0].decode(errors="replace")
        if not answer.startswith("HTTP/"):
            raise OSError(f"no HTTP answer: {answer!r}")
        return answer


def main(wishes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    answers: list[dict[str, Any]] = [{**w, "ok": False, "seen": "hung"} for w in wishes]

    def fill(index: int) -> None:
        series = [look(wishes[index])]
        for _ in range(int(wishes[index].get("again", 0))):
            time.sleep(0.25)  # the rhythm of the series
            series.append(look(wishes[index]))
        answers[index] = {**series[-1], "series": series} if len(series) > 1 else series[0]

    threads = [threading.Thread(target=fill, args=(i,), daemon=True) for i in range(len(wishes))]
    for thread in threads:
        thread.start()
    end = time.monotonic() + 8
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
    return answers


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(json.loads(sys.argv[1]))) + "\n")
    sys.stdout.flush()
