"""Jars and distribution zips: only what the lock holds, unpacked as its maker meant it."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import yaml

from bundle import files, maven, versions
from bundle.errors import BundleError
from bundle.places import Places, places
from common import files as whole


def archive(path: Path, names: dict[str, int]) -> Path:
    with zipfile.ZipFile(path, "w") as made:
        for name, mode in names.items():
            entry = zipfile.ZipInfo(name)
            entry.external_attr = mode << 16
            made.writestr(entry, f"content of {name}")
    return path


def pins(folder: Path) -> tuple[Places, versions.Versions]:
    """This repository's pins with one zip and nothing else of Maven, in a folder of their own."""
    data = yaml.safe_load(places().versions.read_text())
    data["maven"] = {"demo": {"zip": "local.demo:demo-dist", "version": "1.0", "licence": "MIT"}}
    data["images"] = {
        "debian": data["images"]["debian"],
        "demo": {"version": "1", "licence": "MIT", "folder": "demo", "dist": ["demo"]},
    }
    data["debian"]["images"] = {}
    made = Places(folder / "repository", folder / "cache", folder / "state")
    whole.write(made.versions, yaml.safe_dump(data))
    (made.cache).mkdir(parents=True)
    return made, versions.load(made.versions)


def serving(source: Path) -> Callable[..., str]:
    """In place of Maven: puts this file where it is asked to."""

    def run(command: Sequence[str | Path], **_: object) -> str:
        words = [str(word) for word in command]
        assert "-Dartifact=local.demo:demo-dist:1.0:zip" in words
        (target,) = [word.split("=", 1)[1] for word in words if "outputDirectory" in word]
        (Path(target) / "demo-dist-1.0.zip").write_bytes(source.read_bytes())
        return ""

    return run


def test_a_zip_is_unpacked_without_the_folder_that_holds_it_all(tmp_path: Path) -> None:
    made = archive(tmp_path / "a.zip", {"demo-1/bin/run.sh": 0o100755, "demo-1/conf": 0o100600})
    maven.unpack(made, tmp_path / "out")
    assert (tmp_path / "out/bin/run.sh").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "out/conf").stat().st_mode & 0o777 == 0o644
    assert (tmp_path / "out/conf").read_text() == "content of demo-1/conf"


def test_a_zip_of_several_folders_keeps_them(tmp_path: Path) -> None:
    made = archive(tmp_path / "a.zip", {"plugin.jar": 0, "conf/x": 0})
    maven.unpack(made, tmp_path / "out")
    assert (tmp_path / "out/plugin.jar").exists()
    assert (tmp_path / "out/conf/x").exists()


@pytest.mark.parametrize("names", [{"demo/../../x": 0}, {"/etc/passwd": 0}, {"demo/link": 0o120777}])
def test_a_zip_that_reaches_out_is_refused(tmp_path: Path, names: dict[str, int]) -> None:
    with pytest.raises(BundleError, match="leaves its folder"):
        maven.unpack(archive(tmp_path / "a.zip", names), tmp_path / "out")


def test_only_the_zip_of_the_lock_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here, told = pins(tmp_path)
    source = archive(tmp_path / "a.zip", {"demo-1/a": 0})
    monkeypatch.setattr(maven, "run", serving(source))
    with pytest.raises(BundleError, match="python -m bundle lock"):
        maven.collect(here, told, "demo")
    maven.lock(here, told)
    folder = maven.collect(here, told, "demo")
    assert folder == maven.folder(here, told, "demo")
    assert (folder / "a").read_text() == "content of demo-1/a"
    locked = here.maven_lock.read_text()
    whole.write(here.maven_lock, locked.replace(files.sha256(source), "0" * 64))
    with pytest.raises(BundleError, match="altered"):
        maven.collect(here, told, "demo")


def test_a_set_s_key_does_not_change_with_another_s_lines(tmp_path: Path) -> None:
    here, told = pins(tmp_path)
    whole.write(here.maven_lock, "demo/a.zip 11\n")
    first = maven.folder(here, told, "demo")
    whole.write(here.maven_lock, "demo/a.zip 11\nother/b.jar 22\n")
    assert maven.folder(here, told, "demo") == first
    whole.write(here.maven_lock, "demo/a.zip 33\n")
    assert maven.folder(here, told, "demo") != first


def test_an_image_names_zips_and_poms_apart(tmp_path: Path) -> None:
    here, _ = pins(tmp_path)
    data = yaml.safe_load(here.versions.read_text())
    data["images"]["demo"] |= {"dist": ["nothing"], "jars": "demo"}
    whole.write(here.versions, yaml.safe_dump(data))
    with pytest.raises(BundleError) as caught:
        versions.load(here.versions)
    assert "images.demo.dist names 'nothing'; the zips of maven are demo" in str(caught.value)
    assert "images.demo.jars names 'demo'; the poms of maven are" in str(caught.value)
