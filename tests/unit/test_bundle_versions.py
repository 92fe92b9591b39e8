"""versions.yaml's model and debian.lock's parser: mistakes are told, all at once."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from bundle import apt, versions, wheels
from bundle.errors import BundleError
from bundle.gobuild import linker_flags
from bundle.places import places

LINE = f"etcd 1:3.6-1 amd64 {'a' * 64} 12 security pool/updates/e/etcd.deb base,hosts"


def changed(tmp_path: Path, **update: object) -> Path:
    data = yaml.safe_load(places().versions.read_text())
    path = tmp_path / "versions.yaml"
    path.write_text(yaml.safe_dump({**data, **update}))
    return path


def test_the_repository_s_own_pins_are_read() -> None:
    pins = versions.load(places().versions)
    assert pins.base_image()[0] == "debian"
    assert pins.images["kafka"].version == pins.maven["kafka"].version


def test_every_image_that_installs_has_its_own_group_of_packages() -> None:
    pins = versions.load(places().versions)
    for name, image in pins.images.items():
        path = places().repository / str(image.folder) / "Containerfile"
        if path.exists() and "apt-get install" in path.read_text():
            assert name in pins.debian.images, f"{path} installs, debian.images has no {name}"


def test_a_key_that_is_not_known_is_told_with_its_place(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"(?s)colour.*Extra inputs"):
        versions.load(changed(tmp_path, colour="blue"))


def test_names_that_lead_nowhere_are_all_told(tmp_path: Path) -> None:
    images = {
        "debian": {"version": "13", "licence": "x", "base": True},
        "a": {"version": "1", "licence": "x", "folder": "a", "binaries": ["nothing"]},
        "b": {"version": "1", "licence": "x", "folder": "b", "jars": "nowhere"},
    }
    with pytest.raises(BundleError) as caught:
        versions.load(changed(tmp_path, images=images))
    assert "'nothing'" in str(caught.value)
    assert "'nowhere'" in str(caught.value)


def test_an_image_without_a_source_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="Containerfile"):
        versions.load(changed(tmp_path, images={"x": {"version": "1", "licence": "x"}}))


def test_kubernetes_is_stamped_with_its_version() -> None:
    flags = linker_flags(versions.load(places().versions).go.binaries["kubernetes"])
    assert "k8s.io/client-go/pkg/version.gitVersion=v1.36.3" in flags
    assert "gitMajor=1" in flags
    assert "gitMinor=36" in flags


def test_the_lock_is_read_back_as_it_was_written() -> None:
    packages = apt.parse(LINE, "lock")
    assert apt.parse(apt.lines_of(packages), "lock") == packages
    assert packages[0].groups == ("base", "hosts")


def test_an_epoch_does_not_reach_a_file_s_name() -> None:
    assert apt.parse(LINE, "lock")[0].file == "etcd_3.6-1_amd64.deb"


def test_every_bad_line_of_a_lock_is_told_with_what_to_do() -> None:
    bad = [
        "etcd 1 amd64",
        LINE.replace("a" * 64, "zz"),
        LINE.replace(" 12 ", " many "),
        LINE.replace(" security ", " elsewhere "),
    ]
    with pytest.raises(BundleError) as caught:
        apt.parse("\n".join([LINE, *bad]), "debian.lock")
    text = str(caught.value)
    assert "4 bad line(s)" in text
    assert all(f"line {number}" in text for number in (2, 3, 4, 5))
    assert "python -m bundle lock" in text


def test_a_missing_lock_names_the_command(tmp_path: Path) -> None:
    from bundle import debian

    with pytest.raises(BundleError, match="python -m bundle lock"):
        debian.read_lock(tmp_path / "debian.lock")


def test_the_lock_holds_what_versions_yaml_asks_for() -> None:
    from bundle import debian

    lock = debian.read_lock(places().debian_lock)
    for group, wanted in versions.load(places().versions).debian.groups().items():
        names = {item.name for item in debian.in_group(lock, group)}
        assert set(wanted) <= names, f"{group}: run `python -m bundle lock`"


def test_requirements_are_read_by_plain_name() -> None:
    found = wheels.pins(f"Foo_Bar==1.0 \\\n    --hash=sha256:{'a' * 64}\nbaz[x]==2\n    # via foo\n")
    assert set(found) == {"foo-bar", "baz"}
    assert found["foo-bar"] == wheels.Pin("1.0", frozenset({"a" * 64}))
