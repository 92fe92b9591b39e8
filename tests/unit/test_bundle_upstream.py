"""Images of others: collected by digest, or said to be missing by whoever could not have them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import yaml

from bundle import build, manifest, oci, space, upstream, versions
from bundle.collect import Collector
from bundle.errors import BundleError
from bundle.images import BuiltImage, ImageBuilder
from bundle.places import Places, places
from common import files as whole
from components.kit import manifest as kit

DIGEST = "sha256:" + "a" * 64
REF = "registry.example/team/tool:1.2"
TOOL = {"version": "1.2", "licence": "MIT", "upstream": {"ref": REF, "digest": DIGEST}}


def pins(folder: Path, **images: object) -> tuple[Places, versions.Versions]:
    """A repository that has the image `tool` from upstream and little else."""
    data = yaml.safe_load(places().versions.read_text())
    base = {"version": "13", "licence": "x", "base": True, "ship": False}
    data |= {"maven": {}, "images": {"debian": base, "tool": TOOL} | images}
    data["python"]["sets"] = {}
    data["debian"]["images"] = {}
    data["go"]["binaries"] = {}
    made = Places(folder / "repository", folder / "cache", folder / "state")
    whole.write(made.versions, yaml.safe_dump(data))
    whole.write(made.debian_lock, "")
    made.cache.mkdir()
    return made, versions.load(made.versions)


def answering(here: Places) -> Callable[..., str]:
    """In place of skopeo: a registry that serves the digest, and what it writes."""

    def run(command: Sequence[str | Path], **_: object) -> str:
        words = [str(word) for word in command]
        assert words[-2] == f"docker://registry.example/team/tool@{DIGEST}"
        raw = {name: f"{name} of tool".encode() for name in ("config", "layer")}
        parts = {name: "sha256:" + hashlib.sha256(data).hexdigest() for name, data in raw.items()}
        body = {
            "config": {"digest": parts["config"], "size": len(raw["config"])},
            "layers": [{"digest": parts["layer"], "size": len(raw["layer"])}],
        }
        raw["manifest"] = json.dumps(body).encode()
        for data in raw.values():
            digest = "sha256:" + hashlib.sha256(data).hexdigest()
            whole.write(here.layout / oci.Blob(digest, 0).path, data)
        listed = {"apadana.local/tool:1.2": (digest, len(raw["manifest"]))}
        whole.write(here.layout / "index.json", oci.index(listed))
        return ""

    return run


def refusing(*_: object, **__: object) -> str:
    raise BundleError("skopeo: dial tcp 192.0.2.1:443: i/o timeout")


def a_build(folder: Path, monkeypatch: pytest.MonkeyPatch, **images: object) -> tuple[Places, build.Build]:
    """A build whose own images are there already."""
    here, told = pins(folder, **images)
    made = build.Build(here, told)
    monkeypatch.setattr(space, "check", lambda *_: 0)
    monkeypatch.setattr(Collector, "debs", lambda *_: iter(()))
    monkeypatch.setattr(Collector, "repository", lambda *_: iter(()))
    ready = ImageBuilder.ready

    def with_base(self: ImageBuilder, name: str) -> object:
        mark = BuiltImage(name, "13", oci.Manifest(oci.Blob(DIGEST, 0), "", (oci.Blob(DIGEST, 0),)))
        return mark if name == "debian" else ready(self, name)

    monkeypatch.setattr(ImageBuilder, "ready", with_base)
    return here, made


def run(here: Places, made: build.Build, *, allow_missing: bool = False) -> build.Outcome:
    return made.run(here.output, here.private_key, here.public_key, allow_missing=allow_missing)


def test_an_image_of_others_is_collected_once_and_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here, made = a_build(tmp_path, monkeypatch)
    monkeypatch.setattr(upstream, "run", answering(here))
    assert run(here, made).missing == ()
    (item,) = [item for item in manifest.read(here.output).artefacts if item.kind == "image"]
    assert item.origin == f"{REF}@{DIGEST}"
    assert kit.read(here.output).image("tool").startswith("apadana.local/tool@sha256:")
    monkeypatch.setattr(upstream, "run", refusing)
    assert not run(here, build.Build(here, versions.load(here.versions))).changed


def test_a_build_without_its_registry_fails_before_it_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here, made = a_build(tmp_path, monkeypatch, more=TOOL)
    monkeypatch.setattr(upstream, "run", refusing)
    with pytest.raises(BundleError) as caught:
        run(here, made)
    text = str(caught.value)
    assert "2 upstream image(s)" in text
    assert f"image more, {REF}: its registry cannot be reached" in text
    assert "--allow-missing" in text
    assert not here.output.exists()


def test_what_is_missing_is_said_everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    above = {"version": "2", "licence": "MIT", "folder": "above"}
    here, made = a_build(tmp_path, monkeypatch, above=above)
    whole.write(here.repository / "above/Containerfile", "FROM apadana.local/tool:1.2\n")
    monkeypatch.setattr(upstream, "run", refusing)
    outcome = run(here, made, allow_missing=True)
    assert [str(item) for item in outcome.missing] == [
        "image above 2: it stands on tool",
        f"image tool {REF}: its registry cannot be reached",
    ]
    assert manifest.read(here.output).missing == outcome.missing
    with pytest.raises(kit.ManifestError, match=r"without the image 'tool'.*cannot be reached"):
        kit.read(here.output).image("tool")
    with pytest.raises(kit.ManifestError, match="stands on tool"):
        kit.read(here.output).image("above")
    again = build.Build(here, versions.load(here.versions))
    assert not run(here, again, allow_missing=True).changed


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("manifest unknown", "does not have this digest"),
        ("unauthorized: authentication required", "wants a login"),
        ("dial tcp: lookup registry.example: no such host", "cannot be reached"),
        ("no space left on device", "could not be collected"),
    ],
)
def test_the_reason_repeats_whatever_the_words_of_the_day(said: str, why: str) -> None:
    ref = versions.Upstream(ref=REF, digest=DIGEST)
    assert why in upstream.UpstreamError("tool", ref, said).why


@pytest.mark.parametrize(
    "image",
    [
        {"upstream": {"ref": "registry.example/team/tool", "digest": DIGEST}},
        {"upstream": {"ref": REF, "digest": "latest"}},
        {"upstream": {"ref": REF, "digest": DIGEST}, "folder": "here"},
        {"upstream": {"ref": REF, "digest": DIGEST}, "binaries": ["helm"]},
    ],
)
def test_a_reference_that_is_no_pin_is_refused(image: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"upstream|folder"):
        versions.Image.model_validate({"version": "1", "licence": "MIT", **image})
