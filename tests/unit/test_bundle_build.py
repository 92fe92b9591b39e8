"""The parts of a build that need no tools: disk, memo, archives, progress."""

from __future__ import annotations

import io
import json
import os
import tarfile
from pathlib import Path

import pytest

from bundle import charts, files, sbom, space
from bundle.errors import BundleError
from bundle.manifest import Artefact
from bundle.progress import Progress


def test_too_little_disk_is_refused_with_what_needs_it(tmp_path: Path) -> None:
    needs = [space.Need("Debian packages", 2 * space.GIB), space.Need("images", space.GIB)]
    with pytest.raises(BundleError) as caught:
        space.check(needs, tmp_path / "not/there/yet", free=space.GIB)
    text = str(caught.value)
    assert "needs 3.50 GiB" in text
    assert "1.00 GiB free" in text
    assert "2.00 GiB  Debian packages" in text
    assert "APADANA_CACHE" in text


def test_enough_disk_is_accepted(tmp_path: Path) -> None:
    assert space.check([space.Need("x", space.GIB)], tmp_path, free=2 * space.GIB) == space.GIB


def test_nothing_to_do_needs_no_disk(tmp_path: Path) -> None:
    assert space.check([space.Need("x", 0)], tmp_path, free=0) == 0


def test_more_than_the_ceiling_is_refused_whatever_the_disk(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="ceiling"):
        space.check([space.Need("x", 41 * space.GIB)], tmp_path, free=space.GIB * 1000)


@pytest.mark.parametrize(("most", "left"), [(300, "abc"), (299, "bc"), (200, "bc"), (150, "c"), (0, "")])
def test_a_cache_lets_go_of_what_was_used_longest_ago(tmp_path: Path, most: int, left: str) -> None:
    for age, name in enumerate("cba"):
        folder = tmp_path / f"0{age}"
        folder.mkdir()
        (folder / name).write_bytes(bytes(100))
        os.utime(folder / name, (0, 1_000_000 - age))
    assert space.trim(tmp_path, most) == (3 - len(left)) * 100
    assert sorted(file.name for file in tmp_path.rglob("*") if file.is_file()) == list(left)


def test_a_cache_that_is_not_there_has_nothing_to_let_go(tmp_path: Path) -> None:
    assert space.trim(tmp_path / "none", 0) == 0


def test_the_memo_reads_a_changed_file_again(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("one")
    memo = files.Memo(tmp_path / "memo.json")
    first = memo.sha256(path)
    memo.save()
    again = files.Memo(tmp_path / "memo.json")
    assert again.sha256(path) == first
    path.write_text("three")
    assert again.sha256(path) == files.sha256(path) != first


def test_a_folder_appears_only_when_it_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "made"
    with pytest.raises(RuntimeError), files.building(target) as part:
        (part / "half").write_text("")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def chart(folder: Path) -> Path:
    made = folder / "components/demo/chart"
    (made / "templates").mkdir(parents=True)
    (made / "Chart.yaml").write_text("apiVersion: v2\nname: demo\nversion: 1.2.3\n")
    (made / "templates/a.yaml").write_text("{}\n")
    (folder / "components/kit/chart").mkdir(parents=True)
    (folder / "components/kit/chart/Chart.yaml").write_text("name: kit\nversion: 1.0.0\n")
    (made / "charts").mkdir()
    (made / "charts/kit").symlink_to("../../../kit/chart")
    return made


def test_a_chart_carries_the_library_and_repeats(tmp_path: Path) -> None:
    made = chart(tmp_path)
    assert list(charts.rooms(tmp_path)) == [("demo", made)]
    charts.package(made, tmp_path / "one.tgz")
    charts.package(made, tmp_path / "two.tgz")
    raw = (tmp_path / "one.tgz").read_bytes()
    assert raw == (tmp_path / "two.tgz").read_bytes()
    with tarfile.open(fileobj=io.BytesIO(raw)) as archive:
        assert "demo/charts/kit/Chart.yaml" in archive.getnames()
        assert all(entry.isreg() for entry in archive)


def test_a_chart_without_a_version_is_told(tmp_path: Path) -> None:
    (tmp_path / "Chart.yaml").write_text("name: demo\n")
    with pytest.raises(BundleError, match="version"):
        charts.version(tmp_path)


def test_the_sbom_names_the_modules_of_a_binary() -> None:
    item = Artefact.model_validate(
        {
            "kind": "binary",
            "name": "helm",
            "version": "v3",
            "path": "bin/helm",
            "digest": "sha256:" + "0" * 64,
            "size": 1,
            "origin": "helm.sh/helm/v3",
            "licence": "A",
        }
    )
    inside = sbom.modules("\tpath\thelm\n\tdep\tgithub.com/a/b\tv1.0.0\th1:x\n")
    data = json.loads(sbom.text([item], "amd64", {"helm": inside}))
    assert data["components"][0]["purl"] == "pkg:golang/helm.sh/helm/v3@v3"
    assert data["components"][0]["components"][0]["name"] == "github.com/a/b"


def test_progress_is_plain_lines_where_no_terminal_is() -> None:
    stream = io.StringIO()
    progress = Progress(14, stream)
    progress.skip("image", "minio")
    with progress.step("image", "kafka"):
        pass
    assert stream.getvalue() == "[ 2/14] image kafka 0.0 s\n"


def test_a_folder_is_the_same_with_what_a_test_has_left_in_it(tmp_path: Path) -> None:
    (tmp_path / "part").mkdir()
    (tmp_path / "part" / "serve.py").write_text("import json\n")
    before = files.tree_digest(tmp_path, but="__pycache__")
    assert before == files.tree_digest(tmp_path)
    (tmp_path / "part" / "__pycache__").mkdir()
    (tmp_path / "part" / "__pycache__" / "serve.cpython-311.pyc").write_bytes(b"code")
    assert files.tree_digest(tmp_path, but="__pycache__") == before != files.tree_digest(tmp_path)
    (tmp_path / "part" / "more.py").write_text("")
    assert files.tree_digest(tmp_path, but="__pycache__") != before
