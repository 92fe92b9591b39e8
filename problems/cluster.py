"""A problem on a site: its objects, its runs, their steps and logs, by kubectl."""

from __future__ import annotations

import base64
import importlib
import json
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from common.errors import Refusal
from components.kit.contract import Component
from components.kit.manifests import Manifest, in_namespace, manifest, ports
from components.kit.naming import client_secret
from components.kit.probing import Endpoint
from components.workflows import runs
from components.workflows.runs import said
from problems import STEPS, archive, checkout, store
from problems.house import (
    AGAIN,
    ASKING_NAME,
    CODE_FILE,
    GIVEN,
    MODEL,
    PROBLEM,
    REST,
    TIMED,
    TIMED_NAME,
    Alerts,
    Features,
    House,
    Studies,
)
from problems.lineage import Named
from validate.core.errors import ClusterError
from validate.ground.kubectl import wait_for
from validate.ground.site import Site

HERE = Path(__file__).parent
IMAGE = "trainer"
OURS = "problems"  # the feature store's name for us
MLFLOW, WORKFLOWS, FEAST, POSTGRES, PROMETHEUS = "mlflow", "workflows", "feast", "postgres", "prometheus"
CRON = "cronworkflows.argoproj.io"
OF_WORKFLOW = "workflows.argoproj.io/workflow"
LARGEST = 900_000  # bytes; a ConfigMap holds 1 MiB, a third more in its form as text
#: One of those who do a step at once; where it failed, it is told beside the step.
WORKER = re.compile(rf"({'|'.join(STEPS)})\(\d+:\d+\)")
Json = dict[str, Any]


def code(problem: str, folder: Path = HERE) -> bytes:
    """The problem's code as one file, as large as an object of the cluster may be."""
    found = archive.of_folder(problem, folder)
    if len(found) * 4 / 3 > LARGEST:
        raise Refusal(
            f"the code of {problem} is {len(found)} bytes, and at most {LARGEST * 3 // 4} go into an object of the "
            f"cluster; keep data out of {folder / problem}"
        )
    return found


def objects(problem: str, house: House, run: str = GIVEN, *, asks: bool = False, again: bool = False) -> list[Manifest]:
    """Code, the way to MLflow, feature store and studies, and the template: what a run needs beside itself."""
    from problems.pipeline import Pipeline  # Hera takes half a second to import: only who sends one waits for it

    packed = code(problem)
    pipeline = Pipeline(house, problem, archive.sha256(packed), run, asks)
    if again:
        template: Manifest = pipeline.again().to_dict()
    else:
        made = importlib.import_module(f"problems.{problem}.pipeline").template(pipeline)
        template = pipeline.when_told(made).to_dict()
    marks = {PROBLEM: problem}
    asked = {MLFLOW: house.mlflow} | ({FEAST: house.features.address} if house.features else {})
    if house.alerts:
        asked[PROMETHEUS] = house.alerts.addresses
    way = {
        "podSelector": {"matchExpressions": [{"key": PROBLEM, "operator": "Exists"}]},
        "policyTypes": ["Egress"],
        "egress": [
            {
                "to": [in_namespace(house.namespace, {"app.kubernetes.io/name": room})],
                "ports": ports(Endpoint(room, address).hosts()[0][1]),
            }
            for room, address in asked.items()
        ]
        + _to_studies(house),
    }
    held = {"immutable": True, "binaryData": {CODE_FILE: base64.b64encode(packed).decode()}}
    named = {"app.kubernetes.io/name": "problems"}
    return [
        manifest("v1", "ConfigMap", pipeline.code, namespace=house.namespace, marks=marks, **held),
        manifest("networking.k8s.io/v1", "NetworkPolicy", "problems", namespace=house.namespace, marks=named, spec=way),
        template,
    ]


def _to_studies(house: House) -> list[dict[str, Any]]:
    """Without ports inside: a policy sees them after translation. Without a place outside, which only its name server
    knows."""
    if (kept := house.studies) is None:
        return []
    if kept.external:
        return [{"ports": ports(*{port for _, port in Endpoint(POSTGRES, kept.address).hosts()})}]
    return [{"to": [in_namespace(house.namespace, {"app.kubernetes.io/name": POSTGRES})]}]


