"""Settings of the OIDC issuer, and everything of its installation that needs no Pulumi."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, ClassVar, Self

from pydantic import Field, model_validator

from components.identity.clients import KUBECTL, Client, Service, clients
from components.kit import naming, webs
from components.kit.charting import common, limits
from components.kit.connection import connection
from components.kit.contract import managed
from components.kit.mistakes import Mistake
from components.kit.names import is_name
from components.kit.needs import Account, Database, Need
from components.kit.settings import (
    ChartValues,
    ComponentSettings,
    External,
    Frozen,
    Resources,
    ResourceValues,
    SiteFacts,
)
from components.kit.syntax import Https, JavaOption, Wrong, must, refused, repeated
from components.kit.web import Role, Web

ROOM = "identity"
VERSION = "26.7"
PORT, MANAGEMENT_PORT = 8443, 9000
REALM, CLAIM = webs.REALM, "roles"
ADMIN = "apadana-admin"
#: Of the replicas' pods, as kit's chart sets them.
LABELS = {"app.kubernetes.io/name": ROOM, "app.kubernetes.io/component": "server"}
#: Of the container's memory: classes, code, threads and buffers (measured: 240 to 275 MiB).
BESIDE_HEAP_MIB = 320

#: In the contract: how a client of the issuer has to behave for the promises to hold.
CLIENT_TIMEOUTS: dict[str, float] = {"connect_seconds": 2, "read_seconds": 10}
CLIENT_RETRIES: dict[str, int] = {"attempts": 5, "backoff_seconds": 1}

Login = Annotated[
    str,
    must(
        lambda text: re.fullmatch(r"[a-z0-9]([a-z0-9._-]{0,38}[a-z0-9])", text) is not None,
        "2 to 40 lower-case letters, digits, and between them also . _ -",
    ),
]
Email = Annotated[
    str,
    must(
        lambda text: (
            re.fullmatch(r"[A-Za-z0-9._%+-]{1,64}@[a-z0-9.-]+", text) is not None and is_name(text.partition("@")[2])
        ),
        "an address as name@host",
    ),
]
Claim = Annotated[
    str, must(lambda text: re.fullmatch(r"[A-Za-z0-9_.:/-]{1,200}", text) is not None, "letters, digits and _ . : / -")
]


class User(Frozen):
    """A person of the settings. The first password is derived; see the Secret identity-users."""

    name: Login
    email: Annotated[Email, Field(max_length=254)] | None = None
    roles: tuple[Role, ...] = ()
    choose_password: bool = True  # at the first log-in; false: it stays the derived one


class ExternalIssuer(External):
    """The client's own issuer. The endpoints are those of its discovery document."""

    issuer: Https
    authorization: Https
    token: Https
    keys: Https
    end_session: Https | None = None
    roles_claim: Claim = CLAIM


