"""How long the road takes: again on a whole lab, and each of its parts unchanged."""

from __future__ import annotations

import json
import re
import sys
import time

import pytest

from components.kit.layers import standing
from tests import lab
from tests.bench.figures import Figure, show
from validate.ground.site import REPOSITORY

pytestmark = pytest.mark.bench
STANDING = standing(REPOSITORY / "stacks", lab.SITE)


def timed(*command: str, timeout: float = 900) -> tuple[float, lab.Done]:
    begun = time.monotonic()
    done = lab.run(*command, timeout=timeout)
    seconds = time.monotonic() - begun
    assert done.returncode == 0, lab.told(done)
    return seconds, done


def last(step: str, which: str) -> str:
    """What the road itself wrote down of its last run with work, or without."""
    records = json.loads((lab.LOGS / "progress.json").read_text())
    seconds = records.get(step, {}).get(f"seconds_{which}")
    return f"{seconds:.1f} s" if seconds is not None else "not measured"


def test_make_up_again() -> None:
    seconds, done = timed("make", "up", f"SITE={lab.SITE}", timeout=1800)
    unchanged = "Nothing had to be changed" in done.stdout
    what = "make up again, nothing to change" if unchanged else "make up again, WITH changes"
    figures = [Figure(what, f"{seconds:.1f} s", "-", "-", "make up")]
    before, after = ("prerequisites", "bundle", "lab", "hosts", "retired"), ("contract", "smoke")
    steps = (*before, *STANDING, *after)
    for step in steps:
        figures.append(Figure(f"  step {step}, again", last(step, "idle")))
        figures.append(Figure(f"  step {step}, with work", last(step, "work")))
    show("road", figures)


def test_site_again() -> None:
    begun = time.monotonic()
    done = lab.playbook("site")
    seconds = time.monotonic() - begun
    assert done.returncode == 0, lab.told(done)
    recap = dict(re.findall(r"^(\S+)\s+: ok=(\d+)", done.stdout, re.MULTILINE))
    changed = sum(map(int, re.findall(r"changed=(\d+)", done.stdout)))
    hosts = {host: int(count) for host, count in recap.items() if host != "localhost"}
    command = "ansible-playbook playbooks/site.yml"
    show(
        "road",
        [
            Figure("site.yml again, 4 hosts", f"{seconds:.1f} s, changed={changed}", "-", "8 s, changed=0", command),
            Figure("site.yml again, most tasks on a host", str(max(hosts.values())), "-", "5", command),
            Figure(
                "site.yml fresh (step hosts)",
                last("hosts", "work"),
                "raw kubeadm 41 s on prepared hosts",
                "2 min 30 s",
                "make down; make up",
            ),
        ],
    )


@pytest.mark.parametrize("layer", STANDING)
def test_pulumi_up_unchanged(layer: str) -> None:
    goal = "4 s, at most 250 objects" if layer == "data" else "3 s, at most 250 objects"
    stack = lab.Stack(layer)
    begun = time.monotonic()
    done = stack("up", "--yes", "--skip-preview", *stack.on_settings)
    seconds = time.monotonic() - begun
    assert done.returncode == 0, lab.told(done)
    found = re.search(r"(\d+) unchanged", done.stdout)
    objects = found[1] if found else "?"
    command = f"pulumi up --stack {stack.name} --skip-preview"
    figure = f"{seconds:.1f} s, {objects} objects"
    floor = "empty program 1.0 s; 100 objects 2.6 s"
    show("road", [Figure(f"pulumi up unchanged, {stack.name}", figure, floor, goal, command)])


def test_smoke() -> None:
    seconds, done = timed(sys.executable, "-m", "validate", "smoke", "--stack", lab.SITE)
    verdicts = re.findall(r"^\w+\s+\d+ PASS.*$", done.stdout, re.MULTILINE)
    figure = f"{seconds:.1f} s ({verdicts[-1].strip() if verdicts else 'no verdicts'})"
    show(
        "road", [Figure("smoke, four stores and cluster", figure, "-", "30 s", "python -m validate smoke --stack lab")]
    )


@pytest.mark.parametrize(("verb", "goal"), [("build", "5 s"), ("verify", "-")])
def test_bundle(verb: str, goal: str) -> None:
    seconds, done = timed(sys.executable, "-m", "bundle", verb)
    said = done.stdout.strip().splitlines()[-1].split(":")[0]
    what = f"bundle {verb}, unchanged ({said})"
    show("road", [Figure(what, f"{seconds:.1f} s", "-", goal, f"python -m bundle {verb}")])
