"""Is this report what was signed? Needs no network, and for the page no other file.

A folder is checked file by file; a page alone by the seal inside it. Who signed is proved only
against a key, or a fingerprint, that came by another way than the report.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from common import keys
from components.kit.probing import Verdict
from validate.core.errors import ValidateError
from validate.core.plain import digest
from validate.report import earlier, seal, signers
from validate.report.options import keys_folder

FINGERPRINT = "sha256:"
UNTOLD = ""  # the digest of a page whose seal can't be read: said already


class NoReportError(ValidateError):
    """What was named is no report, so nothing can be said of it."""


@dataclass
class Verification:
    """`problems`: why the report must not be trusted; `notes`: what was not or can't be checked."""

    manifest: seal.Manifest | None = None
    digest: str = ""
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def whole(self) -> bool:
        return not self.problems


@dataclass(frozen=True)
class Demands:
    """`key`: a public key in PEM, or a fingerprint (sha256:…). `stack`: the only site that counts.

    `verdict`: the one that the report must have. `expired`: take a key that has expired since,
    as long as it was valid on the day that the report names.
    """

    key: str = ""
    stack: str = ""
    verdict: Verdict | None = None
    expired: bool = False


def verify(path: Path, demands: Demands = Demands(), now: datetime | None = None) -> Verification:
    """Every problem that is found, not only the first. NoReportError when it is none."""
    proof = Verification()
    if path.is_dir():
        _folder(path, proof)
    elif path.name in (seal.MANIFEST, seal.SIGNATURE, seal.RESULTS, seal.PDF, seal.JUNIT):
        raise NoReportError(f"{path} is one file of a report: name its folder, or {seal.PAGE}")
    elif path.is_file():
        _page_alone(path, proof)
    else:
        raise NoReportError(f"{path}: there is no such report; name its folder or its {seal.PAGE}")
    if proof.manifest is not None:
        _key(path, proof, proof.manifest, demands, now or signers.now())
        _asked_for(proof, proof.manifest, demands)
    return proof


def _folder(folder: Path, proof: Verification) -> None:
    known = (seal.MANIFEST, seal.SIGNATURE, seal.PAGE, seal.RESULTS)
    if not any((folder / name).exists() for name in known):
        raise NoReportError(f"{folder} holds no report: none of {', '.join(known)} is in it")
    raw, signature = (_read(folder / n, proof) for n in (seal.MANIFEST, seal.SIGNATURE))
    if raw is None or signature is None:
        return
    if not _signed(raw, signature, proof):
        return
    assert proof.manifest is not None
    _files(folder, raw, signature, proof)
    _chain(folder, proof.manifest, proof)


def _page_alone(path: Path, proof: Verification) -> None:
    raw = path.read_bytes()
    try:
        blank, manifest, signature = seal.take(raw)
    except seal.SealError as error:
        proof.problems.append(f"{path.name}: {error}")
        return
    if not _signed(manifest, signature, proof):
        return
    assert proof.manifest is not None
    wanted = proof.manifest.files.get(seal.PAGE)
    if wanted is None or digest(blank) != wanted.sha256:
        proof.problems.append(f"{path.name} was altered: it is not the page that was signed")
    others = sorted(set(proof.manifest.files) - {seal.PAGE})
    proof.notes.append(f"the page alone was checked, not {', '.join(others) or 'any other file'}")


def _signed(raw: bytes, signature: bytes, proof: Verification) -> bool:
    """The manifest can be read, and the key that it names signed it."""
    try:
        manifest = seal.read(raw)
        key = manifest.key.load()
    except (seal.SealError, ValueError) as error:
        proof.problems.append(f"{seal.MANIFEST} can't be read: {error}")
        return False
    wrong = keys.problem(raw, signature, key)
    if wrong:
        proof.problems.append(f"{seal.MANIFEST}: {wrong}")
        return False
    proof.manifest, proof.digest = manifest, f"sha256:{digest(raw)}"
    return True


def _files(folder: Path, raw: bytes, signature: bytes, proof: Verification) -> None:
    """Says of each file what is wrong with it: altered, missing, added, renamed, a link."""
    assert proof.manifest is not None
    wanted = proof.manifest.files
    there = {
        path.relative_to(folder).as_posix(): path
        for path in sorted(folder.rglob("*"))
        if path.is_symlink() or not path.is_dir()
    }
    seen: dict[str, str] = {}
    for name, path in there.items():
        if name in (seal.MANIFEST, seal.SIGNATURE):
            continue
        if path.is_symlink() or not path.is_file():
            proof.problems.append(f"{name} is a link or no plain file: nothing of it is signed")
            continue
        told = _page(path, raw, signature, proof) if name == seal.PAGE else _hash(path, proof)
        if told is not None:
            seen[name] = told
    for name, file in wanted.items():
        if seen.get(name, UNTOLD) not in (UNTOLD, file.sha256):
            proof.problems.append(f"{name} was altered: SHA-256 {seen[name]}, signed {file.sha256}")
    _missing_and_added(wanted, seen, there, proof)