class Settings(ComponentSettings):
    """Keys of `apadana:identity:`."""

    protocol: ClassVar[str] = "oidc"
    provides: ClassVar[tuple[type[Need], ...]] = (Account,)
    web: ClassVar[Web | None] = Web(name=ROOM, port=PORT, login=False)

    external: ExternalIssuer | None = None
    replicas: Annotated[int, Field(ge=2, le=8)] = 2
    resources: Resources = Resources(cpu_millicores=200, memory_mib=1024, cpu_limit_millicores=2000)
    heap_mib: Annotated[int, Field(ge=96, le=65536)] = 512
    java_options: Annotated[tuple[JavaOption, ...], Field(max_length=50)] = ()
    threads: Annotated[int, Field(ge=4, le=500)] = 50  # requests at once in each replica
    database_connections: Annotated[int, Field(ge=3, le=100)] = 5  # of each replica
    accounts_resources: Resources = Resources(cpu_millicores=10, memory_mib=48, cpu_limit_millicores=500)
    users: tuple[User, ...] = ()
    services: tuple[Service, ...] = ()  # beside those that rooms need
    token_seconds: Annotated[int, Field(ge=60, le=3600)] = 300
    idle_seconds: Annotated[int, Field(ge=300, le=86_400)] = 3600  # a session that nobody uses
    session_seconds: Annotated[int, Field(ge=600, le=604_800)] = 36_000
    # True: a refresh token is good once. Two requests of a page that refresh at the same moment may
    # then end its session (RUNBOOK.md). Every client is confidential, so a stolen token alone opens
    # nothing, and it is off.
    rotate_refresh_tokens: bool = False

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        wrong = []
        most = self.resources.most_mib - BESIDE_HEAP_MIB
        if self.heap_mib > most:
            allowed = (
                f"at most {most}: the container's {self.resources.most_mib} MiB without the "
                f"{BESIDE_HEAP_MIB} beside the heap"
            )
            action = "lower it, or give the container more memory"
            wrong.append(Wrong(allowed, "heap_mib", str(self.heap_mib), action))
        if not self.token_seconds < self.idle_seconds <= self.session_seconds:
            allowed = (
                f"token_seconds {self.token_seconds} < idle_seconds {self.idle_seconds} <= "
                f"session_seconds {self.session_seconds}, which does not hold"
            )
            wrong.append(Wrong(allowed, "idle_seconds", str(self.idle_seconds)))
        for key, names in (("users", self.users), ("services", self.services)):
            if twice := repeated(each.name for each in names):
                told = f"{', '.join(twice)} named twice"
                wrong.append(Wrong("each name once", key, told, "remove one of them"))
        if wrong:
            raise refused(wrong)
        return self

    def needs(self) -> tuple[Need, ...]:
        """Where the realm, people and sessions are kept."""
        every = self.replicas * self.database_connections
        return (Database(owner=ROOM, name=ROOM, connections=every, size_gib=1),)

    def misfits(self, site: SiteFacts) -> Iterator[Mistake]:
        """Accounts for pages that are not there, and names that are a page's and a service's."""
        pages = {page.name for page in webs.pages(site).values()}
        for client in clients(self.services, site):
            if client.kind == "service":
                if client.name in pages | RESERVED:
                    allowed = "a name that is no page's and none of Keycloak's own clients"
                    yield Mistake(f"{ROOM}.services", client.name, allowed, "choose another name")
                for lost in sorted(set(client.audiences) - pages - {client.name}):
                    allowed = f"one of {', '.join(sorted(pages)) or 'none'}"
                    action = f"correct {ROOM}.services, or needs() of {client.name}"
                    yield Mistake(f"{ROOM}.services", lost, allowed, action)

    def login(self, site: SiteFacts) -> webs.Login:
        """Where people log in, for the gateway."""
        given = self.external
        if given is not None:
            return webs.Login(
                given.issuer,
                given.authorization,
                given.token,
                given.keys,
                given.end_session,
                given.roles_claim,
                service=None,
            )
        under = f"{issuer(site)}/protocol/openid-connect"
        return webs.Login(
            issuer=issuer(site),
            authorization=f"{under}/auth",
            token=f"{under}/token",
            keys=f"{under}/certs",
            end_session=f"{under}/logout",
            roles_claim=CLAIM,
            service=ROOM,
        )

    def external_client(self) -> dict[str, object]:
        """The same that the contract says of an issuer of ours."""
        given = self.external
        return {} if given is None else _client(given.issuer, given.keys, given.token, given.roles_claim)


#: Clients that Keycloak makes in every realm, and people's kubectl.
RESERVED = frozenset(
    {"account", "account-console", "admin-cli", "broker", "realm-management", "security-admin-console", KUBECTL}
)


class DatabaseValues(Frozen):
    """Where PostgreSQL is, and which objects of the namespace hold the rest."""

    address: str
    secret: str
    ca: str
    connections_per_replica: int


class UserValues(Frozen):
    """A person as the accounts pod takes it."""

    name: str
    email: str
    roles: tuple[str, ...]
    choose: bool


class Tokens(Frozen):
    """How long what people get is good for, in Keycloak's words."""

    accessTokenLifespan: int  # noqa: N815
    ssoSessionIdleTimeout: int  # noqa: N815
    ssoSessionMaxLifespan: int  # noqa: N815
    revokeRefreshToken: bool  # noqa: N815


class Values(ChartValues):
    """Values of the chart."""

    replicas: int
    cluster_domain: str
    issuer_base: str
    realm: str
    claim: str
    roles: tuple[str, ...]
    java_options: str
    threads: int
    database: DatabaseValues
    clients: tuple[Client, ...]
    users: tuple[UserValues, ...]
    tokens: Tokens
    accounts_image: str
    accounts_resources: ResourceValues
    accounts_checksum: str = ""


