"""Where a site's things lie, and what its contract and the rooms offer."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from common import inventory, places
from components.kit import contract, layers, manifest
from validate.core.errors import ValidateError
from validate.ground.kubectl import Cluster, find_kubectl

REPOSITORY = Path(__file__).resolve().parents[2]
STACK_SUFFIXES = tuple(f"-{layer}" for layer in layers.LAYERS)


@dataclass(frozen=True)
class Site:
    name: str
    state: Path
    bundle: Path
    platform: contract.Platform

    @property
    def cluster(self) -> Cluster:
        kubeconfig = self.state / "kubeconfig"
        if not kubeconfig.is_file():
            raise ValidateError(
                f"no kubeconfig at {kubeconfig}: build the cluster first (`make up`), "
                "or set APADANA_STATE to the folder that holds the sites"
            )
        return Cluster(kubeconfig, find_kubectl(self.bundle))

    @property
    def inventory(self) -> Path:
        """Of its machines; a client's cluster has none."""
        return REPOSITORY / "inventories" / self.name / "hosts.yml"

    @property
    def is_lab(self) -> bool:
        """Whether it may be broken without its owner's word: its inventory says so, or it is a platform of
        processes on this machine."""
        return (self.state / "local.json").is_file() or inventory.is_lab(self.inventory)

    @property
    def rooms(self) -> Path:
        """The folder with a folder for each component; a platform of processes brings its own."""
        place = self.state / "local.json"
        if not place.is_file():
            return REPOSITORY / "components"
        return self.state / str(json.loads(place.read_text())["rooms"])

    def probed(self, chosen: Sequence[contract.Component]) -> list[contract.Component]:
        """Those whose room has a probe."""
        return [c for c in chosen if self._probe(c).is_file()]

    def writing(self, chosen: Sequence[contract.Component]) -> list[contract.Component]:
        """Those whose probe has a writer: what can be audited."""
        return [
            c
            for c in self.probed(chosen)
            if re.search(r"^def writer\b", self._probe(c).read_text(encoding="utf-8"), re.MULTILINE)
        ]

    def _probe(self, component: contract.Component) -> Path:
        return self.rooms / component.name / "probe.py"

    @property
    def reports(self) -> Path:
        """Beside the site's folder: what was proved of a site outlives it."""
        return self.state.parent / "reports" / self.name

    @property
    def logs(self) -> Path:
        return self.state.parent / "logs" / self.name

    @property
    def site_ca(self) -> Path:
        return self.state / "pki" / "ca.crt"

    def image(self, name: str) -> str:
        try:
            return manifest.read(self.bundle).image(name)
        except manifest.ManifestError as error:
            raise ValidateError(str(error)) from error

    def components(self, only: str | None = None) -> list[contract.Component]:
        found = list(self.platform.components)
        if only is None:
            return found
        chosen = [c for c in found if c.name == only]
        if not chosen:
            known = ", ".join(c.name for c in found) or "none"
            raise ValidateError(f"--only {only}: the contract of {self.name} has no such component; it has: {known}")
        return chosen


def load(stack: str) -> Site:
    """`stack`: the site's name, or one of its stacks (lab, lab-data, lab-cluster)."""
    name = stack
    for suffix in STACK_SUFFIXES:
        name = name.removesuffix(suffix)
    root = places.state()
    state = root / name
    if not state.is_dir():
        marks = ("kubeconfig", "local.json")
        known = ", ".join(sorted(p.name for p in root.glob("*/") if any((p / m).exists() for m in marks)))
        raise ValidateError(
            f"--stack {stack}: there is no site {name!r} under {root} (APADANA_STATE); sites: {known or 'none'}"
        )
    try:
        platform = contract.load(state / "platform.json")
    except contract.ContractError as error:
        raise ValidateError(str(error)) from error
    if platform.site != name:
        raise ValidateError(f"{state / 'platform.json'} is the contract of site {platform.site!r}, not {name!r}")
    return Site(name, state, places.bundle(), platform)
