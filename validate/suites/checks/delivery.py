"""What is handed over: the signed bundle, and the code and documents that lie in it.

The repository is read out of the bundle, not from where this program stands: what was signed is
what the client gets. The bundle's own command verifies every byte; here, by other code than made it,
the signature, and all parts but those of megabytes.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from components.kit import contract
from components.kit.probing import Check, Stopwatch, Verdict, judged
from validate.core import causes
from validate.ground.site import Site

Artefact = Mapping[str, Any]
ROOT = "apadana/"  # the folder inside repository.tar
LARGE = ("deb", "binary", "wheel")  # left to `python -m bundle verify`
NO_LICENCE = ("", "none", "unknown")
#: What each room brings, beside tests; its image may be shared.
OF_A_ROOM = (
    "settings.py",
    "component.py",
    "probe.py",
    "faults.yaml",
    "load.yaml",
    "alerts.yaml",
    "RUNBOOK.md",
    "chart/Chart.yaml",
)
#: What builds, installs, starts, looks after and proves the whole.
OF_THE_WHOLE = (
    "README.md",
    "CHANGELOG.md",
    "UPGRADING.md",
    "Makefile",
    "versions.yaml",
    "requirements.lock",
    ".ci/run",
    "bundle/__main__.py",
    "playbooks/site.yml",
    "playbooks/reset.yml",
    "road/__main__.py",
    "stacks/__main__.py",
    "validate/__main__.py",
    "docs/architecture.md",
)
#: Documents, and folders with some. The change list tells of what is gone, too.
READ = ("README.md", "CONTRIBUTING.md", "UPGRADING.md", "docs", "components")
#: Folders of suites/ that are none themselves, and suites that have another name than their folder.
NO_SUITES, MORE_SUITES = {"__init__", "plan", "checks"}, {"safety", "stress"}
LINK = re.compile(r"\]\(([^)\s#]+)(?:#[^)]*)?\)")
CODE = re.compile(r"```.*?```|`[^`\n]*`", re.DOTALL)
MAKE, MODULE, PLAYBOOK = (
    re.compile(r"(?:^|[`;|] ?)make ([a-z][a-z-]*)", re.MULTILINE),
    re.compile(r"python3? -m ([a-z][a-z_.]*[a-z])"),
    re.compile(r"\b(playbooks/[a-z_-]+\.yml)"),
)

SIGNED = "bundle: signed, charts and code as listed"
BILL = "bundle: a bill of materials with licences"
BUILT = "images: each built from the codebase"
WHOLE = "codebase: every component whole"
TESTED = "codebase: tests beside every component"
STATE = "deployment: this site's settings are in the codebase"
CHANGES = "change list: of this version"
COMMANDS = "commands: as documented, with help"
LINKS = "documents: every link leads somewhere"
DESIGN = "test design: every suite described"
NAMES = (SIGNED, BILL, BUILT, WHOLE, TESTED, STATE, CHANGES, COMMANDS, LINKS, DESIGN)


@dataclass(frozen=True)
class HandOver:
    """A bundle, the key that its builder gave by another way, and the contract it was installed for."""

    folder: Path
    key: Path
    platform: contract.Platform

    @cached_property
    def listed(self) -> Sequence[Artefact]:
        found: list[Artefact] = json.loads((self.folder / "manifest.json").read_bytes())["artefacts"]
        return found

    @cached_property
    def files(self) -> Mapping[str, bytes]:
        """The repository; a link has no content of its own."""
        with tarfile.open(self.folder / "repository.tar") as tar:
            return {entry.name.removeprefix(ROOT): _content(tar, entry) for entry in tar}

    @cached_property
    def documents(self) -> Mapping[str, str]:
        """What a person reads, by its path."""
        return {
            name: content.decode(errors="replace")
            for name, content in self.files.items()
            if name.endswith(".md") and name.split("/")[0] in READ
        }

    def of(self, *kinds: str) -> list[Artefact]:
        return [item for item in self.listed if item["kind"] in kinds]

    @property
    def rooms(self) -> list[str]:
        return [c.name for c in self.platform.components if c.mode == "managed"]


def _content(tar: tarfile.TarFile, entry: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(entry) if entry.isfile() else None
    return file.read() if file else b""


def checks(site: Site) -> Iterator[Check]:
    """Every check of what was delivered."""
    yield from judge(HandOver(site.bundle, site.state.parent / "keys" / "bundle.pub", site.platform))


def judge(found: HandOver) -> Iterator[Check]:
    """A bundle that can't be read is told once for each check that needs it."""
    looks: Mapping[str, Callable[[HandOver], Check]] = {
        SIGNED: signed,
        BILL: bill,
        BUILT: built,
        WHOLE: whole,
        TESTED: tested,
        STATE: state,
        CHANGES: changes,
        COMMANDS: commands,
        LINKS: links,
        DESIGN: design,
    }
    for name, look in looks.items():
        watch = Stopwatch()
        try:
            check = look(found)
        except (OSError, ValueError, KeyError, TypeError, tarfile.TarError) as error:
            detail = f"{found.folder} could not be read: {type(error).__name__}: {error}"
            check = Check(name, Verdict.INVALID, detail)
        yield Check(check.name, check.verdict, check.detail, check.evidence, watch.seconds)