def base(site: SiteFacts) -> str:
    """The issuer's public address without a path."""
    return f"https://{webs.host(ROOM, site)}"


def issuer(site: SiteFacts) -> str:
    """What stands as issuer in every token."""
    return f"{base(site)}/realms/{REALM}"


def java_options(settings: Settings) -> str:
    """What the JVM is started with; the site's own words come last and win."""
    heap = settings.heap_mib
    own = (f"-Xms{min(64, heap)}m", f"-Xmx{heap}m", "-XX:MaxMetaspaceSize=192m", "-XX:-UsePerfData")
    return " ".join((*own, *settings.java_options))


def values(settings: Settings, site: SiteFacts) -> dict[str, object]:
    """Full Helm values, but for the checksums of the secrets."""
    store = connection(site, "postgres", ROOM)
    wanted = Values(
        **common(ROOM, settings, site, resources=settings.resources),
        replicas=settings.replicas,
        cluster_domain=site.cluster_domain,
        issuer_base=base(site),
        realm=REALM,
        claim=CLAIM,
        roles=tuple(Role),
        java_options=java_options(settings),
        threads=settings.threads,
        database=DatabaseValues(
            address=store.address,
            secret=store.secret_ref,
            ca=store.ca_ref or naming.SITE_CA,
            connections_per_replica=settings.database_connections,
        ),
        clients=clients(settings.services, site),
        users=tuple(map(_person, settings.users)),
        tokens=Tokens(
            accessTokenLifespan=settings.token_seconds,
            ssoSessionIdleTimeout=settings.idle_seconds,
            ssoSessionMaxLifespan=settings.session_seconds,
            revokeRefreshToken=settings.rotate_refresh_tokens,
        ),
        accounts_image=site.image("clients"),
        accounts_resources=limits(settings.accounts_resources),
    )
    return wanted.model_dump(mode="json", by_alias=True)


def _person(user: User) -> UserValues:
    return UserValues(name=user.name, email=user.email or "", roles=user.roles, choose=user.choose_password)


def dns_names(site: SiteFacts) -> list[str]:
    """Names of the replicas' certificate: their own, and the one that browsers ask for."""
    return [*naming.server_dns_names(ROOM, 0, site), webs.host(ROOM, site)]


def contract(settings: Settings, site: SiteFacts) -> dict[str, object]:
    """This room's part of the platform contract."""
    service = site.service_dns(ROOM)
    members = site.service_dns(naming.members_service(ROOM))
    under = f"https://{service}:{PORT}/realms/{REALM}/protocol/openid-connect"
    return managed(
        ROOM,
        VERSION,
        {
            "workloads": [{"role": "server", "replicas": settings.replicas, "labels": LABELS}],
            "endpoints_in": [
                {"protocol": "oidc", "address": f"{service}:{PORT}"},
                # Their names lead to every replica.
                {"protocol": "oidc-members", "address": f"{members}:{PORT}"},
                {"protocol": "oidc-management", "address": f"{members}:{MANAGEMENT_PORT}"},
            ],
            "client": _client(issuer(site), f"{under}/certs", f"{under}/token", CLAIM, settings.replicas),
            "promises": {
                "survives": "one host; log-ins and tokens also outlive all replicas at once",
                "recovery_seconds": 30,
                "loss": "keeps nothing itself: realm, people and sessions are in PostgreSQL; a log-in "
                "that was begun and not finished may have to be begun again",
            },
            "metrics": {"port": MANAGEMENT_PORT, "scheme": "https", "service": naming.members_service(ROOM)},
        },
    )


def _client(issuer: str, keys: str, token: str, claim: str, replicas: int = 0) -> dict[str, object]:
    ours = {"replicas": replicas} if replicas else {}
    return {
        "timeouts": CLIENT_TIMEOUTS,
        "retries": CLIENT_RETRIES,
        "required": {
            "issuer": issuer,
            "jwks_uri": keys,
            "token_endpoint": token,
            "roles_claim": claim,
            "audience": "the page's name: refuse tokens that are for another one",
            **ours,
        },
    }
