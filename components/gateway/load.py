"""The gateway's operations for the load generator. Standard library and kit only."""

from __future__ import annotations

import itertools
import ssl
from collections.abc import Callable

from components.kit.asking import required
from components.kit.driving import Asker, Job, chosen
from components.kit.probing import Target

OPERATIONS = {"answer": "a request for a page that no room has: TLS, routing and answer of a proxy itself"}
NOT_FOUND = 404


class GatewayDriver:
    """Requests by the Service, as pods come in; people come by a host's load balancer."""

    expect = (NOT_FOUND, NOT_FOUND)

    def __init__(self, target: Target, job: Job) -> None:
        chosen(OPERATIONS, job)
        self._page = f"no-such-page.{required(target, 'web_domain')}"
        self._ca = target.ca_file
        self._places = itertools.cycle(target.endpoint("https").hosts())

    async def open(self) -> None:
        """Nothing has to be there."""

    async def close(self) -> None:
        """Nothing was written."""

    def wires(self) -> Callable[[], bytes]:
        """Always the same request."""
        request = f"GET / HTTP/1.1\r\nHost: {self._page}\r\nAccept: text/html\r\n\r\n".encode()
        return lambda: request

    def place(self) -> tuple[str, int, str | None]:
        """One address; the cluster spreads connections over the proxies."""
        host, port = next(self._places)
        return host, port, self._page

    def tls(self) -> ssl.SSLContext | None:
        """Verified against the site's CA."""
        return ssl.create_default_context(cafile=self._ca)


def driver(target: Target, job: Job) -> Asker:
    """One process of the generator."""
    return GatewayDriver(target, job)