def _missing_and_added(
    wanted: dict[str, seal.File], seen: dict[str, str], there: dict[str, Path], proof: Verification
) -> None:
    added = {name for name in seen if name not in wanted}
    for name, file in wanted.items():
        if name in there:
            continue
        twin = next((other for other in sorted(added) if seen[other] == file.sha256), None)
        if twin is None:
            proof.problems.append(f"{name} is missing")
        else:
            added.discard(twin)
            proof.problems.append(f"{name} was renamed to {twin}")
    proof.problems += [f"{name} was added: it is not in {seal.MANIFEST}" for name in sorted(added)]


def _page(path: Path, raw: bytes, signature: bytes, proof: Verification) -> str | None:
    """Its digest while its seal was empty; the seal itself must be this folder's."""
    content = _read(path, proof)
    if content is None:
        return None
    try:
        blank, inner, inner_signature = seal.take(content)
    except seal.SealError as error:
        proof.problems.append(f"{path.name}: {error}")
        return UNTOLD
    if (inner, inner_signature) != (raw, signature):
        proof.problems.append(f"{path.name} carries the seal of another report")
    return digest(blank)


def _hash(path: Path, proof: Verification) -> str | None:
    try:
        return seal.file_of(path).sha256
    except OSError as error:
        proof.problems.append(f"{path.name} can't be read: {error.strerror}")
    return None


def _key(path: Path, proof: Verification, manifest: seal.Manifest, demands: Demands, now: datetime) -> None:
    own, wanted, about = manifest.key.fingerprint, demands.key, signers.About()
    if not wanted.startswith(FINGERPRINT):
        beside = None if wanted else _own_key(path, manifest)
        file = Path(wanted) if wanted else beside
        if file is not None:
            known = signers.trusted(file)
            wanted, about = keys.fingerprint(known.public), known.about
        if beside is not None:
            # Whoever hands over a report can put a key beside it.
            proof.notes.append(f"compared with {beside}: that tells who signed if it is yours")
    if not wanted:
        proof.notes.append(
            f"nothing was altered since it was signed with the key {own}; WHO signed is not "
            "proved: name the key (--key), or compare this fingerprint with one you were given"
        )
    elif wanted != own:
        proof.problems.append(f"it is signed with another key: {own}, trusted is {wanted}")
    ends = [moment for moment in (about.not_after, manifest.key.not_after) if moment is not None]
    if ends:
        _expiry(proof, manifest, min(ends), demands, now)


def _own_key(path: Path, manifest: seal.Manifest) -> Path | None:
    """This machine's own key of the site, when the report lies where it was written."""
    folder = path.resolve() if path.is_dir() else path.resolve().parent
    known = signers.public_of(keys_folder(folder.parent), manifest.site)
    return known if manifest.key.kind == "lab" and known.is_file() else None


def _expiry(proof: Verification, manifest: seal.Manifest, end: datetime, demands: Demands, now: datetime) -> None:
    if manifest.signed_at > end:
        proof.problems.append(
            f"its key expired on {end:%Y-%m-%d %H:%M} UTC, and it was signed on "
            f"{manifest.signed_at:%Y-%m-%d %H:%M}, after that"
        )
    elif now > end and not demands.expired:
        proof.problems.append(
            f"its key expired on {end:%Y-%m-%d %H:%M} UTC; that it was signed before, on "
            f"{manifest.signed_at:%Y-%m-%d %H:%M}, only the signer says. If you know of it by "
            "another way, take it with --accept-expired"
        )


def _asked_for(proof: Verification, manifest: seal.Manifest, demands: Demands) -> None:
    if demands.stack and manifest.site != demands.stack:
        proof.problems.append(f"it is the report of {manifest.site!r}, and {demands.stack!r} was asked for")
    if demands.verdict is not None and manifest.verdict is not demands.verdict:
        proof.problems.append(f"its verdict is {manifest.verdict}, and {demands.verdict} was asked for")


def _chain(folder: Path, manifest: seal.Manifest, proof: Verification) -> None:
    """Back over every report that is still there; each names its forerunner's digest."""
    root, previous, checked = folder.resolve().parent, manifest.previous, 0
    while previous is not None and checked < earlier.WALKED:
        place = root / previous.folder
        if not (place / seal.MANIFEST).is_file():
            proof.notes.append(f"the report before, {previous.folder}, is not here: not checked")
            return
        try:
            link = earlier.load(place)
        except (seal.SealError, OSError) as error:
            proof.problems.append(f"the chain is broken: {previous.folder}: {error}")
            return
        if link.digest != previous.digest:
            proof.problems.append(
                f"the chain is broken: {previous.folder} is not the report that was there when its "
                f"successor was signed (digest {link.digest}, signed was {previous.digest})"
            )
            return
        previous, checked = link.manifest.previous, checked + 1
    if checked:
        proof.notes.append(f"{checked} earlier reports in an unbroken chain")


def _read(path: Path, proof: Verification) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        proof.problems.append(f"{path.name} is missing")
    except OSError as error:
        proof.problems.append(f"{path.name} can't be read: {error.strerror}")
    return None
