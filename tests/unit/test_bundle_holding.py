"""Two builds on one cache: the second waits, says for whom, and goes on when the first is gone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

from bundle import holding
from bundle.places import ROOT

HOLD = """
import sys, time
from pathlib import Path
from bundle import holding
with holding.held(Path(sys.argv[1]), print):
    print("held", flush=True)
    time.sleep(60)
"""


def test_the_second_build_waits_and_says_for_whom(tmp_path: Path) -> None:
    first = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert first.stdout is not None
        assert first.stdout.readline() == "held\n"
        said: list[str] = []
        twice = threading.Event()

        def say(text: str) -> None:
            said.append(text)
            if len(said) == 2:
                twice.set()

        entered = threading.Event()

        def second() -> None:
            with holding.held(tmp_path, say, again_seconds=0.05):
                entered.set()

        waiting = threading.Thread(target=second)
        waiting.start()
        assert twice.wait(20)
        assert not entered.is_set()
        assert f"process {first.pid}, since " in said[0]
        assert "time.sleep(60)" in said[0]
        os.kill(first.pid, signal.SIGKILL)
        assert entered.wait(20)
        waiting.join(20)
    finally:
        first.kill()
        first.wait()


def test_a_free_cache_is_held_in_silence(tmp_path: Path) -> None:
    said: list[str] = []
    with holding.held(tmp_path / "cache", said.append):
        assert f"process {os.getpid()}" in holding.holder(tmp_path / "cache/build.holder")
    with holding.held(tmp_path / "cache", said.append):
        pass
    assert said == []
    assert "has not said" in holding.holder(tmp_path / "cache/build.holder")
