"""Push a bundle's images into a registry: by skopeo, digests kept."""

from __future__ import annotations

from pathlib import Path

from bundle import manifest, oci
from bundle.commands import run
from bundle.progress import Progress


def push(folder: Path, registry: str, *, auth_file: Path | None = None, ca_folder: Path | None = None) -> int:
    """Copy each image to <registry>/<name>:<version>; layers that are there are not sent again."""
    images = [item for item in manifest.read(folder).artefacts if item.kind == "image"]
    progress = Progress(len(images))
    for item in images:
        # A password is never an argument: it is in the file that `skopeo login` writes.
        options: list[str | Path] = ["--preserve-digests", "--dest-precompute-digests"]
        if auth_file is not None:
            options += ["--dest-authfile", auth_file]
        if ca_folder is not None:
            options += ["--dest-cert-dir", ca_folder]
        ref = oci.reference(item.name, item.version)
        with progress.step("push", f"{item.name}:{item.version}"):
            run(
                [
                    "skopeo",
                    "copy",
                    "--quiet",
                    *options,
                    f"oci:{folder / 'images'}:{ref}",
                    f"docker://{registry}/{item.name}:{item.version}",
                ],
                what=f"pushing {item.name} to {registry}",
            )
    return len(images)