def workers(problem: str, house: House, settings: Mapping[str, object]) -> int:
    """How many search at once: without a store that they share one. Raises ValueError for wrong settings."""
    given = importlib.import_module(f"problems.{problem}.problem").given(settings)
    return int(given.workers) if house.studies else 1


def workflow(
    template: Manifest, name: str, run: str, settings: Mapping[str, object], at_once: int, commit: str = ""
) -> Manifest:
    """One start of it, as the site allows it: a template's name and arguments."""
    given = {"run": run, "settings": json.dumps(settings, sort_keys=True), "first": "0", "workers": str(at_once)}
    made = started(template, name, given | {"commit": commit})
    made["metadata"]["annotations"] = goes_on(template["metadata"]["name"])
    return made


def started(template: Manifest, name: str, given: Mapping[str, str]) -> Manifest:
    """A start of any template of ours, with its arguments."""
    metadata = template["metadata"]
    spec = {
        "workflowTemplateRef": {"name": metadata["name"]},
        "arguments": {"parameters": [{"name": key, "value": value} for key, value in given.items()]},
    }
    return manifest(runs.API, "Workflow", name, namespace=metadata["namespace"], marks=metadata["labels"], spec=spec)


def goes_on(template: str) -> dict[str, str]:
    """What a run tells of how it goes on after a failure: by the template for runs that people begin."""
    return {runs.AGAIN: template.removesuffix(TIMED_NAME).removesuffix(ASKING_NAME), runs.STEPS: ",".join(STEPS)}


@dataclass(frozen=True)
class Told:
    """Begin a run only when an alert is told of the model in service."""

    model: str
    rest_hours: float  # between two runs


def schedule(
    template: Manifest,
    at: str,
    settings: Mapping[str, object],
    at_once: int,
    told: Told | None = None,
    commit: str = "",
) -> Manifest:
    """Starts of it at fixed times, UTC, one after another: a start is left out while the one before is at work. One
    that was missed for want of a controller is made up for within an hour."""
    begun = workflow(template, "", "", settings, at_once, commit=commit)
    metadata = template["metadata"]
    if told:
        more = {MODEL: told.model, REST: f"{told.rest_hours:g}"}
        begun["spec"]["arguments"]["parameters"] += [{"name": key, "value": value} for key, value in more.items()]
    spec = {
        "schedules": [at],
        "timezone": "Etc/UTC",
        "concurrencyPolicy": "Forbid",
        "startingDeadlineSeconds": 3600,
        "successfulJobsHistoryLimit": 3,
        "failedJobsHistoryLimit": 3,
        "workflowMetadata": {"labels": metadata["labels"], "annotations": goes_on(metadata["name"])},
        "workflowSpec": begun["spec"],
    }
    name = scheduled(metadata["labels"][PROBLEM], told is not None)
    return manifest(
        runs.API, "CronWorkflow", name, namespace=metadata["namespace"], marks=metadata["labels"], spec=spec
    )


def scheduled(problem: str, when_told: bool) -> str:
    """The name of a schedule: a problem may be trained at fixed times, and when an alert is told."""
    return problem + ASKING_NAME if when_told else problem


def refused(found: Json) -> str | None:
    """What the controller has against a schedule; "" for nothing, None where it has not looked yet."""
    status = found.get("status") or {}
    wrong = [each for each in status.get("conditions") or () if each["type"] in ("SpecError", "SubmissionError")]
    if wrong:
        return str(wrong[0].get("message", wrong[0]["type"]))
    return "" if status.get("phase") == "Active" else None


