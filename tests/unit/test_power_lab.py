"""Hosts of a lab, killed by a Podman that says it failed."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import pytest

from validate.core.errors import ClusterError
from validate.ground.power.lab import LabHosts

PODMAN = """#!/bin/sh
case $1 in
  kill) echo 'timed out waiting for file /run/libpod/exits/x: internal libpod error' >&2; exit 125;;
  inspect) echo {running};;
esac
"""


@pytest.mark.parametrize(("running", "fails"), [("true", True), ("false", False)])
def test_a_host_counts_as_killed_when_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, running: str, fails: bool
) -> None:
    """Podman gives its own watcher five seconds, which is too little on a full machine."""
    program = tmp_path / "podman"
    program.write_text(PODMAN.format(running=running))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(ClusterError, match="internal libpod error") if fails else nullcontext():
        LabHosts("lab").kill("cp1")