def signed(found: HandOver) -> Check:
    """Ed25519 over manifest.json, and the digest of each part that is not large."""
    raw = (found.folder / "manifest.json").read_bytes()
    key = load_pem_public_key(found.key.read_bytes())
    if not isinstance(key, Ed25519PublicKey):
        return Check(SIGNED, Verdict.INVALID, f"{found.key} is no Ed25519 key")
    try:
        key.verify(base64.b64decode((found.folder / "manifest.json.sig").read_bytes().strip(), validate=True), raw)
    except (InvalidSignature, binascii.Error):
        return judged(SIGNED, [f"the signature does not fit {found.key.name}"], "", causes.ALTERED_DELIVERY)
    small = [item for item in found.listed if item["kind"] not in LARGE]
    wrong = [text for item in small if (text := _unlike(found.folder / item["path"], item))]
    told = f"signed, {len(small)} of {len(found.listed)} parts read again: all but packages and binaries"
    return judged(SIGNED, wrong, told, causes.ALTERED_DELIVERY)


def _unlike(path: Path, item: Artefact) -> str:
    if not path.is_file():
        return f"{item['path']} is missing"
    digest = f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"
    return "" if digest == item["digest"] else f"{item['path']} is another than was signed"


def bill(found: HandOver) -> Check:
    """CycloneDX: each part of the bundle by name, version and digest, with its licence."""
    data = json.loads((found.folder / "sbom.cdx.json").read_bytes())
    if data.get("bomFormat") != "CycloneDX":
        return judged(BILL, ["sbom.cdx.json is not of CycloneDX"], "", causes.INCOMPLETE_DELIVERY)
    there = {_named(each["name"], each["version"], each["hashes"][0]["content"]): each for each in data["components"]}
    parts = [item for item in found.listed if item["kind"] != "index"]
    wrong, by_paper = [], 0
    for item in parts:
        each = there.get(_named(item["name"], item["version"], item["digest"].removeprefix("sha256:")))
        licences = [str(one["license"].get("name", "")) for one in (each or {}).get("licenses", ())]
        if each is None:
            wrong.append(f"{item['kind']} {item['name']} is not in the bill of materials")
        elif not licences or any(one.lower() in NO_LICENCE for one in licences):
            wrong.append(f"{item['kind']} {item['name']} has no licence")
        by_paper += any(one.startswith("see ") for one in licences)
    told = f"{len(parts)} parts with their licences, {by_paper} of them by the place of Debian's own text"
    return judged(BILL, wrong, told, causes.INCOMPLETE_DELIVERY)


def _named(name: object, version: object, digest: object) -> tuple[str, str, str]:
    return str(name), str(version), str(digest)


def built(found: HandOver) -> Check:
    """Where each image comes from: a Containerfile of the codebase, or a program of it; upstream's, which
    are carried as they are, are counted apart."""
    images = [item for item in found.of("image") if "@sha256:" not in item["origin"]]
    wrong = [
        f"image {item['name']} comes from {item['origin']}, and the codebase holds no way to build it"
        for item in images
        if not {item["origin"], f"{item['origin']}/Containerfile"} & found.files.keys()
    ]
    if not images:
        return Check(BUILT, Verdict.INVALID, "the bundle lists no image of ours")
    told = f"{len(images)} images with their build, {len(found.of('image')) - len(images)} of upstream"
    return judged(BUILT, wrong, told, causes.INCOMPLETE_DELIVERY)


def whole(found: HandOver) -> Check:
    """Code, settings, plug-ins, installation, start and upkeep, all in what was signed."""
    wanted = [*OF_THE_WHOLE, *(f"components/{room}/{file}" for room in found.rooms for file in OF_A_ROOM)]
    wrong = [f"{name} is missing" for name in wanted if name not in found.files]
    pins = json.loads((found.folder / "manifest.json").read_bytes())["versions"].removeprefix("sha256:")
    if pins != hashlib.sha256(found.files.get("versions.yaml", b"")).hexdigest():
        wrong.append("versions.yaml is another than the bundle was built from")
    told = f"{len(found.files)} files, {len(found.rooms)} components, each with {', '.join(OF_A_ROOM)}"
    return judged(WHOLE, wrong, told, causes.INCOMPLETE_DELIVERY)


def tested(found: HandOver) -> Check:
    """Tests of each room's own, by their name; that they pass is for `.ci/run` to say."""
    tests = [PurePosixPath(name).name for name in found.files if re.match(r"tests/(unit|rendered)/test_.*\.py$", name)]
    counted = {room: sum(name.startswith(f"test_{room}") for name in tests) for room in found.rooms}
    wrong = [f"no test is called after {room}" for room, count in counted.items() if not count]
    told = f"{len(tests)} files of tests; by room: {', '.join(f'{r} {n}' for r, n in counted.items())}"
    return judged(TESTED, wrong, told, causes.INCOMPLETE_DELIVERY)