@dataclass(frozen=True)
class Runs:
    """The runs of problems on one site."""

    site: Site

    def house(self, problem: str) -> House:
        """What the contract says. Raises Refusal where workflows or MLflow are off."""
        flows, mlflow = self._room(WORKFLOWS), self._room(MLFLOW)
        address = next(e.address for e in mlflow.endpoints_in if e.protocol == "mlflow-service")
        namespace, home = str(flows.client.required["namespace"]), self.site.platform.namespace
        if namespace != home:
            raise Refusal(f"steps run in {namespace}, and MLflow lets in pods of its own namespace {home} only")
        uses = {f"apadana.io/uses-{MLFLOW}": "true"}
        features = self._features(problem)
        if features is not None:
            uses[f"apadana.io/uses-{FEAST}"] = "true"
        studies = self._studies(flows)
        if studies is not None:
            uses[f"apadana.io/uses-{POSTGRES}"] = "true"
        image, ca = self.site.image(IMAGE), mlflow.ca_ref or ""
        return House(namespace, image, address, ca, uses, features, studies, self._alerts())

    def _studies(self, flows: Component) -> Studies | None:
        """None where the site was set up before searches were shared."""
        name = str(flows.client.required.get("studies", ""))
        if not name:
            return None
        found = self._room(POSTGRES)
        address = next(e.address for e in found.endpoints_in if e.protocol == "postgres")
        return Studies(address, name, client_secret(POSTGRES, name), found.ca_ref or "", found.mode == "external")

    def _features(self, problem: str) -> Features | None:
        """None where the site's store is off or has no view of the problem. Raises Refusal where its records are in
        there."""
        found = next((c for c in self.site.platform.components if c.name == FEAST), None)
        view = store.view(importlib.import_module(f"problems.{problem}.features"), problem).name
        fed = hasattr(importlib.import_module(f"problems.{problem}.problem"), "keys")
        if found is None or view not in json.loads(str(found.client.required["features"])):
            if fed:
                raise Refusal(
                    f"the records of {problem} are in the view {view} of the feature store; add it to {FEAST}"
                )
            return None
        address = next(e.address for e in found.endpoints_in if e.protocol == "feast-service")
        step = "prepare" if fed else "features"
        return Features(address, client_secret(FEAST, OURS), found.ca_ref or "", step)

    def _alerts(self) -> Alerts | None:
        found = next((c for c in self.site.platform.components if c.name == PROMETHEUS), None)
        if found is None:
            return None
        address = next(e.address for e in found.endpoints_in if e.protocol == PROMETHEUS)
        uses = {f"apadana.io/uses-{PROMETHEUS}": "true"}
        return Alerts(address, client_secret(PROMETHEUS, OURS), found.ca_ref or "", uses)

    def submit(self, problem: str, settings: Mapping[str, object]) -> str:
        """The name of the run that was begun."""
        made, at_once = self._prepared(problem, settings)
        name = f"{problem}-{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
        commit = checkout.commit(problem)
        self.site.cluster.apply(*made, workflow(made[-1], name, name, settings, at_once, commit=commit))
        return name

    def reproduce(self, named: Named, *, anyway: bool = False) -> str:
        """The name of the run that has a version's figures once more."""
        _there(named.model)
        made = objects(named.model, self.house(named.model), again=True)
        name = f"{named.model}-{AGAIN}-{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
        given = {"version": str(named), "anyway": "yes" if anyway else "no"}
        self.site.cluster.apply(*made, started(made[-1], name, given))
        return name

    def schedule(self, problem: str, at: str, settings: Mapping[str, object], told: Told | None = None) -> None:
        """Runs at fixed times with the code and the settings of now, in place of an earlier schedule. Raises Refusal
        for times that the controller does not take; then there is no schedule."""
        self.site.cluster.apply(*self._prepared(problem, settings)[0])  # for whoever retries one of its runs
        made, at_once = self._prepared(problem, settings, TIMED, asks=told is not None)
        commit = checkout.commit(problem)
        self.site.cluster.apply(*made, schedule(made[-1], at, settings, at_once, told, commit))
        name = scheduled(problem, told is not None)
        seen = wait_for(
            "the controller to look at the schedule",
            lambda: [wrong] if (wrong := refused(self._get(CRON, name))) is not None else None,
            timeout=60,
        )
        if seen[0]:
            self._delete(name)
            raise Refusal(f"--at {at!r}: {seen[0]}; five fields are needed, e.g. '30 3 * * *' for 03:30 UTC each day")

    def unschedule(self, problem: str) -> None:
        """No more starts, at fixed times or when an alert is told; runs that have begun go on."""
        there = self.site.cluster.json("-n", self._namespace(), "get", CRON, "-l", f"{PROBLEM}={problem}")["items"]
        if not there:
            raise Refusal(f"{problem} has no schedule on {self.site.name}")
        for each in there:
            self._delete(each["metadata"]["name"])

    def _delete(self, schedule: str) -> None:
        """Runs are the schedule's own, and would go with it."""
        self.site.cluster.run("-n", self._namespace(), "delete", CRON, schedule, "--cascade=orphan")

    def status(self, run: str) -> Json:
        """The workflow, as the cluster has it."""
        return self._get("workflows.argoproj.io", run)

    def logs(self, run: str) -> tuple[list[tuple[str, str, str]], str]:
        """Step, phase and message of each; and the lines of the pods that are still there."""
        found = self.status(run)
        nodes, problem = found.get("status", {}).get("nodes", {}).values(), runs.of_problem(found)
        steps = [
            (str(n["displayName"]), str(n.get("phase", "")), runs.why(n, problem))
            for n in sorted(nodes, key=lambda n: str(n.get("startedAt")))
            if n["displayName"] in (*STEPS, AGAIN)
            or (WORKER.fullmatch(n["displayName"]) and n.get("phase") in runs.LOST)
        ]
        wanted = ("logs", "-l", f"{OF_WORKFLOW}={run}", "-c", "main", "--prefix", "--tail=-1")
        try:
            lines = said(self.site.cluster.run("-n", self._namespace(), *wanted))
        except ClusterError as error:  # a pod that has not begun has none
            lines = f"no lines yet: {error}\n"
        return steps, lines

    def stop(self, run: str) -> None:
        """No further step begins, and those that run are ended."""
        change = json.dumps({"spec": {"shutdown": "Terminate"}})
        self.site.cluster.run(
            "-n", self._namespace(), "patch", "workflows.argoproj.io", run, "--type=merge", "-p", change
        )

    def retry(self, run: str) -> tuple[str, str]:
        """The new workflow's name, and the step that it begins with; what was done before is read from the store."""
        found = self.status(run)
        if "version" in (each["name"] for each in found["spec"]["arguments"]["parameters"]):
            raise Refusal(f"{run} does a version again and is no training: begin it anew by `reproduce`")
        try:
            made, first = runs.again(found)
        except ValueError as error:
            raise Refusal(str(error)) from None
        self.site.cluster.apply(made)
        return made["metadata"]["name"], first

    def _prepared(
        self, problem: str, settings: Mapping[str, object], run: str = GIVEN, *, asks: bool = False
    ) -> tuple[list[Manifest], int]:
        """What a run needs, and how many search at once; nothing is sent yet."""
        _there(problem)
        house = self.house(problem)
        if asks and house.alerts is None:
            raise Refusal(
                f"--when-told: the room {PROMETHEUS} is off on {self.site.name}, and nobody else knows of alerts"
            )
        at_once = workers(problem, house, settings)
        return objects(problem, house, run, asks=asks), at_once

    def _get(self, kind: str, name: str) -> Json:
        found: Json = self.site.cluster.json("-n", self._namespace(), "get", kind, name)
        return found

    def _namespace(self) -> str:
        return str(self._room(WORKFLOWS).client.required["namespace"])

    def _room(self, name: str) -> Component:
        found = next((c for c in self.site.platform.components if c.name == name), None)
        if found is None:
            raise Refusal(
                f"the room {name} is off on {self.site.name}; switch it on in stacks/Pulumi.{self.site.name}-ml.yaml"
            )
        return found


def _there(problem: str) -> None:
    if problem not in known():
        raise Refusal(f"there is no problem {problem!r}; problems: {', '.join(known())}")


def known() -> Sequence[str]:
    """The problems that are here."""
    return sorted(place.parent.name for place in HERE.glob("*/pipeline.py"))
