"""A set of wheels belongs to its image: exact pins, a lock that holds them, one way to unpack."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from bundle import files, versions, wheels
from bundle.errors import BundleError
from bundle.places import Places, places
from common import files as whole

INSTALLER = places().repository / "components/kit/image/python/install_wheels.py"
LOCK = "Demo_App==1.0 \\\n    --hash=sha256:{0}\nlower==2.0 \\\n    --hash=sha256:{1}\n"


def pins(folder: Path, asked: str, lock: str | None) -> tuple[Places, versions.Python]:
    made = Places(folder / "repository", folder / "cache", folder / "state")
    whole.write(made.repository / "demo/requirements.in", asked)
    if lock is not None:
        whole.write(made.repository / "demo/requirements.lock", lock)
    data = {
        "version": "3.13",
        "platforms": ["manylinux_2_31_x86_64", "manylinux2014_x86_64"],
        "sets": {"demo": {"requirements": "demo", "licence": "MIT"}},
    }
    return made, versions.Python.model_validate(data)


def wheel(folder: Path, name: str, content: dict[str, str], modes: dict[str, int]) -> Path:
    path = folder / f"{name}-py3-none-any.whl"
    path.parent.mkdir(parents=True, exist_ok=True)
    info = f"{name}.dist-info"
    project, version = name.split("-")
    told = {f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {project}\nVersion: {version}\n"}
    with zipfile.ZipFile(path, "w") as made:
        for inside, text in (told | content).items():
            entry = zipfile.ZipInfo(inside)
            entry.external_attr = (0o100000 | modes.get(inside, 0o644)) << 16
            made.writestr(entry, text)
    return path


def test_each_set_of_this_repository_is_locked() -> None:
    python = versions.load(places().versions).python
    for name in python.sets:
        assert wheels.locked(places(), python, name)


def test_no_lock_names_where_it_came_from() -> None:
    python = versions.load(places().versions).python
    for entry in python.sets.values():
        text = (places().repository / entry.requirements / "requirements.lock").read_text()
        assert "://" not in text


def test_every_mistake_of_a_set_is_told_with_what_to_do(tmp_path: Path) -> None:
    asked = "# ours\ndemo-app==1.1  # MIT\nlower>=2\nnew[all]==3.0  # MIT: why\nlower==2.0\n"
    here, python = pins(tmp_path, asked, LOCK.format("a" * 64, "b" * 64) + "bare==1\n")
    with pytest.raises(BundleError) as caught:
        wheels.folder(here, python, "demo")
    text = str(caught.value)
    assert "line 2: demo-app==1.1 is asked for, the lock holds 1.0" in text
    assert "line 3: 'lower>=2' is no exact pin" in text
    assert "line 4: new[all]==3.0 is asked for, the lock holds nothing of it" in text
    assert "line 5: lower==2.0 has no licence" in text
    assert "no hash for bare" in text
    assert "make lock" in text


def test_a_missing_lock_is_told_with_what_to_do(tmp_path: Path) -> None:
    here, python = pins(tmp_path, "lower==2.0  # MIT\n", None)
    with pytest.raises(BundleError, match=r"(?s)requirements\.lock is missing.*make lock"):
        wheels.folder(here, python, "demo")


def test_a_set_must_stand_over_one_before_it() -> None:
    entry = {"requirements": "a", "licence": "MIT"}
    data = {"version": "3.13", "platforms": ["manylinux_2_31_x86_64"]}
    with pytest.raises(ValueError, match="must be a set before it"):
        versions.Python.model_validate({**data, "sets": {"a": {**entry, "over": "b"}, "b": entry}})


def test_the_newest_platform_is_the_lock_s(tmp_path: Path) -> None:
    _, python = pins(tmp_path, "", "")
    assert python.uv_platform == "x86_64-manylinux_2_31"


def downloading(names: dict[str, bytes]) -> Callable[..., str]:
    """In place of pip: writes these files."""

    def run(command: Sequence[str | Path], **_: object) -> str:
        words = [str(word) for word in command]
        assert {"--require-hashes", "--only-binary=:all:", "--no-deps"} <= set(words)
        target = Path(words[words.index("--dest") + 1])
        for name, data in names.items():
            (target / name).write_bytes(data)
        return ""

    return run


def test_what_is_served_as_source_alone_lies_among_the_wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a", "b"):
        whole.write(tmp_path / name, name.encode())
    lock = LOCK.format(files.sha256(tmp_path / "a"), files.sha256(tmp_path / "b"))
    here, python = pins(tmp_path, "lower==2.0  # MIT\n", lock)
    asked: list[str] = []

    def run(command: Sequence[str | Path], **more: object) -> str:
        asked.extend(str(word) for word in command)
        return downloading({"a.whl": b"a", "lower-2.0.tar.gz": b"b"})(command, **more)

    monkeypatch.setattr(wheels, "run", run)
    entry = python.sets["demo"].model_copy(update={"sources": ("lower",)})
    target = wheels.collect(here, python.model_copy(update={"sets": {"demo": entry}}), "demo")
    assert asked.index("--no-binary=lower") > asked.index("--only-binary=:all:"), "the last one counts"
    assert {path.name for path in target.iterdir()} == {"a.whl", "lower-2.0.tar.gz"}


def test_wheels_that_are_strange_or_lacking_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole.write(tmp_path / "a", b"one")
    lock = LOCK.format(files.sha256(tmp_path / "a"), "b" * 64)
    here, python = pins(tmp_path, "demo-app==1.0  # MIT\n", lock)
    monkeypatch.setattr(wheels, "run", downloading({"a.whl": b"one", "c.whl": b"strange"}))
    with pytest.raises(BundleError) as caught:
        wheels.collect(here, python, "demo")
    assert "c.whl is not of the lock" in str(caught.value)
    assert "nothing came for lower" in str(caught.value)
    assert not wheels.folder(here, python, "demo").exists()


def environment(folder: Path) -> Path:
    """What the image `python` holds: an environment without pip."""
    (folder / "bin").mkdir(parents=True)
    (folder / "bin/python3").symlink_to(Path(sys.executable).resolve())
    home = Path(sys.executable).resolve().parent
    (folder / "pyvenv.cfg").write_text(f"home = {home}\ninclude-system-site-packages = false\n")
    return folder / "bin/python3"


def install(python: Path, source: Path) -> subprocess.CompletedProcess[str]:
    command = [python, INSTALLER, source]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def demo(folder: Path) -> Path:
    source = "VALUE = {'a', 'b', 'c'}\nclass Tool:\n    run = staticmethod(lambda: 7)\n"
    content = {
        "demo/__init__.py": source,
        "demo/bin/server": "#!/bin/sh\necho served\n",
        "demo/old.py": "print 'of another age'\n",
        "demo-1.0.data/scripts/helper": "#!python\nimport demo\nprint(sorted(demo.VALUE))\n",
        "demo-1.0.data/data/share/demo.txt": "data",
        "demo-1.0.data/purelib/extra.py": "",
        "demo-1.0.dist-info/entry_points.txt": "[console_scripts]\nDemo = demo:Tool.run [x]\n",
    }
    return wheel(folder, "demo-1.0", content, {"demo/bin/server": 0o755})


def test_a_wheel_s_programs_and_data_work(tmp_path: Path) -> None:
    python = environment(tmp_path / "app")
    demo(tmp_path / "wheels")
    assert install(python, tmp_path / "wheels").stderr == ""
    programs = tmp_path / "app/bin"
    assert subprocess.run([programs / "Demo"], check=False).returncode == 7
    said = subprocess.run([programs / "helper"], capture_output=True, text=True, check=True)
    assert said.stdout == "['a', 'b', 'c']\n"
    assert (tmp_path / "app/share/demo.txt").read_text() == "data"
    site = next((tmp_path / "app/lib").glob("python3.*")) / "site-packages"
    assert (site / "extra.py").exists()
    assert os.access(site / "demo/bin/server", os.X_OK)
    assert not os.access(site / "demo/__init__.py", os.X_OK)
    assert len(list((site / "demo/__pycache__").iterdir())) == 1


def test_the_same_wheels_give_the_same_bytes(tmp_path: Path) -> None:
    demo(tmp_path / "wheels")
    digests = set()
    for number in range(2):
        assert install(environment(tmp_path / "app"), tmp_path / "wheels").returncode == 0
        digests.add(files.tree_digest(tmp_path / "app"))
        (tmp_path / "app").rename(tmp_path / f"app-{number}")
    assert len(digests) == 1


def test_what_a_lower_layer_has_is_left_alone_or_refused(tmp_path: Path) -> None:
    python = environment(tmp_path / "app")
    demo(tmp_path / "wheels")
    assert install(python, tmp_path / "wheels").returncode == 0
    wheel(tmp_path / "wheels", "more-1.0", {"more.py": ""}, {})
    assert install(python, tmp_path / "wheels").returncode == 0
    wheel(tmp_path / "other", "demo-2.0", {}, {})
    assert "a lower layer has 1.0" in install(python, tmp_path / "other").stderr


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({"demo/x.py": "other"}, "brings another"),
        ({"../x.py": ""}, "leaves its folder"),
        ({"bad-1.0.data/strange/x": ""}, "unknown kind"),
    ],
)
def test_wheels_that_would_break_something_are_refused(tmp_path: Path, content: dict[str, str], told: str) -> None:
    wheel(tmp_path / "wheels", "a-1.0", {"demo/x.py": "one"}, {})
    wheel(tmp_path / "wheels", "bad-1.0", content, {})
    assert told in install(environment(tmp_path / "app"), tmp_path / "wheels").stderr


def test_an_image_without_wheels_is_told(tmp_path: Path) -> None:
    (tmp_path / "wheels").mkdir()
    said = install(environment(tmp_path / "app"), tmp_path / "wheels")
    assert "versions.yaml" in said.stderr


def test_every_python_image_of_ours_unpacks_the_one_way() -> None:
    pins = versions.load(places().versions)
    for name, image in pins.images.items():
        if image.wheels is None:
            continue
        text = (places().repository / str(image.folder) / "Containerfile").read_text()
        assert "install-wheels" in text, f"images.{name}"
        assert "zipfile" not in text, f"images.{name}"
        users = [line for line in text.splitlines() if line.startswith("USER ")]
        assert users[-1] != "USER 0:0", f"images.{name} must not end as root"


def test_the_developers_import_what_the_images_import() -> None:
    repository = places().repository
    own = wheels.pins((repository / "requirements.lock").read_text())
    for name in ("clients", "trainer"):
        folder = versions.load(places().versions).python.sets[name].requirements
        asked = (repository / folder / "requirements.in").read_text()
        for line in filter(wheels.PIN.match, asked.splitlines()):
            match = wheels.PIN.match(line)
            assert match is not None
            assert own[match["name"].lower()].version == match["version"]
