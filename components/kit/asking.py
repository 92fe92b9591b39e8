"""HTTPS with a log-in, for probes: standard library only, it runs in the clients' image."""

from __future__ import annotations

import base64
import http.client
import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from components.kit.probing import Target

CONNECT_SECONDS = 5.0


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
        self,
        path: str,
        query: Mapping[str, str] | None = None,
        *,
        method: str = "GET",
        body: object = None,
    ) -> Answer:
        """One request on a connection of its own; `body` goes as JSON."""
        context = ssl.create_default_context(cafile=self.ca_file)
        link = http.client.HTTPSConnection(
            self.host, self.port, timeout=CONNECT_SECONDS, context=context
        )
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
