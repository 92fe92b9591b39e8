"""The issuer's operations for the load generator, which sends the requests by its own client."""

from __future__ import annotations

import itertools
import ssl
from collections.abc import Callable
from urllib.parse import urlencode

from components.identity.probe import members, path_of, service
from components.kit.driving import Asker, Job, chosen
from components.kit.probing import Target

OPERATIONS = {
    "token": "a token for a service, by its name and secret",
    "keys": "the issuer's public keys, as every page asks for them",
}


class IdentityDriver:
    """The same request again and again, to all replicas in turn; nothing is kept of it."""

    expect = (200, 200)

    def __init__(self, target: Target, job: Job) -> None:
        self._target, self._job = target, job
        self._places = itertools.cycle(members(target))
        self._host = service(target)[2]

    async def open(self) -> None:
        """A token for a service makes no session: nothing can be left of a killed run."""

    async def close(self) -> None:
        """Nothing was written."""

    def wires(self) -> Callable[[], bytes]:
        """One request's bytes."""
        if self._job.operation == "keys":
            lines = [f"GET {path_of(self._target, 'jwks_uri')} HTTP/1.1", f"Host: {self._host}"]
            return itertools.repeat(_wire(lines)).__next__
        form = {
            "grant_type": "client_credentials",
            "client_id": self._target.username,
            "client_secret": self._target.password,
        }
        body = urlencode(form).encode()
        lines = [
            f"POST {path_of(self._target, 'token_endpoint')} HTTP/1.1",
            f"Host: {self._host}",
            "Content-Type: application/x-www-form-urlencoded",
            f"Content-Length: {len(body)}",
        ]
        return itertools.repeat(_wire(lines) + body).__next__

    def place(self) -> tuple[str, int, str | None]:
        """The replicas in turn."""
        return next(self._places)

    def tls(self) -> ssl.SSLContext | None:
        """The site's CA and no other."""
        return ssl.create_default_context(cafile=self._target.ca_file)


def _wire(lines: list[str]) -> bytes:
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def driver(target: Target, job: Job) -> Asker:
    """One process's."""
    chosen(OPERATIONS, job)
    return IdentityDriver(target, job)
