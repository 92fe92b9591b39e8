"""The bundle's OCI layout on a host: boot images for containerd, a tree for the registry.

Standard library only: it runs on bare hosts.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

PREFIX = "apadana.local/"
REF_NAME = "org.opencontainers.image.ref.name"
CONTAINERD_NAME = "io.containerd.image.name"
PINNED = "io.cri-containerd.pinned"
MARK = ".layout-digest"


class LayoutError(Exception):
    """The layout lacks something, or an image cannot be loaded from it."""


def index_of(layout: Path) -> dict[str, dict[str, Any]]:
    """Descriptor by full reference, as `apadana.local/<name>:<version>`."""
    path = layout / "index.json"
    try:
        index = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise LayoutError(f"{path} is missing; is the bundle on this host?") from None
    return {
        item["annotations"][REF_NAME]: item for item in index["manifests"] if REF_NAME in item.get("annotations", {})
    }


def chosen(layout: Path, names: list[str]) -> dict[str, dict[str, Any]]:
    """The descriptors of the images with these names, whatever their version."""
    found, known = {}, index_of(layout)
    for name in names:
        hits = [ref for ref in known if ref.startswith(f"{PREFIX}{name}:")]
        if not hits:
            raise LayoutError(f"the bundle has no image {name}; it has {', '.join(sorted(known))}")
        found.update({ref: known[ref] for ref in hits})
    return found


def blob(layout: Path, digest: str) -> Path:
    algorithm, _, value = digest.partition(":")
    return layout / "blobs" / algorithm / value


def parts(layout: Path, descriptor: dict[str, Any]) -> Iterator[str]:
    """Digests of a manifest (or an index of manifests) and of all that it names."""
    yield descriptor["digest"]
    document = json.loads(blob(layout, descriptor["digest"]).read_bytes())
    for child in document.get("manifests", []):
        yield from parts(layout, child)
    if "config" in document:
        yield document["config"]["digest"]
        yield from (layer["digest"] for layer in document["layers"])


def containerd_images() -> dict[str, tuple[str, bool]]:
    """(digest, pinned) by reference; nothing while containerd is not there."""
    try:
        done = subprocess.run(
            ["ctr", "--namespace", "k8s.io", "images", "ls"], capture_output=True, text=True, timeout=30, check=False
        )
    except FileNotFoundError:
        return {}
    rows = (line.split() for line in done.stdout.splitlines()[1:])
    return {row[0]: (row[2], f"{PINNED}=pinned" in row[-1]) for row in rows if len(row) > 3}


def missing_images(layout: Path, names: list[str]) -> dict[str, tuple[str, str]]:
    """(wanted, seen) by reference for the images that are absent, other or not pinned."""
    have, found = containerd_images(), {}
    for ref, descriptor in chosen(layout, names).items():
        digest, pinned = have.get(ref, ("absent", False))
        if digest != descriptor["digest"] or not pinned:
            seen = digest if digest != descriptor["digest"] else "not pinned"
            found[ref] = (descriptor["digest"], seen)
    return found


def load_images(layout: Path, refs: list[str]) -> None:
    """Streams a part of the layout into containerd and pins it against collection."""
    command = ["ctr", "--namespace", "k8s.io", "images", "import", "-"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as ctr:
        assert ctr.stdin is not None and ctr.stdout is not None
        broken = False
        try:
            write_archive(layout, refs, ctr.stdin)
            ctr.stdin.close()
        except BrokenPipeError:
            broken = True
        words = ctr.stdout.read().decode(errors="replace")
    if ctr.returncode or broken:
        raise LayoutError(f"containerd refused {', '.join(refs)}: {words.strip()[-600:]}")
    for ref in refs:
        subprocess.run(
            ["ctr", "--namespace", "k8s.io", "images", "label", ref, f"{PINNED}=pinned"],
            check=True,
            capture_output=True,
            timeout=30,
        )


def write_archive(layout: Path, refs: list[str], out: IO[bytes]) -> None:
    """An OCI archive of the chosen images; blobs that they share go in once."""
    known = index_of(layout)
    # containerd puts a prefix before a plain ref.name; this annotation it takes as it is.
    named = [{**known[ref], "annotations": {**known[ref]["annotations"], CONTAINERD_NAME: ref}} for ref in refs]
    index = {"schemaVersion": 2, "manifests": named}
    texts = {"oci-layout": {"imageLayoutVersion": "1.0.0"}, "index.json": index}
    digests = dict.fromkeys(part for ref in refs for part in parts(layout, known[ref]))
    with tarfile.open(fileobj=out, mode="w|") as archive:
        for name, text in texts.items():
            data = json.dumps(text).encode()
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
        for digest in digests:
            path = blob(layout, digest)
            entry = tarfile.TarInfo(f"blobs/{digest.replace(':', '/')}")
            entry.size = path.stat().st_size
            with path.open("rb") as file:
                archive.addfile(entry, file)


def layout_digest(layout: Path) -> str:
    try:
        return hashlib.sha256((layout / "index.json").read_bytes()).hexdigest()
    except FileNotFoundError:
        raise LayoutError(f"{layout}/index.json is missing; is the bundle here?") from None


def tree_digest(root: Path) -> str:
    """Of the layout that it was made of; a tree that the registry's user can't read is none."""
    mark = root / MARK
    if not mark.exists():
        return "absent"
    if any(folder.stat().st_mode & 0o005 != 0o005 for folder in _outer(root) if folder.is_dir()):
        return "closed to the registry"
    return mark.read_text().strip()


def _outer(root: Path) -> list[Path]:
    base = root / "docker" / "registry" / "v2"
    return [root, root / "docker", base.parent, base, base / "blobs", base / "repositories"]


def make_tree(layout: Path, root: Path) -> None:
    """The registry's storage: links to the bundle's blobs, no second copy of a byte."""
    fresh = root.with_name(f"{root.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    before = os.umask(0o022)  # the registry runs as a user of its own
    try:
        _fill(layout, fresh)
    finally:
        os.umask(before)
    old = root.with_name(f"{root.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if root.exists():
        root.rename(old)
    fresh.rename(root)
    shutil.rmtree(old, ignore_errors=True)


def _fill(layout: Path, fresh: Path) -> None:
    base = fresh / "docker" / "registry" / "v2"
    for ref, descriptor in index_of(layout).items():
        name, _, tag = ref.removeprefix(PREFIX).rpartition(":")
        add_image(layout, base, name, tag, descriptor)
    (fresh / MARK).write_text(layout_digest(layout) + "\n")


def add_image(layout: Path, base: Path, name: str, tag: str, top: dict[str, Any]) -> None:
    repository = base / "repositories" / name
    tags = repository / "_manifests" / "tags" / tag
    link(tags / "current" / "link", top["digest"])
    link(tags / "index" / place(top["digest"]) / "link", top["digest"])
    manifests = {top["digest"]}
    document = json.loads(blob(layout, top["digest"]).read_bytes())
    manifests |= {child["digest"] for child in document.get("manifests", [])}
    for digest in parts(layout, top):
        kind = "_manifests/revisions" if digest in manifests else "_layers"
        link(repository / kind / place(digest) / "link", digest)
        value = digest.partition(":")[2]
        data = base / "blobs" / "sha256" / value[:2] / value / "data"
        if not data.is_symlink():
            data.parent.mkdir(parents=True, exist_ok=True)
            data.symlink_to(blob(layout, digest))


def place(digest: str) -> str:
    return digest.replace(":", "/")


def link(path: Path, digest: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(digest)
    path.chmod(0o644)
