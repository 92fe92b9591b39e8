"""HTTPS with a log-in, for probes: standard library only, it runs in the clients' image."""

from __future__ import annotations

import base64
import http.client
import json
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from components.kit.probing import Target

CONNECT_SECONDS = 5.0
Place = tuple[str, int, str]  # address, port, and the name that the certificate has to have


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    body: bytes

    def json(self) -> Any:
        """Raises OSError with the text where it was no success."""
        if self.status != 200:
            raise OSError(f"HTTP {self.status}: {self.body[:200].decode(errors='replace')}")
        return json.loads(self.body)


@dataclass(frozen=True)
class Caller:
    """One server of a target, asked as a user with a password; "" for both: without a log-in."""

    host: str
    port: int
    ca_file: str
    username: str = ""
    password: str = field(default="", repr=False)

    def headers(self) -> dict[str, str]:
        """Basic authentication, where there is a user."""
        if not self.username:
            return {}
        word = base64.b64encode(f"{self.username}:{self.password}".encode()).decode()
        return {"Authorization": f"Basic {word}"}

    def ask(
        self, path: str, query: Mapping[str, str] | None = None, *, method: str = "GET", body: object = None
    ) -> Answer:
        """One request on a connection of its own; `body` goes as JSON."""
        context = ssl.create_default_context(cafile=self.ca_file)
        link = http.client.HTTPSConnection(self.host, self.port, timeout=CONNECT_SECONDS, context=context)
        target = f"{path}?{urlencode(query)}" if query else path
        text = None if body is None else json.dumps(body).encode()
        more = {} if text is None else {"Content-Type": "application/json"}
        try:
            link.request(method, target, text, {**self.headers(), **more})
            answer = link.getresponse()
            return Answer(answer.status, answer.read())
        finally:
            link.close()


def callers(target: Target, protocol: str) -> dict[str, Caller]:
    """One for each member; the endpoint lists them in the contract's order."""
    hosts = target.endpoint(protocol).hosts()
    return {
        member.name: Caller(host, port, target.ca_file, target.username, target.password)
        for member, (host, port) in zip(target.members, hosts, strict=True)
    }


def given(target: Target, group: str, key: str, default: float) -> float:
    """A number of the contract's `client`."""
    found = target.client.get(group)
    return float(found.get(key, default)) if isinstance(found, Mapping) else default


def required(target: Target, key: str) -> str:
    """One of the contract's words for clients."""
    words = target.client.get("required")
    if not isinstance(words, Mapping) or key not in words:
        raise LookupError(f"{target.name}: the contract does not name {key!r}")
    return str(words[key])


def places(target: Target, protocol: str) -> list[Place]:
    """Every server behind an endpoint's names: one name may lead to all replicas."""
    endpoint = target.endpoint(protocol)
    return [
        (address, port, endpoint.tls_server_name or host)
        for host, port in endpoint.hosts()
        for address in sorted({str(info[4][0]) for info in socket.getaddrinfo(host, port, proto=socket.IPPROTO_TCP)})
    ]


class Line(http.client.HTTPSConnection):
    """To one server's own address, under the name that all of them have."""

    def __init__(self, place: Place, ca_file: str, connect_s: float, read_s: float) -> None:
        address, port, name = place
        self._trusted = ssl.create_default_context(cafile=ca_file)
        super().__init__(name, port, context=self._trusted)
        self._at, self._seconds = (address, port), (connect_s, read_s)

    def connect(self) -> None:
        """Opened by the first request, and by the next one after it was closed."""
        connect_s, read_s = self._seconds
        plain = socket.create_connection(self._at, connect_s)
        self.sock = self._trusted.wrap_socket(plain, server_hostname=self.host)
        self.sock.settimeout(read_s)


def request(
    target: Target,
    place: Place,
    method: str,
    path: str,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """One request over verified TLS to one server, on a connection of its own, with the contract's time-outs."""
    connect_s = target.within(given(target, "timeouts", "connect_seconds", 2))
    line = Line(place, target.ca_file, connect_s, given(target, "timeouts", "read_seconds", 10))
    try:
        line.request(method, path, body, dict(headers or {}))
        answer = line.getresponse()
        return Answer(answer.status, answer.read())
    finally:
        line.close()


def json_request(target: Target, place: Place, method: str, path: str, body: object = None) -> tuple[int, bytes]:
    """The same with a JSON body, where there is one: status and answer."""
    text = None if body is None else json.dumps(body).encode()
    answer = request(target, place, method, path, text, {"Content-Type": "application/json"})
    return answer.status, answer.body