def state(found: HandOver) -> Check:
    """What the site is to be: its inventory, and a file of settings for each layer. No value that a file
    may not show in the open is in them: Pulumi's salt and its encrypted values stay at the site."""
    site = re.escape(found.platform.site)
    inventory = [name for name in found.files if re.match(rf"inventories/{site}/hosts\.ya?ml$", name)]
    layers = [name for name in found.files if re.match(rf"stacks/Pulumi\.{site}-[a-z]+\.yaml$", name)]
    wrong = [] if inventory else [f"inventories/{found.platform.site} is missing"]
    wrong += [] if layers else [f"stacks/ has no file of {found.platform.site}"]
    wrong += [f"{name} holds a secret of this site" for name in layers if b"encryptionsalt" in found.files[name]]
    told = f"{', '.join(inventory)} and {', '.join(sorted(layers))}"
    return judged(STATE, wrong, told, causes.INCOMPLETE_DELIVERY)


def changes(found: HandOver) -> Check:
    """The change list begins with the version that this is, and says something of it."""
    told = re.search(r'^version = "([^"]+)"', _text(found, "pyproject.toml"), re.MULTILINE)
    version = told.group(1) if told else "?"
    _, *entries = re.split(r"^## ", _text(found, "CHANGELOG.md"), flags=re.MULTILINE)
    newest = entries[0] if entries else ""
    wrong = []
    if not re.match(rf"{re.escape(version)}\b", newest):
        wrong.append(f"this is {version}, and the change list begins with {newest.partition(chr(10))[0] or 'nothing'}")
    elif not re.search(r"^- \S", newest, re.MULTILINE):
        wrong.append(f"the change list says nothing of {version}")
    if version not in _text(found, "UPGRADING.md"):
        wrong.append(f"UPGRADING.md does not speak of {version}")
    said = f"{version}, {len(re.findall(r'^- ', newest, re.MULTILINE))} changes; {len(entries)} versions in all"
    return judged(CHANGES, wrong, said, causes.INCOMPLETE_DELIVERY)


def commands(found: HandOver) -> Check:
    """Commands that a document tells people to type are there, and `make` explains its own."""
    helped = set(re.findall(r"^([a-z-]+):.*## \S", _text(found, "Makefile"), re.MULTILINE))
    wrong, seen = [], set()
    for document, text in found.documents.items():
        code = "\n".join(CODE.findall(text))
        for pattern, there in (
            (MAKE, helped.__contains__),
            (MODULE, lambda name: _module(found, name)),
            (PLAYBOOK, found.files.__contains__),
        ):
            names = set(pattern.findall(code))
            seen |= names
            wrong += [f"{document} names {name}, which is not there" for name in sorted(names) if not there(name)]
    if not seen:
        return Check(COMMANDS, Verdict.INVALID, "no document names a command")
    told = f"{len(seen)} commands of {len(found.documents)} documents; {len(helped)} targets of make explained"
    return judged(COMMANDS, wrong, told, causes.INCOMPLETE_DELIVERY)


def _module(found: HandOver, name: str) -> bool:
    """Of the checkout, or of a room's image: what is typed into a pod lies there."""
    path = name.replace(".", "/")
    ends = (f"{path}.py", f"{path}/__main__.py")
    return any(end in found.files for end in ends) or any(
        file.startswith("components/") and file.endswith(tuple(f"/image/{end}" for end in ends)) for file in found.files
    )


def links(found: HandOver) -> Check:
    """From one document to the next: whoever follows them must arrive."""
    wrong, count = [], 0
    for document, text in found.documents.items():
        for target in LINK.findall(CODE.sub("", text)):
            if ":" in target:
                continue
            count += 1
            place = _place(document, target)
            if place not in found.files and not any(name.startswith(f"{place}/") for name in found.files):
                wrong.append(f"{document} leads to {target}, which is not there")
    if not count:
        return Check(LINKS, Verdict.INVALID, "no document leads to another")
    told = f"{count} links in {len(found.documents)} documents"
    return judged(LINKS, wrong, told, causes.INCOMPLETE_DELIVERY)


def _place(document: str, target: str) -> str:
    parts: list[str] = []
    for part in (PurePosixPath(document).parent / target).parts:
        if part == "..":
            parts = parts[:-1]
        else:
            parts.append(part)
    return "/".join(parts)


def design(found: HandOver) -> Check:
    """The document that designs the tests speaks of each suite that there is."""
    text = _text(found, "docs/validation.md")
    folders = {
        PurePosixPath(name.removeprefix("validate/suites/")).parts[0].removesuffix(".py")
        for name in found.files
        if name.startswith("validate/suites/") and name.endswith(".py")
    }
    suites = sorted((folders - NO_SUITES) | MORE_SUITES)
    wrong = [f"docs/validation.md does not describe the suite {s}" for s in suites if f"`{s}`" not in text]
    return judged(DESIGN, wrong, f"{len(suites)} suites: {', '.join(suites)}", causes.INCOMPLETE_DELIVERY)


def _text(found: HandOver, name: str) -> str:
    if name not in found.files:
        raise KeyError(f"{name} is not in repository.tar")
    return found.files[name].decode(errors="replace")
