"""Running a command: log, data apart, signals handed on."""

from __future__ import annotations

import os
import signal
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from road import running
from road.running import Command


def command(program: str, **environment: str) -> Command:
    return Command((sys.executable, "-u", "-c", program), environment, Path.cwd())


def test_output_goes_to_the_log_and_comes_back(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "step.log"
    outcome = running.run(command("print('one'); raise SystemExit(3)"), log, "t")
    assert (outcome.code, outcome.text) == (3, "one\n")
    assert log.read_text().endswith("one\n")


def test_data_stays_out_of_the_log(tmp_path: Path) -> None:
    log = tmp_path / "step.log"
    program = "import sys; print('private'); print('aside', file=sys.stderr)"
    outcome = running.run(command(program), log, "t", keep_output=True)
    assert outcome.text == "private\n"
    assert "private\n" not in log.read_text().partition("\n")[2]
    assert "aside" in log.read_text()


def test_the_token_reaches_the_child(tmp_path: Path) -> None:
    program = "import os; print(os.environ['APADANA_ROAD_TOKEN'], os.environ['MORE'])"
    assert running.run(command(program, MORE="x"), tmp_path / "log", "abc").text == "abc x\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_child_in_order(tmp_path: Path, number: signal.Signals) -> None:
    program = (
        "import signal, sys, time, pathlib\n"
        "def end(*_):\n"
        "    print('ended in order'); sys.exit(0)\n"
        "signal.signal(signal.SIGINT, end)\n"
        f"pathlib.Path({str(tmp_path / 'ready')!r}).touch()\n"
        "time.sleep(60)\n"
    )
    log = tmp_path / "log"

    def interrupt() -> None:
        deadline = threading.Event()
        while not (tmp_path / "ready").exists() and not deadline.wait(0.02):
            continue
        os.kill(os.getpid(), number)

    before = signal.getsignal(number)
    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(running.Interrupted) as interrupted:
        running.run(command(program), log, "t")
    thread.join()
    assert interrupted.value.number == number
    assert "ended in order" in log.read_text()
    assert signal.getsignal(number) is before


CHILD = "import subprocess, sys, time; subprocess.run([sys.executable, '-c', {inner!r}]); {then}"


@pytest.mark.parametrize(
    ("program", "forks", "code"),
    [
        (CHILD.format(inner="", then="time.sleep(60)"), True, -signal.SIGTERM),
        (CHILD.format(inner="import time; time.sleep(3)", then="pass"), True, 0),
        ("import time; time.sleep(3)", False, 0),
    ],
    ids=["waits for nobody", "its child works", "works by itself"],
)
def test_who_waits_for_a_killed_worker_is_ended(
    program: str, forks: bool, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "LONELY_SECONDS", 2.0)
    told = running.run(replace(command(program), forks=forks), tmp_path / "log", "t")
    assert told.code == code
    assert ("error: one of its workers was killed" in told.text) == (code != 0)
