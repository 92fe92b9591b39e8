"""The gateway's operations for the load generator. Standard library and kit only."""

from __future__ import annotations

from components.kit.asking import required
from components.kit.driving import Asker, Job, Repeated, chosen, wire
from components.kit.probing import Target

OPERATIONS = {"answer": "a request for a page that no room has: TLS, routing and answer of a proxy itself"}
NOT_FOUND = 404


def driver(target: Target, job: Job) -> Asker:
    """One process of the generator. Requests by the Service, as pods come in; people come by a host's load
    balancer. The cluster spreads connections over the proxies."""
    chosen(OPERATIONS, job)
    page = f"no-such-page.{required(target, 'web_domain')}"
    places = [(host, port, page) for host, port in target.endpoint("https").hosts()]
    headers = {"Host": page, "Accept": "text/html"}
    return Repeated(places, target.ca_file, lambda: wire("GET", "/", headers), (NOT_FOUND, NOT_FOUND))
