"""Makes users at the client's Valkey or Redis: `python3 -m components.redis.provision`."""

from __future__ import annotations

import sys
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from components.redis.provision import telling
from components.redis.provision.servers import Server, User, digest, places


def once(given: telling.Given, report: telling.Report) -> None:
    """All of it. Raises ConnectionError of redis where a server does not answer."""
    wanted = given.wanted
    hosts = [each.rpartition(":") for each in wanted["address"].split(",")]
    sentinels = [(host, int(port)) for host, _, port in hosts]
    lines = {place: _line(given, wanted, place) for place in sentinels}
    servers = places(list(lines.values()), given.told("service_name", wanted["service_name"]))
    lines |= {place: _line(given, wanted, place) for place in servers}
    for user in (_user(given, each) for each in wanted["users"]):
        for place in servers:
            Server(lines[place], f"{place[0]}:{place[1]}", report).user(user, user.keys, wanted["rules"])
        for place in sentinels:
            name = f"Sentinel {place[0]}:{place[1]}"
            Server(lines[place], name, report).user(user, (), wanted["sentinel_rules"])


def _user(given: telling.Given, wanted: dict[str, Any]) -> User:
    name, password = given.login(wanted["name"])
    before = given.before(wanted["name"])
    return User(
        name,
        digest(password),
        digest(before) if before else None,
        wanted["secret"],
        tuple(wanted["keys"]),
        wanted["made"],
    )


def _line(given: telling.Given, wanted: dict[str, Any], place: tuple[str, int]) -> Any:
    user, password = given.account_login
    return redis.Redis(
        host=place[0],
        port=place[1],
        username=user,
        password=password,
        ssl=True,
        ssl_ca_certs=given.ca,
        ssl_cert_reqs="required",
        ssl_check_hostname=True,
        socket_connect_timeout=wanted["connect_seconds"],
        socket_timeout=10,
        decode_responses=True,
        retry=Retry(NoBackoff(), 0),
    )


if __name__ == "__main__":
    sys.exit(telling.run("redis", once, (redis.ConnectionError, redis.TimeoutError)))
