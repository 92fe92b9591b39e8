"""Ways in that should be shut."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from tests.toy.defect import Defect, served_by, told
from tests.toy.plan import Plan
from tests.toy.stores import Kv
from validate.core import causes

LOOK = ("smoke/", "safety/kv/ways-in")


class AnyPassword(Kv):
    """Asks for a password and doesn't compare it."""

    def login(self, user: str, password: str) -> bool:
        return user in self.config.users


class PrefixPassword(Kv):
    """Compares as many characters as it was given, so that no password is a right one."""

    def login(self, user: str, password: str) -> bool:
        return self.config.users.get(user, " ").startswith(password)


class AnyUser(Kv):
    """Lets in whoever calls himself somehow."""

    def login(self, user: str, password: str) -> bool:
        return super().login(user, password) or user not in self.config.users


class BackDoor(Kv):
    """Speaks plain text on one more port, left over from a test."""

    async def start(self) -> None:
        await super().start()
        await asyncio.start_server(self._serve, self.config.address, 7999)


def _certificate(kind: str, members: int = 3) -> Callable[[Plan], None]:
    def change(plan: Plan) -> None:
        for member in plan.of("kv")[:members]:
            member.certificate = kind

    return change


def _no_fence(plan: Plan) -> None:
    plan.allowed["kv"] = []


DEFECTS = (
    Defect("any-password", told(AnyPassword), served_by(AnyPassword), (causes.NO_AUTHENTICATION,), look=LOOK),
    Defect("empty-password", told(PrefixPassword), served_by(PrefixPassword), (causes.NO_AUTHENTICATION,), look=LOOK),
    Defect("any-user", told(AnyUser), served_by(AnyUser), (causes.NO_AUTHENTICATION,), look=LOOK),
    Defect("back-door", told(BackDoor), served_by(BackDoor), (causes.OPEN_NETWORK, causes.NO_TLS), look=LOOK),
    Defect("plain-text", "one of the servers speaks without TLS", _certificate("none", 1), (causes.NO_TLS,), look=LOOK),
    Defect(
        "expired-certificate",
        "a certificate that ended yesterday",
        _certificate("expired", 1),
        (causes.CERTIFICATE,),
        look=LOOK,
    ),
    Defect("other-ca", "certificates of another authority", _certificate("other-ca"), (causes.CERTIFICATE,), look=LOOK),
    Defect(
        "certificate-ending",
        "nobody renews: nine days are left",
        _certificate("ending"),
        (causes.CERTIFICATE,),
        look=LOOK,
    ),
    Defect("open-network", "everyone in the cluster reaches the store", _no_fence, (causes.OPEN_NETWORK,), look=LOOK),
)
