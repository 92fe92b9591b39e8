"""Images that others build: taken by digest from their registry, where that can be reached."""

from __future__ import annotations

import re

from bundle import oci
from bundle.commands import run
from bundle.errors import BundleError
from bundle.manifest import Missing
from bundle.places import Places
from bundle.versions import Image, Upstream

# What skopeo says differs from day to day (addresses, times); a manifest has to repeat.
REASONS = (
    (r"manifest unknown|not found|does not exist", "its registry does not have this digest"),
    (r"unauthorized|denied|forbidden|authentication", "its registry wants a login"),
    (r"no such host|dial tcp|i/o timeout|connection|deadline", "its registry cannot be reached"),
)


class UpstreamError(BundleError):
    """An image that could not be had; `why` is the same words for the same reason."""

    def __init__(self, name: str, upstream: Upstream, text: str) -> None:
        found = (why for pattern, why in REASONS if re.search(pattern, text, re.IGNORECASE))
        self.why = next(found, "it could not be collected")
        super().__init__(f"image {name}, {upstream.ref}: {self.why}\n{text}")


def collect(places: Places, name: str, image: Image, architecture: str) -> oci.Manifest:
    """Copy one into the layout. The pinned digest is checked by skopeo, of an index or an image.

    The layout's own digest may differ: it holds one architecture, as OCI. That one is signed.
    """
    assert image.upstream is not None
    ref = oci.reference(name, image.version)
    try:
        run(
            [
                "skopeo",
                "--override-os",
                "linux",
                "--override-arch",
                architecture,
                "copy",
                "--quiet",
                image.upstream.source,
                f"oci:{places.layout}:{ref}",
            ],
            what=f"collecting the image {name}",
        )
    except BundleError as error:
        raise UpstreamError(name, image.upstream, str(error)) from error
    return oci.find(places.layout, ref)


def missing(name: str, image: Image, error: UpstreamError) -> Missing:
    assert image.upstream is not None
    return Missing(
        name=name, version=image.version, ref=image.upstream.ref, digest=image.upstream.digest, why=error.why
    )


def above(name: str, image: Image, lacking: list[str]) -> Missing:
    """An image of ours that stands on one that is missing."""
    return Missing(name=name, version=image.version, why=f"it stands on {', '.join(lacking)}")


def refusal(errors: list[UpstreamError]) -> BundleError:
    """What a build says that was not allowed to go on without them."""
    rows = "\n".join(f"  - {line}" for error in errors for line in str(error).splitlines()[:1])
    last = "\n".join(str(errors[-1]).splitlines()[1:])
    return BundleError(
        f"{len(errors)} upstream image(s) of versions.yaml could not be collected:\n{rows}\n"
        "  Build where their registries can be reached (`skopeo login` where one wants it), or"
        " build without them: `python -m bundle build --allow-missing`; the rooms that need them"
        f" have to be `off` or `external` then. The last one failed so:\n{last}"
    )
