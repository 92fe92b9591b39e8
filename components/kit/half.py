"""The cluster-scoped half of a room: what only the cluster's admin may make.

A room's cluster.py has one subclass of ClusterHalf, found by the stacks::

    class GatewayHalf(ClusterHalf[Settings]):
        crds = {"envoy-gateway": ("gateways.gateway.networking.k8s.io", ...)}   # of the bundle
        granted = ("gateways.gateway.networking.k8s.io", ...)     # what the installer may use

        @classmethod
        def objects(cls, settings: Settings, site: SiteFacts, keys: Keys) -> list[Manifest]:
            return [...]                                   # pure: plain Kubernetes objects

It lives in a namespace of its own, `apadana-<room>`, with Pod Security `restricted`. The same list
becomes Pulumi's resources in the cluster stack and plain YAML in `python -m stacks.prerequisites`.
A room of mode `off` or `external` has no half.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import pulumi

from components.kit import crds, objects, pki, secrets
from components.kit.component import Vault
from components.kit.manifests import PART_OF, Manifest, encoded, manifest
from components.kit.settings import ComponentSettings, Mode, SiteFacts

S = TypeVar("S", bound=ComponentSettings)
HIDDEN = "<made-by-the-cluster-stack>"


class Keys(Protocol):
    """Where a half's certificates and passwords come from."""

    def ca(self, authority: str = "") -> str:
        """The root as PEM; `authority` names one that signs for this half alone."""

    def leaf(
        self, name: str, dns_names: Iterable[str], *, authority: str = "", usage: str = "server"
    ) -> dict[str, str]:
        """tls.crt, tls.key and ca.crt of a leaf."""

    def password(self, name: str, epoch: int) -> str:
        """Derived from the site's root secret."""


class VaultKeys:
    """The site's own; leaves are made and renewed on the way."""

    def __init__(self, vault: Vault, site: str) -> None:
        self._vault = vault
        self._site = site

    def _folder(self, authority: str) -> Path:
        folder = self._vault.pki / authority if authority else self._vault.pki
        pki.ensure_ca(folder, f"{self._site} {authority}".strip())
        return folder

    def ca(self, authority: str = "") -> str:
        return (self._folder(authority) / "ca.crt").read_text(encoding="ascii")

    def leaf(
        self, name: str, dns_names: Iterable[str], *, authority: str = "", usage: str = "server"
    ) -> dict[str, str]:
        folder = self._folder(authority)
        return pki.ensure_leaf(folder, name, dns_names, usage=usage).secret_data()

    def password(self, name: str, epoch: int) -> str:
        return secrets.derive(self._vault.root, name, epoch)


class PaperKeys:
    """For review: shows which secrets there will be and none of them."""

    def ca(self, authority: str = "") -> str:
        return HIDDEN

    def leaf(
        self, name: str, dns_names: Iterable[str], *, authority: str = "", usage: str = "server"
    ) -> dict[str, str]:
        return dict.fromkeys(("ca.crt", "tls.crt", "tls.key"), HIDDEN)

    def password(self, name: str, epoch: int) -> str:
        return HIDDEN


class ClusterHalf(pulumi.ComponentResource, Generic[S]):
    """A half: its objects as children."""

    crds: ClassVar[Mapping[str, tuple[str, ...]]] = {}  # binary -> definitions that it needs
    granted: ClassVar[tuple[str, ...]] = ()

    def __init__(self, room: str, items: Iterable[Manifest], opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(f"apadana:{room}:{type(self).__name__}", f"{room}-half", {}, opts)
        made = objects.make_all(list(items), self)
        self.register_outputs({"objects": len(made)})

    @classmethod
    def objects(cls, settings: S, site: SiteFacts, keys: Keys) -> list[Manifest]:
        """What the room needs beside its namespace, definitions and grants."""
        raise NotImplementedError(f"{cls.__name__} does not say what it is made of")


def namespace(room: str) -> str:
    """Where the half lives."""
    return f"apadana-{room}"


def wanted(settings: ComponentSettings | None) -> bool:
    """Whether a room of these settings has its half here."""
    return settings is not None and settings.mode is Mode.MANAGED


def everything(
    room: str, half: type[ClusterHalf[Any]], settings: ComponentSettings, site: SiteFacts, keys: Keys, definitions: Path
) -> list[Manifest]:
    """All objects of one half, in an order that a server takes. `definitions`: `<bundle>/crds`."""
    own = [item for binary, names in half.crds.items() for item in crds.read(definitions, binary, names)]
    found = [_home(room), *own, *crds.grants(room, own, half.granted)]
    return found + half.objects(settings, site, keys)


def _home(room: str) -> Manifest:
    levels = {
        f"pod-security.kubernetes.io/{mode}{suffix}": value
        for mode in ("enforce", "warn", "audit")
        for suffix, value in (("", "restricted"), ("-version", "latest"))
    }
    return manifest("v1", "Namespace", namespace(room), marks=PART_OF | levels)


def secret(name: str, room: str, data: Mapping[str, str], type_: str = "Opaque") -> Manifest:
    """A Secret in the half's namespace."""
    if HIDDEN in data.values():
        return manifest("v1", "Secret", name, namespace=namespace(room), type=type_, stringData=dict(data))
    return manifest("v1", "Secret", name, namespace=namespace(room), type=type_, data=encoded(data))


def ca_bundle(keys: Keys, authority: str = "") -> str:
    """The root as a webhook's `caBundle` takes it."""
    return base64.b64encode(keys.ca(authority).encode()).decode()
