"""The site's keys as a preview sees them: it reads them and writes none.

A leaf that is due, or not there yet, is made in a folder that lives as long as the preview. So the
plan shows the change, and what is true after it was looked at is what was true before.
"""

from __future__ import annotations

import atexit
import shutil
import tempfile
from pathlib import Path

_SHOWN: dict[str, str] = {}  # by folder of a preview: what it shows


def told(text: str) -> str:
    """A message with the places that a person knows."""
    for folder, pki in _SHOWN.items():
        text = text.replace(folder, pki)
    return text


def keys(pki: Path) -> Path:
    """A folder that shows all files of `pki` and takes what is written instead of them.

    It holds links: no key of the site is copied. A file is written by giving a new one its name,
    which replaces the link and not what it leads to.
    """
    folder = Path(tempfile.mkdtemp(prefix="apadana-preview-"))  # 0700, and no name to guess
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    _SHOWN[str(folder)] = str(pki)
    for path in sorted(pki.rglob("*")):
        shown = folder / path.relative_to(pki)
        if path.is_dir():
            shown.mkdir(mode=0o700)
        else:
            shown.symlink_to(path.resolve())
    return folder
