"""The rooms of a site as the story reaches them: a pod that plays the clients, and the commands that people type."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from components.kit import surroundings
from components.workflows.runs import ENDED, PROBLEM
from validate.core.errors import ClusterError, ValidateError
from validate.ground import Client
from validate.ground.kubectl import wait_for
from validate.ground.site import REPOSITORY, Site
from validate.pod.story.records import LEARNT, Story
from validate.pod.story.verbs import ROOM
from validate.suites.story.chain import WHENS, Found, RoomError

NAME = "machines"  # the problem, problems/machines
PATIENT = 360.0  # seconds for a verb; each waits by itself, and shorter
COMMAND_S, SERVES_S, TRAINS_S, GOES_S = 120.0, 240, 900.0, 120
WORKFLOWS, TEMPLATES = "workflows.argoproj.io", "workflowtemplates.argoproj.io"
SHORT = 10  # signs of a digest that an answer has


@dataclass
class SiteRooms:
    """`record`: a file for what each was asked and said. `clean` knows what was made by what is remembered here."""

    site: Site
    client: Client
    story: Story
    record: Path
    runs: list[str] = field(default_factory=list)
    served: bool = False

    @property
    def release(self) -> str:
        """Its name in service."""
        return f"story-{self.story.run}"

    def call(self, verb: str, **wish: Any) -> Found:
        """A verb in the pod."""
        asked = {"story": asdict(self.story), **wish}
        told: Found = {}
        for line in self.client.inside("story", "--act", verb, "--wish", json.dumps(asked), timeout=PATIENT):
            if line.get("kind") == "story":
                told = line
        self._note({"verb": verb, "wish": wish, **told})
        if "found" in told:
            found: Found = told["found"]
            return found
        why = f"{verb}: {told.get('failed') or 'the pod said nothing'}"
        raise RoomError(why) if told.get("whose") == ROOM else ValidateError(why)

    def command(self, *words: str, timeout: float = COMMAND_S) -> str:
        """As a person types it. Raises RoomError with what it said."""
        begin = time.monotonic()
        try:
            done = subprocess.run(
                [sys.executable, "-m", *words],
                cwd=REPOSITORY,
                env=surroundings.built(),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=timeout,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise RoomError(f"{' '.join(words)}: not done within {timeout:g} s") from None
        took = round(time.monotonic() - begin, 1)
        self._note({"command": words, "code": done.returncode, "said": done.stdout[-2000:], "seconds": took})
        if done.returncode:
            raise RoomError(f"{' '.join(words)}: {(done.stderr or done.stdout).strip()[-1000:]}")
        return done.stdout

    def _note(self, what: object) -> None:
        with self.record.open("a") as file:
            file.write(json.dumps(what) + "\n")

    def send(self, delivery: str) -> Found:
        """See chain.Rooms, here and below."""
        return self.call("send", delivery=delivery)

    def look(self, delivery: str) -> Found:
        """Of the feature store."""
        return self.call("look", delivery=delivery)

    def train(self) -> Found:
        """By `python -m problems submit`; the workflow's end is Kubernetes' to say, its version MLflow's."""
        begin = time.monotonic()
        wish = {"machines": self.story.begin(LEARNT), "count": self.story.count(LEARNT), "workers": 1}
        settings = [word for key, value in wish.items() for word in ("--set", f"{key}={json.dumps(value)}")]
        run = self.command("problems", "submit", NAME, "--stack", self.site.name, *settings).split()[0]
        self.runs.append(run)
        phase = wait_for(f"the run {run} to end", lambda: self._ended(run), timeout=TRAINS_S, every=3.0)
        said = "" if phase == "Succeeded" else self._said(run)
        found = self.call("registered", problem=NAME, of_run=run)
        return {**found, "run": run, "phase": phase, "said": said, "seconds": round(time.monotonic() - begin, 1)}

    def _ended(self, run: str) -> str | None:
        found = self.site.cluster.json("-n", self._namespace, "get", WORKFLOWS, run)
        phase = str(found.get("status", {}).get("phase", ""))
        return phase if phase in ENDED else None

    def _said(self, run: str) -> str:
        """Of a run that failed: its steps, and which of them said what."""
        with suppress(RoomError):
            return self.command("problems", "logs", run, "--stack", self.site.name)
        steps = self.site.cluster.json("-n", self._namespace, "get", WORKFLOWS, run)["status"].get("nodes", {}).values()
        lost = [
            f"{each['displayName']}: {each.get('message', '')}" for each in steps if each.get("phase") != "Succeeded"
        ]
        return "; ".join(lost)[:1000]

    @property
    def _namespace(self) -> str:
        return str(self.site.platform.component("workflows").client.required["namespace"])

    def serve(self, version: str) -> Found:
        """By `python -m stacks.models deploy`; the name that answers have for it is the keepers' to say."""
        begin, reference = time.monotonic(), f"models:/{NAME}/{version}"
        self.served = True
        words = ("deploy", self.release, reference, "--why", "the validator's story", "--wait", str(SERVES_S))
        self.command("stacks.models", self.site.name, *words, timeout=SERVES_S + COMMAND_S)
        took = round(time.monotonic() - begin, 1)
        digest = self.call("served", release=self.release).get(reference, "")
        if not digest:
            raise RoomError(f"the keepers know no {reference} of {self.release}")
        return {"reference": reference, "answers_as": digest.removeprefix("sha256:")[:SHORT], "seconds": took}

    def exchange(self, version: str, old: str) -> tuple[Found, Found]:
        """The pod asks while the command waits."""
        with ThreadPoolExecutor(1) as pool:
            asking = pool.submit(self.call, "exchange", release=self.release, old=old)
            served = self.serve(version)
            return asking.result(), served

    def ask(self, by: str, when: str = "") -> Found:
        """Through the gateway."""
        return self.call("ask", release=self.release, by=by, when=when)

    def tell(self, when: str, actual: Sequence[bool]) -> Found:
        """To the room outcomes."""
        return self.call("tell", release=self.release, when=when, actual=list(actual))

    def trace(self, answered: str) -> Found:
        """Of keepers and MLflow."""
        return self.call("trace", release=self.release, answered=answered)

    def clean(self) -> Mapping[str, int]:
        """All of it, also where one part of it fails. Raises ValidateError with what could not be taken away."""
        left: dict[str, int] = {}
        wrong: list[str] = []
        served, ran = [self._retire, self._forget_questions], [self._remove, self._forget_runs]
        for part in (*(served if self.served else ()), self._forget_features, *(ran if self.runs else ())):
            try:
                left |= part()
            except ValidateError as error:
                wrong.append(str(error))
        if wrong:
            raise ValidateError("; ".join(wrong))
        return left

    def _retire(self) -> dict[str, int]:
        words = ("retire", self.release, "--wait", str(GOES_S))
        self.command("stacks.models", self.site.name, *words, timeout=GOES_S + COMMAND_S)
        return {"release": len(self.call("served", release=self.release))}

    def _forget_questions(self) -> dict[str, int]:
        return {"questions": int(self.call("forget_questions", release=self.release, whens=WHENS)["left"])}

    def _forget_features(self) -> dict[str, int]:
        found = self.call("forget_features")
        return {"in the history": int(found["offline"]), "online": int(found["online"])}

    def _forget_runs(self) -> dict[str, int]:
        return {"runs and versions": int(self.call("forget_runs", problem=NAME, runs=self.runs)["left"])}

    def _remove(self) -> dict[str, int]:
        """The runs; template and code, too, where nobody else has one."""
        cluster, where, marked = self.site.cluster, ("-n", self._namespace), ("-l", f"{PROBLEM}={NAME}")
        for run in self.runs:
            with suppress(ClusterError):  # one that was not begun
                change = json.dumps({"spec": {"shutdown": "Terminate"}})
                cluster.run(*where, "patch", WORKFLOWS, run, "--type=merge", "-p", change)
        gone = ("delete", WORKFLOWS, *self.runs, "--ignore-not-found", "--timeout=120s")
        cluster.run(*where, *gone, timeout=150)
        there = cluster.json(*where, "get", WORKFLOWS, *marked)["items"]
        if not there:
            cluster.run(*where, "delete", f"{TEMPLATES},configmaps", *marked)
        return {"workflows": sum(each["metadata"]["name"] in self.runs for each in there)}
