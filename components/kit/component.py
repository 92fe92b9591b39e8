"""The base of every component of the platform.

A room's component.py has one subclass of PlatformComponent, found by the stacks::

    class Kafka(PlatformComponent[Settings]):
        def managed(self) -> Mapping[str, Any]:          # returns its contract.Component as a dict
            auth = {"admin-password": self.password("admin"), ...}
            self.secret("kafka-auth", auth)
            tls = self.tls_secret("kafka-tls", naming.server_dns_names("kafka", 3, self.site))
            self.client_secret("probe", {"username": "probe", "password": self.password("probe")})
            wanted = values(self.settings, self.site) | {"checksum": secrets.checksum(auth, tls)}
            self.install(wanted)
            return {"name": "kafka", "version": self.version, "mode": "managed", ...}

The mode `external` needs no code: its contract comes from the settings. What a room of stores may make there is its
`provisioning.py` and `provision/` (kit.provisioning). A room of mode `off` is
not built at all. What a room asks of others stands in its settings (`needs`), and
`self.uses("postgres")` says how it gets there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

import pulumi
from pulumi_kubernetes.core.v1 import Secret
from pulumi_kubernetes.rbac.v1 import Role, RoleBinding

from components.kit import chart, contract, manifests, naming, objects, pki, provisioning, secrets, webs
from components.kit.connection import Connection, connection, external_part, providers
from components.kit.discovery import room
from components.kit.providing import ProviderSettings, Provision
from components.kit.settings import ComponentSettings, Mode, SiteFacts

S = TypeVar("S", bound=ComponentSettings)


@dataclass(frozen=True)
class Vault:
    """What secrets are made from: the site's root secret and its pki folder."""

    root: bytes = field(repr=False)
    pki: Path


