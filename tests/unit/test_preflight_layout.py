"""What a host makes of the bundle's OCI layout: archives for containerd, the registry's tree."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest

from tests import scripts

REPOSITORY = Path(__file__).parents[2]


oci_layout = scripts.load(scripts.PLAYBOOKS / "module_utils" / "oci_layout.py")


def put(layout: Path, data: bytes) -> dict[str, Any]:
    value = hashlib.sha256(data).hexdigest()
    path = layout / "blobs" / "sha256" / value
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return {"digest": f"sha256:{value}", "size": len(data)}


@pytest.fixture
def layout(tmp_path: Path) -> Path:
    """Two images that share one layer, as ours share their base."""
    folder, shared, found = tmp_path / "images", b"shared layer", []
    for ref in ("pause:1", "etcd:2"):
        config = put(folder, json.dumps({"for": ref}).encode())
        manifest = {"config": config, "layers": [put(folder, shared)]}
        top = put(folder, json.dumps(manifest).encode())
        name = {oci_layout.REF_NAME: f"apadana.local/{ref}"}
        found.append({**top, "annotations": name})
    (folder / "index.json").write_text(json.dumps({"manifests": found}))
    return folder


def test_an_archive_holds_the_chosen_image_alone(layout: Path) -> None:
    out = io.BytesIO()
    oci_layout.write_archive(layout, ["apadana.local/pause:1"], out)
    with tarfile.open(fileobj=io.BytesIO(out.getvalue())) as archive:
        names = archive.getnames()
        index = json.load(archive.extractfile("index.json") or io.BytesIO())
    assert len([name for name in names if name.startswith("blobs/")]) == 3
    [entry] = index["manifests"]
    # containerd would prefix a plain ref.name with a name of its own.
    assert entry["annotations"][oci_layout.CONTAINERD_NAME] == "apadana.local/pause:1"


def test_blobs_that_images_share_go_in_once(layout: Path) -> None:
    out = io.BytesIO()
    oci_layout.write_archive(layout, ["apadana.local/pause:1", "apadana.local/etcd:2"], out)
    with tarfile.open(fileobj=io.BytesIO(out.getvalue())) as archive:
        names = archive.getnames()
    assert len(names) == len(set(names)) == 2 + 5


def test_an_image_that_the_bundle_lacks_is_told_with_what_it_has(layout: Path) -> None:
    with pytest.raises(oci_layout.LayoutError, match=r"no image kafka; it has .*etcd:2"):
        oci_layout.chosen(layout, ["kafka"])


def test_a_missing_bundle_is_told(tmp_path: Path) -> None:
    with pytest.raises(oci_layout.LayoutError, match="is the bundle on this host"):
        oci_layout.index_of(tmp_path)


def test_the_registry_tree_is_links_and_no_second_copy(layout: Path, tmp_path: Path) -> None:
    root = tmp_path / "registry"
    oci_layout.make_tree(layout, root)
    data = sorted(root.rglob("data"))
    assert len(data) == 5
    assert all(path.is_symlink() and path.exists() for path in data)
    tag = root / "docker/registry/v2/repositories/pause/_manifests/tags/1/current/link"
    digest = tag.read_text()
    assert digest == oci_layout.index_of(layout)["apadana.local/pause:1"]["digest"]
    revision = root / "docker/registry/v2/repositories/pause/_manifests/revisions"
    assert (revision / digest.replace(":", "/") / "link").read_text() == digest
    assert oci_layout.tree_digest(root) == oci_layout.layout_digest(layout)


def test_a_tree_is_made_anew_whole(layout: Path, tmp_path: Path) -> None:
    root = tmp_path / "registry"
    oci_layout.make_tree(layout, root)
    (root / "stray").write_text("left by hand")
    oci_layout.make_tree(layout, root)
    assert not (root / "stray").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images", "registry"]


@pytest.mark.parametrize("umask", [0o022, 0o027, 0o077])
def test_the_registrys_own_user_reads_the_tree_whatever_the_hosts_umask(
    layout: Path, tmp_path: Path, umask: int
) -> None:
    root, before = tmp_path / "registry", os.umask(umask)
    try:
        oci_layout.make_tree(layout, root)
        assert os.umask(umask) == umask
    finally:
        os.umask(before)
    made = [root, *(path for path in root.rglob("*") if not path.is_symlink())]
    closed = [path for path in made if not path.stat().st_mode & 0o004]
    assert closed == []
    assert oci_layout.tree_digest(root) == oci_layout.layout_digest(layout)


@pytest.mark.parametrize("folder", ["", "docker", "docker/registry/v2/blobs"])
def test_a_tree_that_is_closed_to_the_registry_is_a_drift(layout: Path, tmp_path: Path, folder: str) -> None:
    root = tmp_path / "registry"
    oci_layout.make_tree(layout, root)
    (root / folder).chmod(0o700)
    assert oci_layout.tree_digest(root) == "closed to the registry"
    oci_layout.make_tree(layout, root)
    assert oci_layout.tree_digest(root) == oci_layout.layout_digest(layout)
