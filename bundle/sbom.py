"""The software bill of materials: CycloneDX, from the manifest and what Go wrote into binaries."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote

from bundle.manifest import Artefact

NAME = "sbom.cdx.json"


def _purl(item: Artefact, architecture: str) -> str | None:
    version = quote(item.version, safe="")
    if item.kind == "deb":
        return f"pkg:deb/debian/{item.name}@{version}?arch={architecture}"
    if item.kind == "image":
        return f"pkg:oci/{item.name}@{quote(item.digest, safe='')}"
    if item.kind == "wheel":
        return f"pkg:pypi/{item.name.lower()}@{version}"
    if item.kind == "binary" and "/" in item.origin:
        return f"pkg:golang/{item.origin}@{version}"
    return None


def modules(text: str) -> list[dict[str, str]]:
    """The modules that `go version -m` lists."""
    found = []
    for line in text.splitlines():
        words = line.split()
        if len(words) >= 3 and words[0] == "dep":
            found.append(
                {
                    "type": "library",
                    "name": words[1],
                    "version": words[2],
                    "purl": f"pkg:golang/{words[1]}@{quote(words[2], safe='')}",
                }
            )
    return found


def text(artefacts: Iterable[Artefact], architecture: str, parts: Mapping[str, list[dict[str, str]]]) -> str:
    """`parts`: what a binary or image is made of, by the artefact's name."""
    components: list[dict[str, Any]] = []
    for item in artefacts:
        component: dict[str, Any] = {
            "type": "container" if item.kind == "image" else "application",
            "bom-ref": f"{item.kind}:{item.path}:{item.name}",
            "name": item.name,
            "version": item.version,
            "hashes": [{"alg": "SHA-256", "content": item.digest.removeprefix("sha256:")}],
            "licenses": [{"license": {"name": item.licence}}],
        }
        purl = _purl(item, architecture)
        if purl is not None:
            component["purl"] = purl
        if item.name in parts and item.kind in ("binary", "image"):
            component["components"] = parts[item.name]
        components.append(component)
    body = json.dumps(components, sort_keys=True)
    data = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        # From the content, so that the same bundle has the same bytes.
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, body)}",
        "version": 1,
        "components": components,
    }
    return json.dumps(data, indent=1, sort_keys=True) + "\n"
