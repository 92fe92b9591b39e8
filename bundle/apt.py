"""An apt of our own: the suite that we want, an empty dpkg status, the machine's mirrors.

The empty status makes a closure whole: nothing counts as installed already.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bundle.commands import run
from bundle.errors import BundleError
from bundle.versions import Debian

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
# In this order: the machine's archives by the end of their suite's name.
ARCHIVES = {"debian": "", "updates": "-updates", "security": "-security"}
INSTALL = re.compile(r"^Inst (\S+) \((\S+) .*\[(\w+)\]\)")


@dataclass(frozen=True)
class Package:
    """One locked package: what it is, where in the archive, who needs it."""

    name: str
    version: str
    architecture: str
    sha256: str
    size: int
    archive: str
    path: str
    groups: tuple[str, ...] = ()

    @property
    def file(self) -> str:
        """Its name in the bundle: an epoch's colon is not safe in every file system."""
        version = self.version.split(":", 1)[-1]
        return f"{self.name}_{version}_{self.architecture}.deb"


def mirrors() -> dict[str, str]:
    """The machine's own archives: `debian` and `security` to their addresses."""
    text = run(
        ["apt-get", "indextargets", "--format", "$(RELEASE) $(REPO_URI)", "Identifier: Packages"],
        what="reading the machine's apt sources",
    )
    rows = [line.split() for line in text.splitlines() if len(line.split()) == 2]
    code = _codename()
    found: dict[str, str] = {}
    for release, uri in rows:
        for archive in ("debian", "security"):
            if release == code + ARCHIVES[archive]:
                found.setdefault(archive, uri.rstrip("/"))
    if "debian" not in found:
        raise BundleError(
            f"the apt sources of this machine name no archive of its own suite {code!r}"
            f" (seen: {sorted({row[0] for row in rows})}); a Debian mirror must be in"
            " /etc/apt/sources.list or sources.list.d"
        )
    return found


def sources(suite: str) -> list[str]:
    """Lines of a sources.list on the machine's mirrors: a suite, its updates, its security fixes if they are served."""
    served = mirrors()
    found = {archive: served.get("security" if archive == "security" else "debian") for archive in ARCHIVES}
    return [f"deb [signed-by={KEYRING}] {uri} {suite}{ARCHIVES[archive]} main" for archive, uri in found.items() if uri]


def _codename() -> str:
    for line in Path("/etc/os-release").read_text().splitlines():
        if line.startswith("VERSION_CODENAME="):
            return line.split("=", 1)[1].strip('"')
    raise BundleError("/etc/os-release has no VERSION_CODENAME: bundles are built on Debian")


class Apt:
    """apt with everything of its own but the machine's network settings."""

    def __init__(self, root: Path, debian: Debian) -> None:
        self.root = root
        self.debian = debian
        for folder in ("etc/preferences.d", "lists/partial", "cache/archives/partial", "trusted"):
            (root / folder).mkdir(parents=True, exist_ok=True)
        (root / "status").touch()
        self.options = [
            option
            for value in (
                f"Dir::Etc::sourcelist={root / 'etc/sources.list'}",
                "Dir::Etc::sourceparts=/dev/null",
                f"Dir::Etc::preferencesparts={root / 'etc/preferences.d'}",
                f"Dir::State::lists={root / 'lists'}",
                f"Dir::State::status={root / 'status'}",
                f"Dir::Cache={root / 'cache'}",
                f"APT::Architecture={debian.architecture}",
                f"APT::Architectures={debian.architecture}",
                "APT::Install-Recommends=false",
                "APT::Sandbox::User=root",
                "Debug::NoLocking=true",
            )
            for option in ("-o", value)
        ]

    def update(self) -> None:
        """Fetch the package lists."""
        (self.root / "etc/sources.list").write_text("\n".join(sources(self.debian.suite)) + "\n")
        run(["apt-get", *self.options, "update"], what=f"apt-get update of {self.debian.suite}")

    def closure(self, wanted: Sequence[str]) -> dict[str, str]:
        """Name to version of all that an empty machine needs to have `wanted`."""
        text = run(
            ["apt-get", *self.options, "--simulate", "--no-install-recommends", "-y", "install", *wanted],
            what=f"resolving {' '.join(wanted)}",
        )
        return {match[1].split(":")[0]: match[2] for match in map(INSTALL.match, text.splitlines()) if match}

    def essential(self, *, required: bool) -> list[str]:
        """What mmdebstrap puts into every root: Essential packages, apt, perhaps Required ones."""
        text = run(["apt-cache", *self.options, "dumpavail"], what="reading the package lists")
        names = {"apt"}
        for stanza in text.split("\n\n"):
            if "\nEssential: yes" in stanza or (required and "\nPriority: required" in stanza):
                names.add(stanza.split("\n", 1)[0].removeprefix("Package: "))
        return sorted(names)

    def describe(self, versions: dict[str, str]) -> list[Package]:
        """Digest, size and place of each package, as the signed lists say."""
        text = run(
            [
                "apt-cache",
                *self.options,
                "show",
                "--no-all-versions",
                *(f"{name}={version}" for name, version in sorted(versions.items())),
            ],
            what="reading digests from the package lists",
        )
        found = [_package(_fields(stanza)) for stanza in text.split("\n\n") if stanza.strip()]
        missing = set(versions.items()) - {(item.name, item.version) for item in found}
        if missing:
            raise BundleError(f"the package lists do not describe {sorted(missing)}")
        return found


def _fields(stanza: str) -> dict[str, str]:
    return dict(line.split(": ", 1) for line in stanza.splitlines() if ": " in line and line[0] != " ")


def _package(fields: dict[str, str]) -> Package:
    path = fields["Filename"]
    return Package(
        name=fields["Package"],
        version=fields["Version"],
        architecture=fields["Architecture"],
        sha256=fields["SHA256"],
        size=int(fields["Size"]),
        # Debian's security archive keeps its own pool below pool/updates.
        archive="security" if path.startswith("pool/updates/") else "debian",
        path=path,
    )


def lines_of(packages: Iterable[Package]) -> str:
    """The text of debian.lock."""
    head = (
        "# Made by `python -m bundle lock`. Do not edit.\n# name version architecture sha256 size archive path groups\n"
    )
    rows = sorted(
        f"{item.name} {item.version} {item.architecture} {item.sha256} {item.size}"
        f" {item.archive} {item.path} {','.join(item.groups)}\n"
        for item in packages
    )
    return head + "".join(rows)


def parse(text: str, where: str) -> list[Package]:
    """Read debian.lock; every bad line is told."""
    packages: list[Package] = []
    problems: list[str] = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        words = line.split()
        if len(words) != 8:
            problems.append(f"line {number} has {len(words)} columns, 8 are needed: {line[:60]!r}")
        elif not re.fullmatch(r"[0-9a-f]{64}", words[3]):
            problems.append(f"line {number}: {words[3][:70]!r} is no sha256 digest")
        elif not words[4].isdigit():
            problems.append(f"line {number}: size {words[4]!r} is no number of bytes")
        elif words[5] not in ("debian", "security"):
            problems.append(f"line {number}: archive {words[5]!r} is neither debian nor security")
        else:
            packages.append(
                Package(
                    words[0],
                    words[1],
                    words[2],
                    words[3],
                    int(words[4]),
                    words[5],
                    words[6],
                    tuple(words[7].split(",")),
                )
            )
    if problems:
        raise BundleError(
            f"{where} has {len(problems)} bad line(s):\n"
            + "\n".join(f"  {problem}" for problem in problems)
            + "\nIt is a made file: run `python -m bundle lock`."
        )
    return packages
