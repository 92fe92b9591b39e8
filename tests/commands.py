"""A command line of ours in this process: what a new interpreter would do, without the seconds of starting one."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable

import pytest


class CommandLine:
    """`main` as a shell calls it."""

    def __init__(
        self, main: Callable[[], None], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        self.main, self.monkeypatch, self.capsys = main, monkeypatch, capsys

    def run(self, *args: str) -> tuple[object, str]:
        """The exit code, and all that was said, without colours."""
        self.monkeypatch.setattr(sys, "argv", ["program", *args])
        with pytest.raises(SystemExit) as ended:
            self.main()
        said = self.capsys.readouterr()
        return ended.value.code, re.sub(r"\x1b\[[0-9;]*m", "", said.out + said.err)
