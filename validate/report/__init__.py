"""Writes a run as one signed report, under <state root>/reports/<site>/<time>/.

index.html (the whole content in one file), report.pdf, junit.xml, results.json (canonical), the raw
records, manifest.json with the SHA-256 of each, manifest.sig. `latest` points to the newest.
"""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from common import keys
from common.errors import Refusal
from components.kit.probing import Verdict
from validate.core.errors import ValidateError
from validate.core.model import Run
from validate.core.plain import as_record, digest, dump, plain
from validate.report import earlier, html, junit, matrix, pseudonyms, reading, records, register, seal, signers
from validate.report.content import Content, Vouched
from validate.report.options import Options, keys_folder, prepare

__all__ = ["Options", "digest_of", "prepare", "write"]
LOCK_SECONDS = 120


def write(root: Path, run: Run, options: Options | None = None) -> Path:
    """The folder of this report; `latest` points to it once all files are there and signed.

    Adds an INVALID result to `run` when a raw record that a result names is not there. Raises
    ValidateError when it can't be signed; results.json is kept and the error says where.
    """
    options = options or Options.from_environment()
    run.finished = run.finished or time.time()
    root.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(root / ".lock", timeout=LOCK_SECONDS):
            return _write(root, run, options)
    except Timeout as error:
        raise ValidateError(
            f"another report is being written to {root} since {LOCK_SECONDS} s ({root / '.lock'})"
        ) from error


def digest_of(folder: Path) -> str:
    """The report's digest, which a promotion gate asks for: that of its manifest."""
    return f"sha256:{digest((folder / seal.MANIFEST).read_bytes())}"


def _write(root: Path, run: Run, options: Options) -> Path:
    folder = root / ".new"  # the lock is held: what is there was left by a kill
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        _fill(folder, root, run, options)
    except Refusal as error:
        (folder / seal.RESULTS).write_bytes(_results(run))
        kept = _name(folder, root, run, "-unsigned")
        raise ValidateError(
            f"{error}\nThe results are kept, unsigned: {kept / seal.RESULTS}; when this is mended, "
            f"`python -m validate report {kept}` makes the report of them"
        ) from error
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    made = _name(folder, root, run, "")
    _point(root, made)
    return made


def _fill(folder: Path, root: Path, run: Run, options: Options) -> None:
    """All files of the report; the seal comes last."""
    at = signers.now()
    signer = options.signer(root, run.site, at)
    known = register.load(options.paper)
    names = pseudonyms.make(keys_folder(root), run, root, options.names) if options.pseudonyms else None
    shown = replace(run, results=list(run.results), limits=list(run.limits))
    records.collect(shown, options.records, folder, names.text if names else None)
    run.results += shown.results[len(run.results) :]
    shown = names.run(shown) if names else reading.run_from(plain(shown))
    numbered = records.number(shown.results)
    previous, changes = earlier.compared(root, shown, names.run if names else lambda old: old)
    results = _results(shown)
    vouched = Vouched(
        key=_key(signer),
        witnesses=tuple(plain(list(options.witnesses))),
        signed_at=at.strftime("%Y-%m-%d %H:%M:%S UTC"),
        results_digest=digest(results),
        contract_digest=reading.contract_digest(root),
        run_id=options.run_id or _run_id(run),
        previous=previous,
        pseudonyms=names is not None,
    )
    content = Content(shown, numbered, matrix.build(known, numbered), changes, vouched)
    files = _files(content, results)
    if names:
        _nothing_leaks(names, files)
        pseudonyms.remember(keys_folder(root), run.site, names)
    _seal(folder, content, files, signer, at)


def _files(content: Content, results: bytes) -> dict[str, bytes]:
    from validate.report import pdf

    return {
        seal.RESULTS: results,
        seal.JUNIT: junit.render(content.run).encode(),
        seal.PDF: pdf.render(content),
        seal.PAGE: html.render(content).encode(),
    }


def _seal(folder: Path, content: Content, files: Mapping[str, bytes], signer: signers.Signer, at: datetime) -> None:
    run, vouched = content.run, content.vouched
    manifest = seal.Manifest(
        site=run.site,
        title=run.title,
        command=run.command,
        verdict=run.verdict,
        counts={v: content.count(v) for v in Verdict},
        run_id=vouched.run_id,
        started=_moment(run.started),
        finished=_moment(run.finished),
        signed_at=at,
        bundle_digest=run.bundle_digest,
        contract_digest=vouched.contract_digest,
        plan_digest=run.plan_digest,
        pseudonyms=vouched.pseudonyms,
        witnesses=list(vouched.witnesses),
        key=vouched.key,
        previous=vouched.previous,
        files=seal.list_files(folder, files),
    ).dump()
    signature = keys.sign(manifest, signer.private)
    written = dict(files) | {
        seal.PAGE: seal.fill(files[seal.PAGE], manifest, signature),
        seal.MANIFEST: manifest,
        seal.SIGNATURE: signature,
    }
    for name, raw in written.items():
        (folder / name).write_bytes(raw)


def _results(run: Run) -> bytes:
    """results.json: the run, the name of the test with each result."""
    head = plain(replace(run, results=[]).as_dict()) | {"verdict": str(run.verdict)}
    return dump({**head, "results": [as_record(r) for r in run.results]})


def _nothing_leaks(names: pseudonyms.Pseudonyms, files: Mapping[str, bytes]) -> None:
    """What was to be hidden must not stand in anything that is handed out."""
    for name, raw in files.items():
        if name == seal.PDF:
            continue  # compressed; made from the same content as the page
        leaked = names.leaked(raw.decode("utf-8", "replace"))
        if leaked:
            raise ValidateError(
                f"{name} would still name {', '.join(leaked[:5])}: the report was not written; "
                "this is a defect of validate/report/pseudonyms.py"
            )


def _key(signer: signers.Signer) -> seal.Key:
    return seal.Key(
        fingerprint=keys.fingerprint(signer.public),
        public=base64.b64encode(signer.public.public_bytes_raw()).decode(),
        kind=signer.kind,
        owner=plain(signer.about.owner),
        not_after=signer.about.not_after,
    )


def _run_id(run: Run) -> str:
    """The same run has the same id, also when its report is made again."""
    told = f"{run.site}\n{run.command}\n{run.started!r}"
    return hashlib.sha256(told.encode("utf-8", "replace")).hexdigest()[:12]


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _name(folder: Path, root: Path, run: Run, suffix: str) -> Path:
    """Gives the folder its name in one step: nobody sees half a report."""
    stamp = _moment(run.finished).strftime("%Y%m%dT%H%M%SZ")
    for number in range(100):
        target = root / f"{stamp}{f'-{number}' if number else ''}{suffix}"
        if not target.exists():
            folder.rename(target)
            return target
    raise FileExistsError(f"{root}: a hundred reports in the second {stamp}")


def _point(root: Path, made: Path) -> None:
    """`latest` never goes back in time: an old run may be signed again."""
    newest = earlier.newest(root)
    if newest is not None and newest.name[:16] > made.name[:16]:
        return
    link = root / f".latest-{os.getpid()}"
    link.unlink(missing_ok=True)
    link.symlink_to(made.name)
    link.replace(root / earlier.LATEST)
