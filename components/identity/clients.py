"""Clients of the issuer: every page behind the gateway, and every service that calls. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from components.kit import webs
from components.kit.needs import Account
from components.kit.settings import Frozen, Name, SiteFacts
from components.kit.web import Role

#: The validator's own: it takes tokens for itself and looks at them.
PROBE = "probe"
#: People's kubectl. It runs on their machines and keeps no secret: the browser comes back to it, or
#: they log in elsewhere with a code that it shows.
KUBECTL = "kubernetes"
BACK_AT = ("http://localhost:8000", "http://localhost:18000")


class Service(Frozen):
    """An account for calls by a program: its tokens are for the pages named here."""

    name: Name
    roles: tuple[Role, ...] = ()
    audiences: tuple[Name, ...] = ()


class Client(Frozen):
    """A client as the accounts pod takes it; the secret of all but a tool is in the Secret."""

    name: str
    kind: Literal["page", "service", "tool"]
    redirects: tuple[str, ...] = ()
    attributes: dict[str, str]
    roles: tuple[str, ...] = ()
    audiences: tuple[str, ...]


def clients(services: Iterable[Service], site: SiteFacts) -> tuple[Client, ...]:
    """Pages first; a service that is asked for in several places has all that is asked."""
    return (*map(lambda name: _page(name, site), _pages(site)), *_services(services, site), _kubectl())


def _kubectl() -> Client:
    """Of its tokens the API servers take those that name it (`aud`), as identity tokens do."""
    asked = {"oauth2.device.authorization.grant.enabled": "true", "pkce.code.challenge.method": "S256"}
    return Client(name=KUBECTL, kind="tool", redirects=BACK_AT, attributes=asked, audiences=())


def _pages(site: SiteFacts) -> list[str]:
    return sorted(page.name for page in webs.pages(site).values())


def _page(name: str, site: SiteFacts) -> Client:
    return Client(
        name=name,
        kind="page",
        redirects=(webs.callback(name, site),),
        attributes={"post.logout.redirect.uris": f"{webs.url(name, site)}*"},
        audiences=(name,),
    )


def _services(services: Iterable[Service], site: SiteFacts) -> list[Client]:
    asked: dict[str, tuple[set[str], set[str]]] = {PROBE: ({"viewer"}, {PROBE})}
    for each in services:
        roles, audiences = asked.setdefault(each.name, (set(), set()))
        roles.update(map(str, each.roles))
        audiences.update(each.audiences)
    for need in site.wanted(Account):
        roles, audiences = asked.setdefault(need.owner, (set(), set()))
        roles.update(map(str, need.roles))
        audiences.add(need.name)
    return [
        Client(name=name, kind="service", attributes={}, roles=_sorted(roles), audiences=_sorted(audiences))
        for name, (roles, audiences) in sorted(asked.items())
    ]


def _sorted(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(names))
