"""The story of the rooms while parts of them die: the right result each time, and nothing left.

    APADANA_STORIES=1 pytest -s -m campaign tests/campaign/test_story.py

Each story (docs/validation-integration.md) meets four deaths, each at a moment of its own. Spark is off on the lab, so
that a worker of the stream dies in place of driver and executor.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from components.kit.probing import Verdict
from components.workflows.names import LEASE
from problems.cluster import OF_WORKFLOW
from tests import gatefaults, lab
from tests.draining import wait_whole
from validate.ground.kubectl import wait_for
from validate.ground.site import REPOSITORY

pytestmark = pytest.mark.campaign
STORIES = int(os.environ.get("APADANA_STORIES", "5"))
STORY = ("integration", "--stack", lab.SITE, "--steps", "integration/rooms/*", "--fresh")
STEP_S = 300.0  # until the pod of a step runs


def kill(pod: str, namespace: str) -> str:
    """At once, without a word to it."""
    lab.cluster().run("-n", namespace, "delete", "pod", pod, "--grace-period=0", "--force", timeout=60)
    return pod


def worker_of_the_stream() -> str:
    """While records are on their way."""
    platform = lab.found().platform.namespace
    wanted = ("get", "pods", "-l", "app.kubernetes.io/name=streaming", "--field-selector", "status.phase=Running")
    return kill(lab.cluster().json("-n", platform, *wanted)["items"][0]["metadata"]["name"], platform)


def step() -> str:
    """The first one that works."""
    namespace = str(lab.found().platform.component("workflows").client.required["namespace"])

    def works() -> str | None:
        wanted = ("get", "pods", "-l", OF_WORKFLOW, "--field-selector", "status.phase=Running")
        found = lab.cluster().json("-n", namespace, *wanted)["items"]
        return str(found[0]["metadata"]["name"]) if found else None

    return kill(wait_for("a step to work", works, timeout=STEP_S, every=0.5), namespace)


def controller() -> str:
    """The one that leads the workflows."""
    platform = lab.found().platform.namespace
    holder = lab.cluster().json("-n", platform, "get", "lease", LEASE)["spec"]["holderIdentity"]
    return kill(holder, platform)


@dataclass(frozen=True)
class Death:
    """`when`: how a line begins that the story tells, right after which it happens."""

    when: str
    what: str
    happens: Callable[[], str]


DEATHS = (
    Death("second delivery", "a worker of the stream", worker_of_the_stream),
    Death("a workflow trains on", "a step", step),
    Death("a workflow trains again", "the leading controller", controller),
    Death("the release takes", "the host by which the questions come", gatefaults.kill_host),
)


def told(process: subprocess.Popen[str], deaths: tuple[Death, ...]) -> Iterator[str]:
    """Each line of the story; what dies at it has died before the next one is read."""
    assert process.stdout is not None
    waiting = list(deaths)
    for line in process.stdout:
        yield line
        for death in [each for each in waiting if line.startswith(each.when)]:
            waiting.remove(death)
            begin = time.monotonic()
            yield f"-- killed: {death.what} ({death.happens()}), {time.monotonic() - begin:.1f} s\n"
    assert not waiting, f"the story never said: {[each.when for each in waiting]}"


@pytest.mark.parametrize("number", range(1, STORIES + 1))
def test_the_story_ends_well_whatever_dies(number: int) -> None:
    wait_whole()
    begin, lines = time.monotonic(), list[str]()
    words = (sys.executable, "-u", "-m", "validate", *STORY)
    with subprocess.Popen(
        words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=REPOSITORY
    ) as process:
        try:
            for line in told(process, DEATHS):
                print(line, end="", flush=True)
                lines.append(line)
        finally:
            if process.poll() is None:
                process.terminate()
    said = "".join(lines)
    print(f"story {number} of {STORIES}: {time.monotonic() - begin:.0f} s")
    folder = re.search(r"^report: (\S+)/index.html$", said, re.MULTILINE)
    assert folder, said[-3000:]
    results = json.loads((Path(folder[1]) / "results.json").read_text())["results"]
    wrong = {each["name"]: each["detail"] for each in results if each["verdict"] != Verdict.PASS}
    assert results and not wrong
    assert process.returncode == 0
    gatefaults.wait_whole()
    wait_whole()
