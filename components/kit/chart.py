"""Installs a room's chart with an object-level diff (helm.v4.Chart: no hooks, no Helm release)."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pulumi
from pulumi_kubernetes.helm.v4 import Chart

from components.kit.discovery import COMPONENTS

STATEFUL = "kubernetes:apps/v1:StatefulSet"


def _keep_state(args: pulumi.ResourceTransformArgs) -> pulumi.ResourceTransformResult | None:
    """StatefulSets outlive the stack."""
    if args.type_ != STATEFUL:
        return None
    kept = pulumi.ResourceOptions(retain_on_delete=True)
    return pulumi.ResourceTransformResult(props=args.props, opts=pulumi.ResourceOptions.merge(args.opts, kept))


def install(
    room: str, values: Mapping[str, object], *, namespace: str, parent: pulumi.Resource, depends_on: Sequence[Any] = ()
) -> Chart:
    """Install components/<room>/chart under the room's name."""
    path = COMPONENTS / room / "chart"
    if not (path / "Chart.yaml").exists():
        raise FileNotFoundError(f"room {room} has no chart: {path / 'Chart.yaml'} is missing")
    # Relative to the program: an absolute path would put this machine's name into the state.
    relative = os.path.relpath(path, Path.cwd())
    return Chart(
        room,
        chart=relative,
        name=room,
        namespace=namespace,
        values=dict(values),
        opts=pulumi.ResourceOptions(parent=parent, depends_on=list(depends_on), transforms=[_keep_state]),
    )
