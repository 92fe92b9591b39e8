#!/opt/app/bin/python3
"""Unpacks the wheels of /wheels (or of the folder named) into the environment that runs this.

What pip does with a wheel, by the standard library alone, so that no image holds pip: files into
site-packages, the `.data` folders to their places, a program for each entry point. The same wheels
give the same bytes: sorted, plain modes, byte code by the content of its source. That byte code is
made here because the root is read-only at run.

A package that a lower layer has in the same version is left as it is; in another version, or a
file that two wheels bring with different content, ends it: one of them would be broken.
"""

from __future__ import annotations

import configparser
import os
import py_compile
import re
import sys
import sysconfig
import zipfile
from collections.abc import Iterator
from importlib.metadata import distributions
from pathlib import Path, PurePosixPath

WHEELS = Path("/wheels")
PREFIX = Path(sys.prefix)
PYTHON = PREFIX / "bin" / "python3"
SITE = Path(sysconfig.get_path("purelib", "venv"))
PROGRAM = """\
#!{python}
import sys

from {module} import {first}

if __name__ == "__main__":
    sys.exit({attribute}())
"""


def plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def place(name: str, project: str) -> Path:
    """Where a file of a wheel goes; `.data` folders are named by what they hold."""
    parts = PurePosixPath(name).parts
    if name.startswith("/") or ".." in parts:
        sys.exit(f"{project}: {name} leaves its folder")
    if not parts[0].endswith(".data") or len(parts) < 3:
        return SITE.joinpath(*parts)
    kinds = {
        "purelib": SITE,
        "platlib": SITE,
        "scripts": PREFIX / "bin",
        "data": PREFIX,
        "headers": PREFIX / "include" / project,
    }
    if parts[1] not in kinds:
        sys.exit(f"{project}: {name} is of an unknown kind; known: {', '.join(kinds)}")
    return kinds[parts[1]].joinpath(*parts[2:])


def write(path: Path, data: bytes, *, program: bool, project: str) -> None:
    if path.exists() and path.read_bytes() != data:
        sys.exit(f"{project} brings another {path} than a wheel before it")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    path.chmod(0o755 if program else 0o644)


def unpack(wheel: Path, project: str) -> Iterator[Path]:
    with zipfile.ZipFile(wheel) as opened:
        for entry in sorted(opened.infolist(), key=lambda entry: entry.filename):
            if entry.is_dir():
                continue
            target = place(entry.filename, project)
            data = opened.read(entry)
            script = target.parent == PREFIX / "bin"
            if script and data.startswith(b"#!python"):
                data = f"#!{PYTHON}\n".encode() + data.partition(b"\n")[2]
            runs = script or bool(entry.external_attr >> 16 & 0o111)
            write(target, data, program=runs, project=project)
            yield target


def programs(entry_points: Path, project: str) -> None:
    parser = configparser.ConfigParser(delimiters=("=",), interpolation=None, strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(entry_points, encoding="utf-8")
    for section in ("console_scripts", "gui_scripts"):
        for name, value in parser.items(section) if parser.has_section(section) else ():
            module, _, attribute = value.partition("[")[0].strip().partition(":")
            text = PROGRAM.format(
                python=PYTHON,
                module=module.strip(),
                first=attribute.strip().partition(".")[0],
                attribute=attribute.strip(),
            )
            write(PREFIX / "bin" / name, text.encode(), program=True, project=project)


def byte_code(source: Path) -> None:
    """Some wheels carry sources that no Python of this age reads, as data of their tests."""
    mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
    try:
        py_compile.compile(str(source), doraise=True, quiet=2, invalidation_mode=mode)
    except (py_compile.PyCompileError, UnicodeDecodeError):
        return


def install(wheel: Path, there: dict[str, str]) -> list[Path]:
    project, version = wheel.name.split("-")[:2]
    known = there.get(plain(project))
    if known == version:
        return []
    if known is not None:
        sys.exit(
            f"{project} {version} is asked for, a lower layer has {known}: lock the set over that"
            " layer's (`over` in versions.yaml), then `make lock`"
        )
    written = list(unpack(wheel, project))
    for path in written:
        if path.name == "entry_points.txt" and path.parent.name.endswith(".dist-info"):
            programs(path, project)
    return written


def main() -> None:
    if os.environ.get("PYTHONHASHSEED") != "0":
        # Sets of constants are written in the order of their hashes.
        os.environ["PYTHONHASHSEED"] = "0"
        os.execv(sys.executable, [sys.executable, __file__, *sys.argv[1:]])
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else WHEELS
    wheels = sorted(folder.glob("*.whl"))
    if not wheels:
        sys.exit(f"there is no wheel in {folder}; does the image name its set in versions.yaml?")
    os.umask(0o022)
    there = {plain(item.metadata["Name"]): item.version for item in distributions(path=[str(SITE)])}
    written = [path for wheel in wheels for path in install(wheel, there)]
    for path in sorted(set(written)):
        if path.suffix == ".py" and path.is_relative_to(SITE):
            byte_code(path)


if __name__ == "__main__":
    main()
