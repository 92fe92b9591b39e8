"""A room's page or interface for people, behind the gateway and its log-in."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from components.kit.frozen import Frozen, Name
from components.kit.syntax import Port


class Role(StrEnum):
    """What a person may be; the room `identity` knows who is what."""

    VIEWER = "viewer"
    SCIENTIST = "scientist"
    RELEASER = "releaser"
    ADMIN = "admin"


EVERYONE = tuple(Role)
#: Without what a pattern or a query begins with: it is compared as a whole.
Path = Annotated[str, Field(pattern=r"^(/[A-Za-z0-9._-]+)+$", max_length=200)]


class Web(Frozen):
    """`https://<name>.<web_domain>/` leads to `port` of the room's Service."""

    name: Name
    port: Port
    roles: tuple[Role, ...] = EVERYONE  # may do everything that the page offers
    reads: tuple[Role, ...] = ()  # may look: GET and HEAD, and POST where it only asks
    # Paths at which a page asks by POST and changes nothing; no path below them.
    asks_by_post: tuple[Path, ...] = ()
    pods: str = "server"  # role of the pods behind the Service
    health: str | None = None  # path that answers 200 without a log-in; None: TLS alone is tried
    timeout_seconds: int = 60  # of one request
    login: bool = True  # False for the log-in page itself, and for nothing else
