"""`python -m bundle`: build, verify, show, push and lock the bundle."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from bundle import debian, holding, manifest, maven, push, verify, wheels
from bundle import versions as pins
from bundle.build import Build
from bundle.errors import BundleError, Refused
from bundle.places import places
from common.errors import Refusal

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="The one signed artefact that is carried in.",
)
HERE = places()

Folder = Annotated[Path, typer.Argument(help="the bundle's folder")]


@app.command()
def build(
    out: Annotated[Path, typer.Option(help="where the bundle goes")] = HERE.output,
    key: Annotated[Path, typer.Option(help="private key that signs; made if missing")] = HERE.private_key,
    node: Annotated[bool, typer.Option(help="also make the lab's bare machine, node.tar")] = True,
    allow_missing: Annotated[bool, typer.Option(help="go on without upstream images that cannot be had")] = False,
) -> None:
    """Make what is missing and put the bundle together. Exit 0: whole; 1: failed."""
    work = Build(HERE, pins.load(HERE.versions))
    with holding.held(HERE.cache, work.progress.say):
        outcome = work.run(out, key, key.with_suffix(".pub"), allow_missing=allow_missing)
        if node:
            work.node()
    for name in outcome.absent:
        print(f"left out: image {name} (no Containerfile)")
    what = "built" if outcome.changed else "nothing to do"
    print(f"{what}: {out} {outcome.digest[:19]} with {outcome.artefacts} artefacts in {work.progress.seconds:.1f} s")
    for item in outcome.missing:
        print(f"missing: {item}")


@app.command(name="verify")
def verify_command(
    folder: Folder = HERE.output, key: Annotated[Path, typer.Option(help="public key of the builder")] = HERE.public_key
) -> None:
    """Exit 0: exactly what was signed; 1: refused, with every problem."""
    result = verify.verify(folder, key)
    print(
        f"verified: {folder} {result.digest} with {len(result.manifest.artefacts)} artefacts,"
        f" {result.files} files, {result.bytes / 2**20:.0f} MiB"
    )


@app.command()
def show(folder: Folder = HERE.output) -> None:
    """List the artefacts: kind, name, version, digest, licence."""
    listed = manifest.read(folder)
    for item in listed.artefacts:
        print(f"{item.kind:7} {item.name:32} {item.version:32} {item.digest[7:19]} {item.licence}")
    for lacking in listed.missing:
        print(f"missing {lacking}")


@app.command(name="push")
def push_command(
    registry: Annotated[str, typer.Argument(help="host[:port][/prefix] of the registry")],
    folder: Annotated[Path, typer.Option(help="the bundle's folder")] = HERE.output,
    key: Annotated[Path, typer.Option(help="public key of the builder")] = HERE.public_key,
    auth_file: Annotated[Path | None, typer.Option(help="what `skopeo login` wrote")] = None,
    ca_folder: Annotated[Path | None, typer.Option(help="folder with the registry's ca.crt")] = None,
) -> None:
    """Verify the bundle, then push its images."""
    verify.verify(folder, key)
    count = push.push(folder, registry, auth_file=auth_file, ca_folder=ca_folder)
    print(f"pushed {count} images to {registry}")


@app.command()
def lock() -> None:
    """Resolve Debian packages and Maven sets anew, write the locks, print the difference."""
    versions = pins.load(HERE.versions)
    changes = debian.lock(versions.debian, HERE.debian_lock)
    maven.lock(HERE, versions)
    print("\n".join(changes) or "no package changed")


@app.command(name="lock-wheels")
def lock_wheels(names: Annotated[list[str] | None, typer.Argument(help="sets; all without it")] = None) -> None:
    """Lock the wheels of images anew from their requirements.in, print the difference."""
    python = pins.load(HERE.versions).python
    unknown = sorted(set(names or ()) - python.sets.keys())
    if unknown:
        known = ", ".join(python.sets)
        raise BundleError(f"there is no set of wheels {', '.join(unknown)}; there are: {known}")
    changes = [line for name in python.sets if not names or name in names for line in wheels.lock(HERE, python, name)]
    print("\n".join(changes) or "no wheel changed")


def main() -> None:
    try:
        app()
    except Refused as error:
        print(error, file=sys.stderr)
        sys.exit(1)
    except Refusal as error:
        print(f"bundle: {error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
