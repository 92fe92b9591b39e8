"""The files of this repository: what git has or would take."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from tests.repo.charts import ROOT

# Written by tools, or copied whole from upstream: their length and their hosts are not our doing.
GENERATED = re.compile(r"(\.lock|go\.sum|go\.mod|\.schema\.json|LICENSE|requirements\.yaml|settings\.md)$")
TEXT = {
    ".py",
    ".sh",
    ".yml",
    ".yaml",
    ".toml",
    ".md",
    ".tpl",
    ".j2",
    ".cfg",
    ".json",
    ".go",
    ".xml",
    ".html",
    ".css",
    ".js",
    ".conf",
    ".txt",
    ".lock",
    ".mod",
    ".sum",
    "",
}


@cache
def files() -> tuple[Path, ...]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    found = (ROOT / name for name in listed.split("\0") if name)
    return tuple(sorted(file for file in found if file.is_file() and not file.is_symlink()))


def texts() -> Iterable[tuple[Path, str]]:
    """Text files with their content, generated ones too."""
    for file in files():
        if file.suffix in TEXT:
            yield file, file.read_text(errors="replace")


def written() -> Iterable[tuple[Path, str]]:
    """Text files that people write."""
    return ((file, text) for file, text in texts() if not GENERATED.search(file.name))


def places(needles: Iterable[str], haystack: Iterable[tuple[Path, str]]) -> list[str]:
    """`file:line: what` for each line that holds one of the needles as a whole word."""
    words = [re.escape(needle) for needle in needles]
    if not words:
        return []
    pattern = re.compile(rf"(?<![\w.-])({'|'.join(words)})(?![\w-]|\.\w)")
    return [
        f"{file.relative_to(ROOT)}:{number}: {match[1]}"
        for file, text in haystack
        for number, line in enumerate(text.splitlines(), start=1)
        if (match := pattern.search(line))
    ]


def registries() -> set[str]:
    """Public package and image registries, and whatever this machine is set up to ask instead."""
    public = {
        "pypi": "org",
        "files.pythonhosted": "org",
        "proxy.golang": "org",
        "sum.golang": "org",
        "registry.npmjs": "org",
        "repo1.maven": "org",
        "repo.maven.apache": "org",
        "crates": "io",
        "deb.debian": "org",
        "security.debian": "org",
        "docker": "io",
        "ghcr": "io",
        "quay": "io",
        "gcr": "io",
        "registry.k8s": "io",
        "nvcr": "io",
        "mcr.microsoft": "com",
    }
    return {f"{name}.{end}" for name, end in public.items()} | set(_configured_hosts())


def _configured_hosts() -> Iterable[str]:
    variables = ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "UV_INDEX_URL", "GOPROXY", "GOSUMDB")
    text = [os.environ.get(name, "") for name in variables]
    sources = [Path("/etc/apt/sources.list"), *Path("/etc/apt/sources.list.d").glob("*")]
    sources += [Path.home() / ".m2" / "settings.xml", Path.home() / ".npmrc", Path("/etc/pip.conf")]
    text += [file.read_text(errors="replace") for file in sources if file.is_file()]
    for host in re.findall(r"https?://(?:[^@/\s]+@)?([\w.-]+\.[a-z]{2,})", "\n".join(text)):
        # The namespaces of XML files look like hosts and are none.
        if host not in {"maven.apache.org", "www.w3.org"}:
            yield host
