"""Builds one stack: reads its settings, discovers its rooms, makes them, exports the contract."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pulumi
from pulumi.runtime.config import CONFIG
from pulumi_kubernetes import Provider
from pulumi_kubernetes.core.v1 import ConfigMap, Secret

from components.kit import contract, manifest, naming, pki, secrets
from components.kit.component import PlatformComponent, Vault
from components.kit.discovery import Room, rooms
from components.kit.loading import Loaded, SettingsError, load
from components.kit.settings import ComponentSettings, Mode, SiteFacts
from stacks.places import Places, StackName

MISTAKES = (
    SettingsError, manifest.ManifestError, pki.PkiError, secrets.SecretError,
    contract.ContractError, LookupError, ValueError, TypeError, FileNotFoundError,
)  # fmt: skip
CLUSTER = "cluster"


def main() -> None:
    """Build the stack that is selected; what a person did wrong is told without a traceback."""
    try:
        build(StackName.parse(pulumi.get_stack()))
    except MISTAKES as error:
        raise pulumi.RunError(str(error)) from error


def build(stack: StackName) -> None:
    """Wire one stack."""
    places = Places.of(stack.site)
    classes = {room.name: room.settings_class() for room in rooms()}
    loaded = _settings(stack, classes)
    bundle = manifest.read(places.bundle) if stack.layer != CLUSTER else None
    site = SiteFacts(
        site=loaded.site.site,
        namespace=loaded.site.namespace,
        cluster_domain=loaded.site.cluster_domain,
        images=bundle.images if bundle else {},
        deployer=loaded.site.deployer,
    )
    ca = pki.ensure_ca(places.pki, site.site)
    vault = Vault(secrets.read_root(places.root_secret), places.pki)
    options = pulumi.ResourceOptions(provider=_provider(stack, places, site))
    if stack.layer != CLUSTER:
        _site_ca(ca.read_text(encoding="ascii"), site, options)
    built = [
        component_class(room)(loaded.rooms[room.name], site, vault, options)
        for room in rooms()
        if room.name in loaded.rooms and loaded.rooms[room.name].mode is not Mode.OFF
    ]
    if bundle is not None:
        parts = pulumi.Output.all(*[component.contract for component in built])
        platform = parts.apply(lambda all_: _platform(site, bundle.digest, all_))
        pulumi.export("contract", platform)
        _publish(platform, site, options)


def component_class(room: Room) -> type[PlatformComponent[Any]]:
    """The one subclass of PlatformComponent that the room's component.py defines."""
    module = room.module("component")
    found = [
        item
        for item in vars(module).values()
        if isinstance(item, type)
        and issubclass(item, PlatformComponent)
        and item.__module__ == module.__name__
    ]
    if len(found) != 1:
        names = ", ".join(item.__name__ for item in found) or "none"
        raise TypeError(
            f"{room.path / 'component.py'} must define exactly one subclass of "
            f"PlatformComponent (it defines: {names})"
        )
    return found[0]


def _settings(stack: StackName, classes: Mapping[str, type[ComponentSettings]]) -> Loaded:
    mine = {name: model for name, model in classes.items() if model.layer == stack.layer}
    others = {name: model.layer for name, model in classes.items() if name not in mine}
    if not mine:
        layers = ", ".join(sorted(set(others.values())))
        raise ValueError(
            f"stack {stack}: no room has the layer {stack.layer!r} (there are: {layers})"
        )
    loaded = load(str(stack), CONFIG.get(), mine, others)
    if loaded.site.site != stack.site:
        raise ValueError(
            f"stacks/Pulumi.{stack}.yaml sets apadana:site to {loaded.site.site!r}, but the stack "
            f"is of site {stack.site!r}; set apadana:site: {stack.site}"
        )
    return loaded


def _provider(stack: StackName, places: Places, site: SiteFacts) -> Provider:
    """The cluster stack acts as the cluster's admin, every other as the namespace's installer."""
    admin, installer = places.kubeconfig, places.installer_kubeconfig
    kubeconfig = installer if stack.layer != CLUSTER and installer.exists() else admin
    if not kubeconfig.exists():
        raise FileNotFoundError(f"no kubeconfig at {kubeconfig}; roll the cluster out first")
    return Provider(
        "kubernetes",
        # The path, not the content: a renewed token is no change, and none gets into the state.
        kubeconfig=str(kubeconfig),
        namespace=None if stack.layer == CLUSTER else site.namespace,
        enable_server_side_apply=True,
        enable_secret_mutable=True,
        enable_config_map_mutable=True,
    )


def _publish(
    platform: pulumi.Output[dict[str, Any]], site: SiteFacts, options: pulumi.ResourceOptions
) -> None:
    """The contract beside what it is about. A plan shows objects only and no outputs: without this
    one a contract that alone has changed would never be exported anew."""
    text = platform.apply(lambda found: json.dumps(found, indent=2, sort_keys=True) + "\n")
    metadata = _metadata(naming.CONTRACT, site)
    ConfigMap(naming.CONTRACT, metadata=metadata, data={"platform.json": text}, opts=options)


def _metadata(name: str, site: SiteFacts) -> dict[str, Any]:
    labels = {"app.kubernetes.io/part-of": "apadana"}
    return {"name": name, "namespace": site.namespace, "labels": labels}


def _site_ca(ca: str, site: SiteFacts, options: pulumi.ResourceOptions) -> None:
    """The CA for clients: a ConfigMap, and a Secret for what can only mount Secrets."""
    metadata = _metadata(naming.SITE_CA, site)
    ConfigMap(naming.SITE_CA, metadata=metadata, data={"ca.crt": ca}, opts=options)
    Secret(naming.SITE_CA, metadata=metadata, string_data={"ca.crt": ca}, opts=options)


def _platform(site: SiteFacts, digest: str, parts: list[dict[str, Any] | None]) -> dict[str, Any]:
    """The whole platform contract of this stack."""
    platform = contract.Platform.model_validate(
        {
            "site": site.site,
            "deployer": site.deployer,
            "namespace": site.namespace,
            "bundle_digest": digest,
            "components": [part for part in parts if part],
        }
    )
    return platform.model_dump(mode="json")
