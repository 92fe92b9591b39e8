"""Looks at a member from where it runs; streamed to `python3 -`, prints one JSON list.

Standard library only: it runs in a client's pod, in a peer's network namespace, or here. argv[1] is
a JSON list of wishes that are looked at together; argv[2], if there is one, is a file that is made
when looking begins. What only some of them need is imported where it is used: on a busy host each
import is felt.

{"kind": "clock"}                                             what time it is here
{"kind": "address", host}                                     its own address on the way to there
{"kind": "detect", host, port}                                which prompt makes the server act
{"kind": "series", host, port, prompt, seconds, every, timeout}   it is prompted again and again
{"kind": "hold", host, port, seconds, every}                  mute connections; when each breaks
{"kind": "sniff", source, seconds}                            packets that arrive from an address
{"kind": "listen", port, seconds}                             bytes that arrive by UDP
{"kind": "pester", host, port}                                malformed and oversized input
{"kind": "dates", host, port, seconds, every}                 the Date that a web server tells
{"kind": "send", host, port, seconds, size, per_second}       UDP, as fast as asked
"""

from __future__ import annotations

import json
import os
import select
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

ETH_ALL = 0x0003


def unverified() -> Any:
    """A TLS context for looking only: nothing secret is said through it."""
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def hello() -> bytes:
    """The first flight of a TLS client."""
    import ssl

    out = ssl.MemoryBIO()
    with suppress(ssl.SSLWantReadError):
        unverified().wrap_bio(ssl.MemoryBIO(), out, server_hostname="member").do_handshake()
    return out.read()


PROMPTS: dict[str, Callable[[], bytes]] = {
    "postgres": lambda: b"\0\0\0\x08\x04\xd2\x16\x2f",  # SSLRequest: one letter comes back
    "http": lambda: b"HEAD / HTTP/1.0\r\n\r\n",
    "redis": lambda: b"PING\r\n",
    "tls": hello,
    "line": lambda: b'{"op": "?"}\n',
}


def prompt(host: str, port: int, word: str, timeout: float) -> str:
    """`acted`: the process did something, were it to hang up. `silent`: only its kernel answers.

    Word "connect": `open` when a connection is taken, whoever takes it.
    """
    return say(host, port, None if word == "connect" else PROMPTS[word](), timeout)


def say(host: str, port: int, words: bytes | None, timeout: float, *, tls: bool = False) -> str:
    """What came of a connection on which `words` were said (None: nothing)."""
    try:
        with socket.create_connection((host, port), timeout) as connection:
            connection.settimeout(timeout)
            return "open" if words is None else _converse(connection, words, tls=tls)
    except ConnectionRefusedError:
        return "refused"
    except TimeoutError:
        return "timeout"
    except OSError as error:
        return f"unreachable: {error.strerror or error}"


def _converse(connection: socket.socket, words: bytes, *, tls: bool) -> str:
    try:
        if tls:
            connection = unverified().wrap_socket(connection)
        connection.sendall(words)
        connection.recv(1)
    except TimeoutError:
        return "silent"
    except OSError:  # it hung up: the process did that
        return "acted"
    return "acted"


def detect(wish: dict[str, Any]) -> dict[str, Any]:
    seen = {w: prompt(wish["host"], wish["port"], w, 1.0) for w in PROMPTS}
    return {"prompt": next((w for w, s in seen.items() if s == "acted"), None), "seen": seen}


def series(wish: dict[str, Any]) -> dict[str, Any]:
    """Begins are `every` apart whatever the answers do; each try runs in a thread of its own."""
    tries: list[dict[str, Any]] = []
    threads = []

    def one(entry: dict[str, Any]) -> None:
        begin = time.monotonic()
        entry["outcome"] = prompt(wish["host"], wish["port"], wish["prompt"], wish["timeout"])
        entry["took"] = round(time.monotonic() - begin, 4)

    end = time.monotonic() + wish["seconds"]
    while time.monotonic() < end:
        entry = {"at": time.time(), "outcome": "hung"}
        tries.append(entry)
        thread = threading.Thread(target=one, args=(entry,), daemon=True)
        thread.start()
        threads.append(thread)
        time.sleep(wish["every"])  # the rhythm of the series
    for thread in threads:
        thread.join(wish["timeout"] * 2 + 0.5)
    return {"tries": tries}


def hold(wish: dict[str, Any]) -> dict[str, Any]:
    """A new connection every now and then, all held: a server's time-out ends one after the
    other, its death all at once."""
    held: list[dict[str, Any]] = []
    threads = []
    end = time.monotonic() + wish["seconds"]

    def one(entry: dict[str, Any]) -> None:
        with suppress(OSError), socket.create_connection((wish["host"], wish["port"]), 1.0) as line:
            entry["opened"] = time.time()
            line.settimeout(max(0.1, end - time.monotonic()))
            try:
                spoke = line.recv(1) != b""
            except TimeoutError:
                return  # held to the end
            except OSError:
                spoke = False
            entry["broken"] = None if spoke else time.time()

    while time.monotonic() < end:
        entry: dict[str, Any] = {"opened": None, "broken": None}
        held.append(entry)
        threads.append(threading.Thread(target=one, args=(entry,), daemon=True))
        threads[-1].start()
        time.sleep(wish["every"])  # the rhythm of new connections
    for thread in threads:
        thread.join(1.5)
    return {"held": held}


def sniff(wish: dict[str, Any]) -> dict[str, Any]:
    """Moments at which a packet of that address arrived, at most a few a second."""
    source = socket.inet_aton(wish["source"])
    times: list[float] = []
    end = time.monotonic() + wish["seconds"]
    tap = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_ALL))
    with tap:
        while (left := end - time.monotonic()) > 0:
            if not select.select([tap], [], [], left)[0]:
                break
            packet, origin = tap.recvfrom(64)
            outgoing = origin[2] == 4  # PACKET_OUTGOING
            if not outgoing and packet[12:16] == source:
                now = time.time()
                if not times or now - times[-1] > 0.1:
                    times.append(now)
    return {"times": times}


