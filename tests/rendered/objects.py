"""Every object that a room makes with given settings: those of its chart, and those that its
component makes itself, which are caught by Pulumi's own mocks."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pulumi
import pytest
import yaml

from components.kit import chart, crds, pki
from components.kit.component import Vault
from components.kit.discovery import room as find
from components.kit.discovery import rooms
from components.kit.half import PaperKeys
from components.kit.settings import ComponentSettings, SiteFacts
from stacks.halves import FILE, half_class
from stacks.program import component_class
from tests.rendered.datarooms import Document, helm_template
from tests.unit.test_kit_component import Recorder

CACHE = Path(os.environ.get("APADANA_CACHE", "/var/cache/apadana"))
SECRET = "4dabf18193072939515e22adb298388d"  # how Pulumi marks a secret value on the wire


class Maker:
    """Runs rooms; nothing gets into a cluster."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        asyncio.set_event_loop(asyncio.new_event_loop())
        self.mocks = Recorder()
        pulumi.runtime.set_mocks(self.mocks, project="apadana", stack="lab-data")
        # The chart is rendered by helm; its Pulumi half needs an engine.
        patch.setattr(chart, "install", lambda *_, **__: None)
        pki.ensure_ca(folder, "lab")
        self.vault = Vault(bytes(range(32)), folder)

    def made(self, name: str, settings: ComponentSettings, site: SiteFacts) -> list[Document]:
        """The component's own objects."""
        self.mocks.made.clear()

        @pulumi.runtime.test  # type: ignore[untyped-decorator]
        def run() -> pulumi.Output[Any]:
            return component_class(find(name))(settings, site, self.vault).contract

        run()
        own = (args for args in self.mocks.made if args.typ.startswith("kubernetes:"))
        return [_document(args.typ, args.inputs) for args in own]


def rendered(name: str, settings: ComponentSettings, site: SiteFacts) -> list[Document]:
    """The chart's objects."""
    values = find(name).module("settings").values(settings, site)
    done = helm_template(name, values, site.namespace)
    assert done.returncode == 0, done.stderr
    return [document for document in yaml.safe_load_all(done.stdout) if document]


def halved(name: str, settings: ComponentSettings, site: SiteFacts) -> list[Document]:
    """The cluster-scoped half's objects, but for its definitions."""
    if not find(name).has(FILE):
        return []
    return [dict(item) for item in half_class(find(name)).objects(settings, site, PaperKeys())]


def definitions(folder: Path) -> list[Document]:
    """The kinds that halves bring, from what a bundle was built of; none where none was built."""
    found: list[Document] = []
    for room in rooms():
        for binary, names in half_class(room).crds.items() if room.has(FILE) else ():
            built = sorted(CACHE.glob(f"module/{binary}-*/crds"), key=lambda p: p.stat().st_mtime)
            if built:
                (folder / binary).symlink_to(built[-1])
                found += [dict(item) for item in crds.read(folder, binary, names)]
    return found


def _document(kind: str, inputs: Any) -> Document:
    """As it is sent: Pulumi's numbers are all floats, its patches are of the object itself."""
    group, _, name = kind.removeprefix("kubernetes:").partition(":")
    found: Document = _plain(inputs)
    version = group.removeprefix("core/")
    return {"apiVersion": version, "kind": name.removesuffix("Patch"), **found}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return _plain(value["value"]) if SECRET in value else {k: _plain(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def claims(documents: list[Document]) -> Iterator[tuple[str, int, int, int]]:
    """Class, GiB, members, volumes of each: what the StatefulSets ask for."""
    for document in documents:
        for template in document.get("spec", {}).get("volumeClaimTemplates", ()):
            spec = template["spec"]
            size = int(spec["resources"]["requests"]["storage"].removesuffix("Gi"))
            yield spec["storageClassName"], size, document["spec"]["replicas"], 1
