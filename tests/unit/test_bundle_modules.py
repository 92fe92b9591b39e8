"""Files out of Go modules: CRDs for the bundle, data for an image's build."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from pydantic import ValidationError

from bundle import files, gobuild, modules, sbom, versions
from bundle.collect import Collector
from bundle.errors import BundleError
from bundle.images import ImageBuilder
from bundle.places import Places, places
from common import files as whole

BINARY = {"set": "demo", "package": ".", "module": "example.org/demo", "version": "v1.0.0", "licence": "MIT"}


def module(folder: Path) -> Path:
    for name in ("crds/a.yaml", "crds/b.yaml", "more/a.yaml", "web/index.html", "web/js/x.js"):
        whole.write(folder / name, name, mode=0o444)
    return folder


def binary(**more: object) -> versions.Binary:
    return versions.Binary.model_validate(BINARY | more)


def test_patterns_and_folders_are_copied_writable(tmp_path: Path) -> None:
    wanted = binary(crds=["crds/*.yaml"], files={"page": "web", "one.yaml": "more/a.yaml"})
    (tmp_path / "part").mkdir()
    modules.copy(wanted, "demo", module(tmp_path / "module"), tmp_path / "part")
    there = {
        path.relative_to(tmp_path / "part").as_posix(): path.stat().st_mode & 0o777
        for path in (tmp_path / "part").rglob("*")
        if path.is_file()
    }
    names = {"crds/a.yaml", "crds/b.yaml", "files/page/index.html", "files/page/js/x.js"}
    assert there == dict.fromkeys(names | {"files/one.yaml"}, 0o644)


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"crds": ["crds/*.json"]}, "finds no file"),
        ({"crds": ["crds/a.yaml", "more/*.yaml"]}, "two files of the name a.yaml"),
        ({"files": {"x": "nothing"}}, "does not have"),
    ],
)
def test_what_the_module_does_not_give_is_told(tmp_path: Path, more: dict[str, object], told: str) -> None:
    (tmp_path / "part").mkdir()
    with pytest.raises(BundleError, match=told):
        modules.copy(binary(**more), "demo", module(tmp_path / "module"), tmp_path / "part")


def test_another_module_s_definitions_lie_beside_the_own_and_say_whose_they_are(tmp_path: Path) -> None:
    other = "example.org/other@v2.0.0"
    told = pins(crds=["crds/a.yaml"], crds_of={other: ["more/o_*.yaml"]})
    wanted, here = told.go.binaries["demo"], Places(tmp_path / "repository", tmp_path / "cache", tmp_path / "state")
    whole.write(tmp_path / "other" / "more" / "o_x.yaml", "o")
    (tmp_path / "part").mkdir()
    modules.copy(wanted, "demo", module(tmp_path / "module"), tmp_path / "part", {other: tmp_path / "other"})
    collector = Collector(here, told, files.Memo(tmp_path / "memo"))
    items = [item.artefact for item in collector.crds({"demo": tmp_path / "part"})]
    assert [(item.path, item.origin, item.version) for item in items] == [
        ("crds/demo/a.yaml", "example.org/demo", "v1.0.0"),
        ("crds/demo/o_x.yaml", "example.org/other", "v2.0.0"),
    ]


def test_another_module_in_another_version_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = Places(tmp_path / "repository", tmp_path / "cache", tmp_path / "state")
    whole.write(here.go_sets / "demo" / "go.mod", "module demo\n")
    monkeypatch.setattr(modules, "module_folder", lambda name, *_: tmp_path / f"{name}@v1.9.0")
    told = pins(crds_of={"example.org/other@v2.0.0": ["more/*.yaml"]})
    with pytest.raises(BundleError, match=r"names example.org/other@v2.0.0, and the set has other@v1.9.0"):
        modules.collect(here, told.go, "demo")


@pytest.mark.parametrize("more", [{"crds_of": {"m@v1": ["../x"]}}, {"crds": ["../x"]}, {"files": {"a": "/etc"}}])
def test_a_path_that_leaves_the_module_is_refused(more: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="below the module"):
        binary(**more)


def pins(**more: object) -> versions.Versions:
    own = versions.load(places().versions)
    image = versions.Image(version="1", licence="MIT", folder="demo", binaries=("demo",))
    go = own.go.model_copy(update={"binaries": {"demo": binary(**more)}})
    return own.model_copy(update={"go": go, "images": {"demo": image}})


def test_crds_lie_in_the_bundle_by_binary(tmp_path: Path) -> None:
    told = pins(crds=["crds/*.yaml"])
    here = Places(tmp_path / "repository", tmp_path / "cache", tmp_path / "state")
    folder = tmp_path / "part"
    folder.mkdir()
    modules.copy(told.go.binaries["demo"], "demo", module(tmp_path / "module"), folder)
    collector = Collector(here, told, files.Memo(tmp_path / "memo"))
    items = [item.artefact for item in collector.crds({"demo": folder})]
    assert [item.path for item in items] == ["crds/demo/a.yaml", "crds/demo/b.yaml"]
    assert {item.origin for item in items} == {"example.org/demo"}
    assert "crds/demo/a.yaml" in sbom.text(items, "amd64", {})


def test_files_are_mounted_where_the_binary_is(tmp_path: Path) -> None:
    here = Places(tmp_path / "repository", tmp_path / "cache", tmp_path / "state")
    inputs = {"module/demo": tmp_path / "files"}
    with_files = ImageBuilder(here, pins(files={"page": "web"}), [], inputs)
    image = with_files.versions.images["demo"]
    assert with_files._mounted(image) == {"/module-in/demo": tmp_path / "files"}
    assert ImageBuilder(here, pins(), [], inputs)._mounted(image) == {}


def test_its_key_follows_the_pins_and_not_the_code(tmp_path: Path) -> None:
    here = Places(tmp_path / "repository", tmp_path / "cache", tmp_path / "state")
    first = modules.folder(here, pins(crds=["a"]).go, "demo")
    assert modules.folder(here, pins(crds=["a"], tags=["x"]).go, "demo") == first
    assert modules.folder(here, pins(crds=["b"]).go, "demo") != first
    assert modules.folder(here, pins(crds=["a"], crds_of={"m@v1": ["x"]}).go, "demo") != first


def derived(tmp_path: Path, **files_: str) -> tuple[versions.Binary, Path, Path]:
    source = tmp_path / "source"
    whole.write(source / "go.mod", "module set\n\nrequire example.org/demo v1.0.0\n")
    for name in ("go.mod", *files_):
        text = files_.get(name, "module example.org/demo\n")
        whole.write(tmp_path / "module" / name, text, mode=0o444)
    return binary(derive={"linux.go": "darwin.go"}), source, tmp_path / "module"


def test_a_file_that_a_module_lacks_is_a_copy_of_its_own(tmp_path: Path) -> None:
    wanted, source, module_ = derived(tmp_path, **{"darwin.go": "package demo\n"})
    gobuild.derive(wanted, source, module_, dict(os.environ))
    assert (source / "module" / "linux.go").read_text() == "package demo\n"
    assert not (module_ / "linux.go").exists()
    assert "replace example.org/demo => ./module" in (source / "go.mod").read_text()


def test_a_module_that_has_the_file_by_now_is_told(tmp_path: Path) -> None:
    given = {"darwin.go": "package demo\n", "linux.go": "package demo\n"}
    with pytest.raises(BundleError, match="has by now"):
        gobuild.derive(*derived(tmp_path, **given), {})


def test_a_file_that_is_no_more_is_told(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"derive names 'darwin\.go'"):
        gobuild.derive(*derived(tmp_path), {})


@pytest.mark.parametrize("place", ["/etc/x.go", "../x.go"])
def test_nothing_is_derived_outside_the_module(place: str) -> None:
    with pytest.raises(ValidationError, match="below the module"):
        binary(derive={place: "a.go"})
