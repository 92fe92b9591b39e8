"""`python -m validate verify REPORT` and `python -m validate report RESULTS`.

verify: 0 it is what was signed; 1 it must not be trusted, and why; 2 wrong use.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from components.kit.probing import Verdict
from validate import report
from validate.cli import console
from validate.core.errors import ValidateError
from validate.report import reading, seal
from validate.report.options import KEY, PASSPHRASE_FILE, Options
from validate.report.verify import Demands, Verification, verify

SignKey = Annotated[
    Path | None, typer.Option("--sign-key", envvar=KEY, help="private key (PEM, 0600); default: the lab's own")
]
PassphraseFile = Annotated[
    Path | None, typer.Option("--passphrase-file", envvar=PASSPHRASE_FILE, help="of the private key")
]
Witness = Annotated[list[str] | None, typer.Option("--witness", help="who looked on; may be given again")]
Pseudonymise = Annotated[bool, typer.Option("--pseudonyms", help="replace names and addresses of machines")]
Names = Annotated[list[str] | None, typer.Option("--hide", help="a further name to replace; may be given again")]
PaperFile = Annotated[Path | None, typer.Option("--paper", help="YAML: owner, date, document of clauses on paper")]


def options(
    sign_key: Path | None = None,
    passphrase_file: Path | None = None,
    witnesses: list[str] | None = None,
    pseudonyms: bool = False,
    names: list[str] | None = None,
    paper: Path | None = None,
    records: Path | None = None,
) -> Options:
    """What a command's parameters ask of a report."""
    return Options(
        sign_key=sign_key,
        passphrase_file=passphrase_file,
        witnesses=tuple(witnesses or ()),
        pseudonyms=pseudonyms or bool(names),
        names=tuple(names or ()),
        paper=paper,
        records=records,
    )


def verify_command(
    path: Annotated[Path, typer.Argument(metavar="REPORT", help="its folder, or the page alone")],
    key: Annotated[str, typer.Option("--key", help="public key in PEM, or its fingerprint sha256:…")] = "",
    stack: Annotated[str, typer.Option("--stack", help="refuse the report of another one")] = "",
    require_pass: Annotated[bool, typer.Option("--require-pass", help="refuse any verdict but PASS")] = False,
    accept_expired: Annotated[
        bool, typer.Option("--accept-expired", help="take a key that expired after the signing")
    ] = False,
    only_digest: Annotated[bool, typer.Option("--digest", help="print nothing but the report's digest")] = False,
) -> None:
    """Proves off-line that a report is what was signed; says of each file what is wrong."""
    wanted = Verdict.PASS if require_pass else None
    proof = verify(path, Demands(key, stack, wanted, accept_expired))
    if not proof.whole:
        for problem in proof.problems:
            console.complain(problem)
        console.complain(f"{path} must not be trusted: {len(proof.problems)} problem(s)")
        raise typer.Exit(1)
    if only_digest:
        console.say(proof.digest)
    else:
        _tell(path, proof)


def _tell(path: Path, proof: Verification) -> None:
    manifest = proof.manifest
    assert manifest is not None
    whose = "the client's key" if manifest.key.kind == "client" else "the lab's own key"
    console.say(f"{path} is what was signed")
    console.say(
        f"  {manifest.title} of {manifest.site}: {manifest.verdict} "
        f"({', '.join(f'{n} {v}' for v, n in manifest.counts.items() if n)})"
    )
    console.say(
        f"  signed {manifest.signed_at:%Y-%m-%d %H:%M:%S} UTC with {whose}"
        f"{f', {manifest.key.owner}' if manifest.key.owner else ''}: {manifest.key.fingerprint}"
    )
    console.say(f"  witnesses: {', '.join(manifest.witnesses) or 'none were named'}")
    for note in proof.notes:
        console.say(f"  note: {note}")
    console.say(f"  digest {proof.digest}")


def report_command(  # noqa: PLR0913  one parameter for each option
    source: Annotated[Path, typer.Argument(metavar="RESULTS", help="results.json, journal.jsonl, or their folder")],
    into: Annotated[Path | None, typer.Option("--into", help="folder of reports; default: where it came from")] = None,
    sign_key: SignKey = None,
    passphrase_file: PassphraseFile = None,
    witness: Witness = None,
    pseudonyms: Pseudonymise = False,
    hide: Names = None,
    paper: PaperFile = None,
) -> None:
    """Makes the report again: of results that were not signed, for another key, without names."""
    run, records = reading.read(source)
    if not run.results:
        raise ValidateError(f"{source} holds no result: there is nothing to report")
    wish = options(sign_key, passphrase_file, witness, pseudonyms, hide, paper, records)
    folder = report.write(into or _reports_of(source), run, wish)
    console.say(f"report: {folder / seal.PAGE}")
    console.say(f"digest: {report.digest_of(folder)}")


def _reports_of(source: Path) -> Path:
    """<reports>/<stamp>[/results.json], or <reports>/campaigns/<id>[/journal.jsonl]."""
    folder = source if source.is_dir() else source.parent
    above = folder.resolve().parent
    return above.parent if above.name == "campaigns" else above
