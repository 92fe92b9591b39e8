"""The layers of a platform, lowest first. Whatever goes layer by layer derives its order from here.

A site builds a layer where `stacks/Pulumi.<site>-<layer>.yaml` stands. Nothing else is imported
here: the driver and the validator read this tuple too.
"""

from __future__ import annotations

from pathlib import Path

CLUSTER = "cluster"  # what is cluster-scoped; the layers above live in one namespace
ABOUT = {
    CLUSTER: "node pools, storage, priorities",
    "data": "the data services",
    "observe": "metrics, alerts, logs",
    "ml": "experiments, models, pipelines",
    "devops": "code and artefacts",
}
LAYERS = tuple(ABOUT)


def stack_file(folder: Path, site: str, layer: str) -> Path:
    """Where the settings of one layer of a site stand."""
    return folder / f"Pulumi.{site}-{layer}.yaml"


def standing(folder: Path, site: str) -> tuple[str, ...]:
    """The layers that this site builds, lowest first; `folder` holds the stack files."""
    return tuple(layer for layer in LAYERS if stack_file(folder, site, layer).is_file())


def platform(layers: tuple[str, ...]) -> tuple[str, ...]:
    """Those that live in the platform's namespace."""
    return tuple(layer for layer in layers if layer != CLUSTER)
