"""A bundle is exactly what was signed, or it is refused with every reason."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from bundle import manifest, oci, signing, verify
from bundle.build import fill
from bundle.errors import Refused
from common import files as whole
from common import keys
from common.errors import Refusal


@dataclass
class Sample:
    """A small bundle with a package and an image, and the key that signed it."""

    folder: Path
    private: Path
    public: Path

    def refused(self) -> list[str]:
        with pytest.raises(Refused) as caught:
            verify.verify(self.folder, self.public)
        return caught.value.problems


def digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def artefact(kind: str, path: str, data: bytes) -> dict[str, object]:
    return {
        "kind": kind,
        "name": "demo",
        "version": "1",
        "path": path,
        "digest": digest(data),
        "size": len(data),
        "origin": "test",
        "licence": "none",
    }


def contents() -> tuple[dict[str, bytes], list[dict[str, object]]]:
    config, layer, package = b'{"config": 1}', b"layer" * 100, b"package" * 50
    blob = json.dumps(
        {
            "schemaVersion": 2,
            "config": {"digest": digest(config), "size": len(config)},
            "layers": [{"digest": digest(layer), "size": len(layer)}],
        }
    ).encode()
    index = oci.index({"apadana.local/demo:1": (digest(blob), len(blob))}).encode()
    names = {data: f"images/{oci.Blob(digest(data), 0).path}" for data in (config, layer, blob)}
    tree = {path: data for data, path in names.items()}
    tree |= {"debs/demo.deb": package, manifest.INDEX: index}
    listed = [
        artefact("deb", "debs/demo.deb", package),
        artefact("index", manifest.INDEX, index),
        artefact("image", names[blob], blob),
    ]
    return tree, listed


@pytest.fixture
def sample(tmp_path: Path) -> Sample:
    made = Sample(tmp_path / "bundle", tmp_path / "keys/b.key", tmp_path / "keys/b.pub")
    tree, listed = contents()
    for path, data in tree.items():
        whole.write(made.folder / path, data)
    text = manifest.Manifest.model_validate({"schema": 1, "versions": digest(b""), "artefacts": listed}).text()
    whole.write(made.folder / manifest.NAME, text)
    key = signing.ensure_key(made.private, made.public)
    whole.write(made.folder / manifest.SIGNATURE, keys.sign(text.encode(), key))
    return made


def blobs(sample: Sample) -> list[Path]:
    return sorted((sample.folder / "images/blobs/sha256").iterdir(), key=lambda path: path.stat().st_size)


def test_what_was_signed_is_accepted(sample: Sample) -> None:
    result = verify.verify(sample.folder, sample.public)
    assert result.files == 5
    assert result.digest == digest((sample.folder / manifest.NAME).read_bytes())


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


@pytest.mark.parametrize("number", [0, 1, 2], ids=["config", "manifest", "layer"])
def test_one_flipped_bit_of_an_image_is_found(sample: Sample, number: int) -> None:
    flip(blobs(sample)[number])
    assert any("was altered" in problem for problem in sample.refused())


def test_one_flipped_bit_of_a_package_is_found(sample: Sample) -> None:
    flip(sample.folder / "debs/demo.deb")
    (problem,) = sample.refused()
    assert "debs/demo.deb (deb demo) was altered" in problem


def test_a_file_cut_short_is_found_with_its_sizes(sample: Sample) -> None:
    path = sample.folder / "debs/demo.deb"
    path.write_bytes(path.read_bytes()[:-1])
    (problem,) = sample.refused()
    assert "cut short: 349 of 350 bytes" in problem


def test_all_mistakes_are_told_at_once(sample: Sample) -> None:
    flip(blobs(sample)[2])
    (sample.folder / "debs/demo.deb").unlink()
    (sample.folder / "debs/extra.deb").write_text("?")
    told = "\n".join(sample.refused())
    assert "altered" in told
    assert "missing" in told
    assert "debs/extra.deb is not listed" in told


def test_a_link_in_place_of_a_file_is_refused(sample: Sample, tmp_path: Path) -> None:
    path = sample.folder / "debs/demo.deb"
    path.rename(tmp_path / "elsewhere.deb")
    path.symlink_to(tmp_path / "elsewhere.deb")
    assert "no plain file" in sample.refused()[0]


def unsigned(sample: Sample) -> None:
    (sample.folder / manifest.SIGNATURE).unlink()


def altered_list(sample: Sample) -> None:
    path = sample.folder / manifest.NAME
    path.write_text(path.read_text().replace('"demo"', '"other"'))


def other_key(sample: Sample) -> None:
    key = signing.ensure_key(sample.private.parent / "o.key", sample.private.parent / "o.pub")
    raw = (sample.folder / manifest.NAME).read_bytes()
    (sample.folder / manifest.SIGNATURE).write_bytes(keys.sign(raw, key))


def cut_signature(sample: Sample) -> None:
    path = sample.folder / manifest.SIGNATURE
    path.write_text(path.read_text()[:41])


@pytest.mark.parametrize(
    ("harm", "told"),
    [(unsigned, "unsigned"), (altered_list, "does not fit"), (other_key, "another key"), (cut_signature, "not base64")],
)
def test_a_list_that_nobody_signed_is_refused_before_it_is_used(
    sample: Sample, harm: Callable[[Sample], None], told: str
) -> None:
    harm(sample)
    (problem,) = sample.refused()
    assert told in problem


def test_a_signed_index_that_names_other_images_is_refused(sample: Sample) -> None:
    listed = manifest.read(sample.folder)
    wrong = oci.index({"apadana.local/other:1": next(iter(listed.images().values()))}).encode()
    (sample.folder / manifest.INDEX).write_bytes(wrong)
    rows = [item.model_dump() for item in listed.artefacts if item.kind != "index"]
    text = manifest.Manifest.model_validate(
        {"schema": 1, "versions": listed.versions, "artefacts": [*rows, artefact("index", manifest.INDEX, wrong)]}
    ).text()
    (sample.folder / manifest.NAME).write_text(text)
    key = keys.private(sample.private)
    (sample.folder / manifest.SIGNATURE).write_bytes(keys.sign(text.encode(), key))
    assert sample.refused() == [f"{manifest.INDEX} does not name the images of {manifest.NAME}"]


@pytest.mark.parametrize("path", ["../outside", "/etc/passwd", "a/../../b", "./a"])
def test_a_path_that_leaves_the_bundle_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="plain path"):
        manifest.Artefact.model_validate(artefact("deb", path, b""))


def test_the_private_key_is_for_its_owner_only(sample: Sample) -> None:
    assert sample.private.stat().st_mode & 0o777 == 0o600
    sample.private.chmod(0o644)
    with pytest.raises(Refusal, match="chmod 600"):
        keys.private(sample.private)


def test_a_missing_public_key_says_where_it_comes_from(sample: Sample) -> None:
    with pytest.raises(Refusal, match="--key"):
        verify.verify(sample.folder, sample.folder.parent / "none.pub")


def test_filling_again_does_nothing_and_takes_strangers_away(tmp_path: Path) -> None:
    whole.write(tmp_path / "cache/a", "a")
    wanted = {"bin/a": tmp_path / "cache/a"}
    out = tmp_path / "out"
    assert fill(out, wanted, b"list", b"signature")
    assert not fill(out, wanted, b"list", b"signature")
    whole.write(out / "old/b", "b")
    assert fill(out, wanted, b"list", b"signature")
    assert not (out / "old").exists()


def test_a_build_killed_half_way_leaves_no_signature(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole.write(tmp_path / "a", "a")
    out = tmp_path / "out"
    fill(out, {"a": tmp_path / "a"}, b"list", b"signature")

    def killed(source: Path, target: Path) -> None:
        raise KeyboardInterrupt

    whole.write(tmp_path / "b", "b")
    monkeypatch.setattr(whole, "link", killed)
    with pytest.raises(KeyboardInterrupt):
        fill(out, {"a": tmp_path / "a", "b": tmp_path / "b"}, b"new", b"signature")
    assert not (out / manifest.SIGNATURE).exists()
