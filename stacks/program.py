"""Builds one stack: reads its settings, discovers its rooms, makes them, exports the contract."""

from __future__ import annotations

import json
from collections.abc import Iterator
from graphlib import TopologicalSorter
from typing import Any

import pulumi
from pulumi.runtime.config import CONFIG
from pulumi_kubernetes import Provider
from pulumi_kubernetes.core.v1 import ConfigMap, Secret

from common.errors import Refusal
from common.places import Places
from components.kit import contract, dry, founding, layers, manifest, naming, pki, secrets
from components.kit.component import PlatformComponent, Vault
from components.kit.connection import providers
from components.kit.discovery import Room, layer
from components.kit.manifests import PART_OF
from components.kit.mistakes import SiteError
from components.kit.settings import Mode, SiteFacts
from stacks import hand, installer
from stacks.composition import STACKS, compose, off
from stacks.halves import build_halves
from stacks.names import StackName


def main() -> None:
    """Build the stack that is selected; what a person did wrong is told without a traceback."""
    try:
        build(StackName.parse(pulumi.get_stack()))
    except Refusal as error:
        raise pulumi.RunError(dry.told(str(error))) from error


def build(stack: StackName) -> None:
    """Wire one stack."""
    places = Places.of(stack.site)
    standing = layers.standing(STACKS, stack.site)
    if stack.layer not in standing:
        raise SiteError(
            f"stack {stack}: {layers.stack_file(STACKS, stack.site, stack.layer)} is not there "
            f"(the site has: {', '.join(standing) or 'none'})"
        )
    hand.take(stack, places)
    founded = founding.read(places.contract(each) for each in standing)
    loaded = compose(stack.site, {stack.layer: CONFIG.get()}, founded=founded)
    bundle = manifest.read(places.bundle)
    site = loaded.facts(bundle.images)
    root = secrets.read_root(places.root_secret)
    # A preview leaves the site's keys as they are.
    vault = Vault(root, dry.keys(places.pki) if pulumi.runtime.is_dry_run() else places.pki)
    ca = pki.ensure_ca(vault.pki, site.site)
    options = pulumi.ResourceOptions(provider=_provider(stack, places, site))
    if stack.layer == next(iter(layers.platform(standing)), None):
        # One owner for what all layers share: the lowest one of the namespace.
        _site_ca(ca.read_text(encoding="ascii"), site, options)
    made: dict[str, PlatformComponent[Any]] = {}
    for room, asked in in_order(stack.layer, site):
        after = [made[name] for name in asked]
        made[room.name] = component_class(room)(loaded.rooms[room.name], site, vault, options, after=after)
    if stack.layer == layers.CLUSTER:
        # After the namespaces and priorities that the rooms of this layer make.
        waits = pulumi.ResourceOptions(depends_on=list(made.values()))
        build_halves(site, vault, places.bundle, pulumi.ResourceOptions.merge(options, waits))
    parts = pulumi.Output.all(*[made[name].contract for name in sorted(made)])
    missing = list(off(loaded, stack.layer, standing))
    part = parts.apply(lambda all_: _part(site, bundle.digest, all_, missing))
    pulumi.export("contract", part)
    told = pulumi.ResourceOptions(depends_on=list(made.values()))
    _publish(stack.layer, part, site, pulumi.ResourceOptions.merge(options, told))


def in_order(of: str, site: SiteFacts) -> Iterator[tuple[Room, list[str]]]:
    """The rooms of a layer that are built, each after those of the layer that it asks, with their
    names."""
    here = {r.name: r for r in layer(of) if site.rooms[r.name].mode is not Mode.OFF}
    asked = {
        name: [p for p in providers(site, site.rooms[name]) if p in here and p != name]
        for name in sorted(here)
        if site.rooms[name].mode is Mode.MANAGED
    }
    for name in TopologicalSorter({name: asked.get(name, []) for name in here}).static_order():
        yield here[name], asked.get(name, [])


def component_class(room: Room) -> type[PlatformComponent[Any]]:
    """The one subclass of PlatformComponent that the room's component.py defines."""
    return room.one_class("component", PlatformComponent)


def _provider(stack: StackName, places: Places, site: SiteFacts) -> Provider:
    """The cluster stack acts as the cluster's admin, every other as the namespace's installer."""
    kubeconfig = places.kubeconfig if stack.layer == layers.CLUSTER else installer.current(places)
    if not kubeconfig.exists():
        raise SiteError(f"no kubeconfig at {kubeconfig}; roll the cluster out first")
    return Provider(
        "kubernetes",
        # The path, not the content: a renewed token is no change, and none gets into the state.
        kubeconfig=str(kubeconfig),
        namespace=None if stack.layer == layers.CLUSTER else site.namespace,
        enable_server_side_apply=True,
        enable_secret_mutable=True,
        enable_config_map_mutable=True,
    )


def _publish(of: str, part: pulumi.Output[dict[str, Any]], site: SiteFacts, options: pulumi.ResourceOptions) -> None:
    """The layer's contract beside what it is about. A plan shows objects only and no outputs:
    without this one a contract that alone has changed would never be exported anew."""
    name = naming.contract(of)
    text = part.apply(lambda found: json.dumps(found, indent=2, sort_keys=True) + "\n")
    ConfigMap(name, metadata=_metadata(name, site), data={f"{of}.json": text}, opts=options)


def _metadata(name: str, site: SiteFacts) -> dict[str, Any]:
    return {"name": name, "namespace": site.namespace, "labels": dict(PART_OF)}


def _site_ca(ca: str, site: SiteFacts, options: pulumi.ResourceOptions) -> None:
    """The CA for clients: a ConfigMap, and a Secret for what can only mount Secrets."""
    metadata = _metadata(naming.SITE_CA, site)
    ConfigMap(naming.SITE_CA, metadata=metadata, data={"ca.crt": ca}, opts=options)
    Secret(naming.SITE_CA, metadata=metadata, string_data={"ca.crt": ca}, opts=options)


def _part(
    site: SiteFacts, digest: str, parts: list[dict[str, Any] | None], missing: list[contract.Off]
) -> dict[str, Any]:
    """This layer's part of the platform contract."""
    part = contract.Platform.model_validate(
        {
            "site": site.site,
            "deployer": site.deployer,
            "namespace": site.namespace,
            "bundle_digest": digest,
            "components": [part for part in parts if part],
            "off": missing,
        }
    )
    return part.model_dump(mode="json")
