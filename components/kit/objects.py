"""Turns plain Kubernetes objects into Pulumi's resources, each with its own diff."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import pulumi

from components.kit.crds import KIND as CRD
from components.kit.manifests import Manifest

#: What is never taken away by a run: its end would be the end of much that others made.
KEPT = ("Namespace", CRD)
#: What has parts that can't be changed in place, and is safe to be gone for a moment.
REPLACED_FIRST = ("PriorityClass", "RoleBinding", "ClusterRoleBinding")


def whole_name(item: Manifest) -> str:
    """namespace/name, or the name of what has no namespace."""
    metadata = item["metadata"]
    return "/".join(part for part in (metadata.get("namespace"), metadata["name"]) if part)


def make(
    item: Manifest, parent: pulumi.Resource, depends_on: Sequence[pulumi.Resource] = (), name: str | None = None
) -> pulumi.CustomResource:
    """One object of any kind. Its content is an input as it is: no class per kind is needed."""
    kind = item["kind"]
    kept = kind in KEPT
    hidden = ["data", "stringData"] if kind == "Secret" else []
    properties = {key: pulumi.Output.secret(value) if key in hidden else value for key, value in item.items()}
    options = pulumi.ResourceOptions(
        parent=parent,
        depends_on=list(depends_on),
        retain_on_delete=kept,
        delete_before_replace=kind in REPLACED_FIRST,
        additional_secret_outputs=hidden or None,
    )
    return pulumi.CustomResource(f"kubernetes:{_api(item)}:{kind}", name or whole_name(item), properties, options)


def _api(item: Manifest) -> str:
    """Pulumi calls the group without a name `core`."""
    api: str = item["apiVersion"]
    return api if "/" in api else f"core/{api}"


def rank(item: Manifest) -> int:
    """Namespaces, then definitions and accounts, then all that may stand on them.

    The Secret of an account's token is taken away again where the account is not there yet.
    """
    return {"Namespace": 0, CRD: 1, "ServiceAccount": 1}.get(item["kind"], 2)


def make_all(
    items: Iterable[Manifest], parent: pulumi.Resource, named: Callable[[Manifest], str] = whole_name
) -> list[pulumi.Resource]:
    """All objects, in an order that a server takes."""
    listed = list(items)
    made: list[pulumi.Resource] = []
    for level in (0, 1, 2):
        before = list(made)
        made += [make(item, parent, before, named(item)) for item in listed if rank(item) == level]
    return made
