"""CustomResourceDefinitions of the bundle, made small, and who may use them. Pure but for reading.

A binary's CRDs lie in `<bundle>/crds/<binary>/`, as its module has them. A room names those that it
needs: each one costs every API server memory, and most of that is prose, which is left out here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from common.errors import Refusal
from components.kit.manifests import PART_OF, Manifest, manifest

API = "apiextensions.k8s.io/v1"
KIND = "CustomResourceDefinition"
WRITE = ["create", "delete", "deletecollection", "patch", "update"]
READ = ["get", "list", "watch"]


class CrdError(Refusal):
    """The bundle lacks a definition that a room needs."""


def read(folder: Path, binary: str, names: Iterable[str]) -> list[Manifest]:
    """The named definitions from `<folder>/<binary>/`, without their prose, sorted by name."""
    wanted = sorted(set(names))
    found: dict[str, Manifest] = {}
    for file in sorted((folder / binary).rglob("*.y*ml")):
        for document in yaml.load_all(file.read_text(encoding="utf-8"), _loader()):
            if document and document.get("kind") == KIND:
                found[document["metadata"]["name"]] = document
    missing = [name for name in wanted if name not in found]
    if missing:
        known = ", ".join(sorted(found)) or "none"
        raise CrdError(
            f"{folder / binary} lacks {', '.join(missing)} (it has: {known}); build the bundle "
            f"again, or name others in the room's cluster.py"
        )
    return [slim(found[name]) for name in wanted]


def _loader() -> Any:
    """The C parser where this Python has it: a megabyte takes it a tenth of the time."""
    return getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def slim(definition: Mapping[str, Any]) -> Manifest:
    """Without descriptions and status; validation and defaults stay as they are."""
    spec = dict(definition["spec"])
    spec["versions"] = [
        version | {"schema": {"openAPIV3Schema": _bare(version["schema"]["openAPIV3Schema"])}}
        for version in spec["versions"]
    ]
    given = definition["metadata"]
    kept = {key: given[key] for key in ("name", "annotations") if key in given}
    kept["labels"] = {**given.get("labels", {}), **PART_OF}
    return {"apiVersion": API, "kind": KIND, "metadata": kept, "spec": spec}


#: Keywords whose values map names to schemas: a name there may well be "description".
_NAMED = ("properties", "patternProperties", "definitions")


def _bare(schema: Any) -> Any:
    """A schema without its prose."""
    if isinstance(schema, list):
        return [_bare(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    bare: dict[str, Any] = {}
    for key, value in schema.items():
        if key in _NAMED and isinstance(value, dict):
            bare[key] = {name: _bare(inner) for name, inner in value.items()}
        elif key in ("default", "enum", "example"):
            bare[key] = value
        elif key != "description":
            bare[key] = _bare(value)
    return bare


def grants(room: str, definitions: Sequence[Manifest], granted: Iterable[str]) -> list[Manifest]:
    """Two ClusterRoles that the built-in admin, edit and view take up.

    So the namespace's installer, who is `admin` there, may use what `granted` names (kinds in their
    plural, with group): the rest stays with the cluster's admin.
    """
    plurals: dict[str, list[str]] = {}
    for name in sorted(set(granted)):
        plural, _, group = name.partition(".")
        plurals.setdefault(group, []).append(plural)
    scopes = {d["metadata"]["name"]: d["spec"]["scope"] for d in definitions}
    wide = [n for n in granted if scopes.get(n, "Cluster") != "Namespaced"]
    if wide:
        raise CrdError(f"{room} grants {', '.join(wide)}: not a namespaced kind of its half")
    if not plurals:
        return []
    aggregate = "rbac.authorization.k8s.io/aggregate-to-"
    return [
        _cluster_role(f"apadana-{room}-use", plurals, WRITE, [f"{aggregate}admin", f"{aggregate}edit"]),
        _cluster_role(f"apadana-{room}-see", plurals, READ, [f"{aggregate}view"]),
    ]


def _cluster_role(name: str, plurals: Mapping[str, list[str]], verbs: list[str], into: Iterable[str]) -> Manifest:
    marks = PART_OF | {label: "true" for label in into}
    rules = [
        {"apiGroups": [group], "resources": resources, "verbs": verbs} for group, resources in sorted(plurals.items())
    ]
    return manifest("rbac.authorization.k8s.io/v1", "ClusterRole", name, marks=marks, rules=rules)