def listen(wish: dict[str, Any]) -> dict[str, Any]:
    received: list[tuple[float, int]] = []
    end = time.monotonic() + wish["seconds"]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as inbox:
        inbox.bind(("0.0.0.0", wish["port"]))  # whichever address the target reaches
        while (left := end - time.monotonic()) > 0:
            if select.select([inbox], [], [], left)[0]:
                received.append((time.time(), len(inbox.recv(65536))))
    return {
        "bytes": sum(n for _, n in received),
        "count": len(received),
        "first": received[0][0] if received else None,
        "last": received[-1][0] if received else None,
    }


def send(wish: dict[str, Any]) -> dict[str, Any]:
    sent, begin = 0, time.monotonic()
    payload = b"x" * wish["size"]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
        while (passed := time.monotonic() - begin) < wish["seconds"]:
            while sent < passed * wish["per_second"]:
                with suppress(OSError):  # a full queue or a cut: that is what is measured
                    out.sendto(payload, (wish["host"], wish["port"]))
                sent += 1
            time.sleep(0.02)  # the rhythm of sending
    return {"sent": sent * wish["size"]}


BAD: dict[str, Callable[[], bytes]] = {
    "nothing but noise": lambda: bytes((7 * n * n + 3 * n) % 251 for n in range(4096)),
    "nothing but zeros": lambda: bytes(4096),
    "a first line of 4 MiB": lambda: b"A" * (4 << 20),
    "half a TLS hello": lambda: hello()[:40],
    "a TLS record of the wrong length": lambda: b"\x16\x03\x01\xff\xff" + b"\x00" * 300,
    "a length of 2 GiB": lambda: b"\x7f\xff\xff\xff" + b"\x00" * 64,
    "a negative length": lambda: b"\xff\xff\xff\xf0" + b"\x00" * 64,
    "redis: 2 G arguments": lambda: b"*2147483647\r\n$2147483647\r\n",
    "http: a negative length": lambda: b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
    "http: a broken chunk": lambda: b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nZZZ\r\n\r\n",
    "http: 100 kB of headers": lambda: b"GET / HTTP/1.1\r\n" + b"X-A: b\r\n" * 12_500 + b"\r\n",
    "json: deep": lambda: b"[" * 100_000 + b"\n",
    "json: not text": lambda: b'{"op": "\xff\xfe\x00"}\n',
}


def pester(wish: dict[str, Any]) -> dict[str, Any]:
    """Each bad input as it is and, where the server speaks TLS, once more inside of that."""
    ways = [False]
    if prompt(wish["host"], wish["port"], "tls", 1.0) == "acted":
        ways.append(True)
    sent = []
    for name, make in BAD.items():
        for tls in ways:
            outcome = say(wish["host"], wish["port"], make(), 1.0, tls=tls)
            sent.append({"what": name, "tls": tls, "outcome": outcome, "at": time.time()})
    crowd = []
    with suppress(OSError):
        for _ in range(50):  # connections that never say a word
            crowd.append(socket.create_connection((wish["host"], wish["port"]), 0.5))
    sent.append({"what": f"{len(crowd)} mute connections", "outcome": "open", "at": time.time()})
    for connection in crowd:
        connection.close()
    return {"sent": sent}


def dates(wish: dict[str, Any]) -> dict[str, Any]:
    """How far the Date of an HTTP server is ahead of the clock here."""
    import email.utils
    import http.client

    found = []
    end = time.monotonic() + wish["seconds"]
    while time.monotonic() < end:
        with suppress(OSError, ValueError, TypeError):
            connection = http.client.HTTPConnection(wish["host"], wish["port"], timeout=1.0)
            connection.request("HEAD", "/")
            told = connection.getresponse().getheader("Date")
            now = time.time()
            there = email.utils.parsedate_to_datetime(str(told)).timestamp()
            found.append({"at": now, "ahead": there - now})
            connection.close()
        time.sleep(wish["every"])  # the rhythm of the series
    return {"dates": found}


def clock(_: dict[str, Any]) -> dict[str, Any]:
    return {"wall": time.time()}


def address(wish: dict[str, Any]) -> dict[str, Any]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((wish["host"], 9))  # nothing is sent
        return {"address": probe.getsockname()[0]}


KINDS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "clock": clock,
    "address": address,
    "detect": detect,
    "series": series,
    "hold": hold,
    "dates": dates,
    "sniff": sniff,
    "listen": listen,
    "pester": pester,
    "send": send,
}


def look(wish: dict[str, Any]) -> dict[str, Any]:
    try:
        return {**wish, **KINDS[wish["kind"]](wish)}
    except OSError as error:
        return {**wish, "error": f"{type(error).__name__}: {error}"}


def main(wishes: list[dict[str, Any]], mark: str = "") -> list[dict[str, Any]]:
    answers: list[dict[str, Any]] = [{**w, "error": "hung"} for w in wishes]

    def fill(index: int) -> None:
        answers[index] = look(wishes[index])

    threads = [threading.Thread(target=fill, args=(i,), daemon=True) for i in range(len(wishes))]
    for thread in threads:
        thread.start()
    if mark:
        os.close(os.open(mark, os.O_CREAT | os.O_WRONLY, 0o600))
    longest = max((float(w.get("seconds", 6)) for w in wishes), default=0)
    end = time.monotonic() + longest + 8
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
    return answers


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(json.loads(sys.argv[1]), *sys.argv[2:3])) + "\n")
    sys.stdout.flush()