class PlatformComponent(pulumi.ComponentResource, Generic[S]):
    """A component: its objects as children, its contract as an output."""

    contract: pulumi.Output[dict[str, Any] | None]  # None: a room no client connects to

    def __init__(
        self,
        settings: S,
        site: SiteFacts,
        vault: Vault,
        opts: pulumi.ResourceOptions | None = None,
        after: Sequence[pulumi.Resource] = (),
    ) -> None:
        """`after`: the components of this stack that it asks something of. Its pods start when
        those are whole, instead of failing until then."""
        self.room = type(self).__module__.split(".")[-2]
        super().__init__(f"apadana:{self.room}:{type(self).__name__}", self.room, {}, opts)
        self.settings = settings
        self.site = site
        self.vault = vault
        self.after = tuple(after)
        built = self.external() if settings.mode is Mode.EXTERNAL else self.managed()
        common: dict[str, Any] = {}
        if settings.mode is Mode.MANAGED:
            shape = {fixed.key: fixed.value for fixed in settings.shape()}
            common = {"depends_on": providers(site, settings), "shape": shape} | self._page()
        self.contract = pulumi.Output.from_input(built).apply(lambda found: _checked(found, common))
        self.register_outputs({"contract": self.contract})

    def managed(self) -> Mapping[str, Any]:
        """Make everything; return the contract's part ({} if no client connects to it)."""
        raise NotImplementedError(f"{type(self).__name__} does not say how it is installed")

    def external(self) -> Mapping[str, Any]:
        """The client runs it: only the contract is made, and a job where it may make what is asked for there."""
        if isinstance(self.settings, ProviderSettings) and self.settings.external and self.settings.external.provision:
            self._provision(self.settings, self.settings.external.provision)
        return external_part(self.room, self.settings)

    def _provision(self, settings: ProviderSettings, account: Provision) -> None:
        made = settings.made_owners(self.site)
        logins = [self.login(owner) for owner in made]
        before = {owner: self.password(owner, settings.epoch - 1) for owner in made} if settings.epoch > 1 else {}
        if before:
            self.secret(provisioning.before_secret(self.room), before)
        checksum = secrets.checksum(*logins, before)
        for item in provisioning.manifests(settings, account, self.site, checksum):
            objects.make(item, self)

    def uses(self, room: str) -> Connection:
        """How this component reaches another room that its needs name."""
        return connection(self.site, room, self.room)

    def _page(self) -> dict[str, Any]:
        """The way to the room's page, where it has one; returns its part of the contract."""
        page = type(self.settings).web
        if page is None or not webs.reached(page, self.site):
            return {}
        if page.login:
            shared = webs.client_secret(self.vault.root, page.name, self.site)
            self.secret(webs.client_secret_name(self.room), {"client-secret": shared})
        for item in webs.manifests(self.room, page, self.site):
            objects.make(item, self)
        return {"endpoints_out": [webs.endpoint(page, self.site)]}

    def children(self) -> pulumi.ResourceOptions:
        """Options of everything this component makes."""
        return pulumi.ResourceOptions(parent=self)

    def password(self, user: str, epoch: int | None = None) -> str:
        """The derived password of one user, in the epoch of the settings where no other is said."""
        return secrets.derive(self.vault.root, f"{self.room}/{user}", epoch or self.settings.epoch)

    def lent(self, provider: str, user: str) -> str:
        """The derived password that another room of ours knows one of its users by."""
        return secrets.derive(self.vault.root, f"{provider}/{user}", self.site.rooms[provider].epoch)

    def authority(self) -> str:
        """The site's CA."""
        return (self.vault.pki / "ca.crt").read_text(encoding="ascii")

    def epochs(self) -> dict[str, str]:
        """Of the rooms that this one needs, for a checksum: another one begins the pods anew."""
        return {name: str(self.site.rooms[name].epoch) for name in providers(self.site, self.settings)}

    def work_secret(self, name: str, data: Mapping[str, str]) -> manifests.Manifest:
        """What pods of users' code mount: no pod mounts a Secret of another namespace."""
        marks, content = manifests.labels(self.room), manifests.encoded(data)
        return manifests.manifest(
            "v1", "Secret", name, namespace=self.site.work, marks=marks, type="Opaque", data=content
        )

    def secret(self, name: str, data: Mapping[str, str], type_: str = "Opaque") -> Secret:
        """A Secret; its content is encrypted in the state and hidden in previews."""
        encoded = manifests.encoded(data)
        return Secret(
            name,
            metadata={"name": name, "namespace": self.site.namespace, "labels": manifests.labels(self.room)},
            type=type_,
            data=pulumi.Output.secret(encoded),
            opts=pulumi.ResourceOptions(parent=self, additional_secret_outputs=["data"]),
        )

    def tls_secret(
        self, name: str, dns_names: Iterable[str], ips: Iterable[str] = ("127.0.0.1",), *, usage: str = pki.Usage.BOTH
    ) -> dict[str, str]:
        """A Secret with a leaf of the site's CA; returns its data (for the checksum)."""
        leaf = pki.ensure_leaf(self.vault.pki, name, dns_names, ips, usage=usage)
        data = leaf.secret_data()
        self.secret(name, data, "kubernetes.io/tls")
        return data

    def services_certificate(self) -> dict[str, str]:
        """The certificate of replicas whose names don't last: it has those of the room's Services."""
        return self.tls_secret(naming.tls_secret(self.room), naming.server_dns_names(self.room, 0, self.site))

    def login(self, owner: str) -> dict[str, str]:
        """The Secret of a user of this room; returns its data. `login()` of the room's settings says what is beside
        name and password."""
        more = getattr(room(self.room).module("settings"), "login", None)
        data = {"username": owner, "password": self.password(owner)}
        data |= more(self.settings, self.site, owner) if more else {}
        self.client_secret(owner, data)
        return data

    def client_secret(self, consumer: str, data: Mapping[str, str]) -> Secret:
        """The Secret of one consumer: `<room>-client-<consumer>`."""
        return self.secret(naming.client_secret(self.room, consumer), data)

    def grant(
        self, name: str, rules: Sequence[Mapping[str, Sequence[str]]], namespace: str | None = None
    ) -> RoleBinding:
        """A Role of a namespace, the platform's where none is said, bound to the platform's
        ServiceAccount of that name.

        Made here and not by the chart (give it `rbac.create: false`): an installer without more
        rights may bind a Role only once it exists, so a first preview of both would fail. The
        name taken from the Role's id is unknown until then, and the preview waits for it.
        """
        home = self.site.namespace
        title = f"{namespace}/{name}" if namespace not in (None, home) else name
        metadata: Any = {"name": name, "namespace": namespace or home, "labels": manifests.labels(self.room)}
        keys = ("apiGroups", "resources", "verbs", "resourceNames")
        made: list[Any] = [{key: list(rule[key]) for key in keys if rule.get(key)} for rule in rules]
        role = Role(title, metadata=metadata, rules=made, opts=self.children())
        return RoleBinding(
            title,
            metadata=metadata,
            role_ref={"api_group": "rbac.authorization.k8s.io", "kind": "Role", "name": role.id.apply(lambda _: name)},
            subjects=[{"kind": "ServiceAccount", "name": name, "namespace": home}],
            opts=self.children(),
        )

    def install(self, values: Mapping[str, object], after: Iterable[Any] = ()) -> pulumi.Resource:
        """Install the room's chart, as a release named like the room."""
        waits = [*after, *self.after]
        return chart.install(self.room, values, namespace=self.site.namespace, parent=self, depends_on=waits)


def _checked(built: Mapping[str, Any], common: Mapping[str, Any]) -> dict[str, Any] | None:
    """A contract that does not fit its schema stops the run here, not at a client."""
    if not built:
        return None
    whole = {**common, **built}
    return contract.Component.model_validate(whole).model_dump(mode="json")
