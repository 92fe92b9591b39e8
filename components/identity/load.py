"""The issuer's operations for the load generator, which sends the requests by its own client."""

from __future__ import annotations

from urllib.parse import urlencode

from components.identity.probe import members, path_of, service
from components.kit.driving import Asker, Job, Repeated, chosen, wire
from components.kit.probing import Target

OPERATIONS = {
    "token": "a token for a service, by its name and secret",
    "keys": "the issuer's public keys, as every page asks for them",
}


def driver(target: Target, job: Job) -> Asker:
    """One process's: the same request to all replicas in turn. A token for a service makes no session."""
    operation = chosen(OPERATIONS, job)
    headers = {"Host": service(target)[2]}

    def keys() -> bytes:
        return wire("GET", path_of(target, "jwks_uri"), headers)

    def token() -> bytes:
        form = {"grant_type": "client_credentials", "client_id": target.username, "client_secret": target.password}
        said = headers | {"Content-Type": "application/x-www-form-urlencoded"}
        return wire("POST", path_of(target, "token_endpoint"), said, urlencode(form).encode())

    return Repeated(members(target), target.ca_file, keys if operation == "keys" else token)
