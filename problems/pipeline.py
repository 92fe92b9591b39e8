"""What a problem's pipeline is made of: its steps as pods, said with Hera. Pure.

A step's folder goes to S3 under the run's own name, so a later workflow can begin at any step of an earlier run.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hera.workflows import DAG, Container, Env, Parameter, Resources, RetryStrategy, S3Artifact, Task, WorkflowTemplate
from hera.workflows import models as argo

from problems import STEPS, STUDIES_ADDRESS, STUDIES_CA, STUDIES_DATABASE, STUDIES_LOGIN, due, origin, store, tracking
from problems.house import AGAIN, ASKING_NAME, CODE_FILE, GIVEN, MODEL, PROBLEM, REST, TIMED_NAME, Alerts, House

CODE_AT, CA_AT = "/opt/problem", "/etc/apadana/ca"
LOGIN_AT, FEATURES_CA_AT = "/etc/apadana/features-login", "/etc/apadana/features-ca"
ALERTS_AT, ALERTS_CA_AT = "/etc/apadana/alerts-login", "/etc/apadana/alerts-ca"
STUDIES_AT, STUDIES_CA_AT = "/etc/apadana/studies-login", "/etc/apadana/studies-ca"
#: Where a step finds earlier ones, and where it leaves its own; the mounts' folder belongs to root, so not below it.
WORK, OUT = "/tmp/work", "/tmp/out"  # noqa: S108  of the step's own container
#: The question whether it is time to train, where it leaves the answer, and all that follows.
DUE, ANSWER, ALL = "due", "/tmp/due", "main"  # noqa: S108  of the step's own container
#: The step that several pods do at once, and how many: each has its number.
SHARED_STEP, WORKERS, NUMBER = "tune", "{{workflow.parameters.workers}}", "{{inputs.parameters.worker}}"
#: Of the code, where whoever submitted it knew.
COMMIT = "{{workflow.parameters.commit}}"
#: Which version's figures are had once more.
VERSION, ANYWAY = "{{workflow.parameters.version}}", "{{workflow.parameters.anyway}}"
STEP_S = 900
KEPT = "4h"  # a step's pod, for its log; then the log is in S3 only


@dataclass(frozen=True)
class Pipeline:
    """The steps of one problem at one state of its code."""

    house: House
    problem: str
    digest: str  # of the code
    run: str = GIVEN
    asks: bool = False  # first, whether an alert is told of its model

    @property
    def code(self) -> str:
        """The name of the code: another code is another template, so a run keeps the one that it began with."""
        return f"problem-{self.problem}-{self.digest[:12]}"

    @property
    def name(self) -> str:
        """The template's."""
        if self.asks:
            return self.code + ASKING_NAME
        return self.code if self.run == GIVEN else self.code + TIMED_NAME

    def template(self) -> WorkflowTemplate:
        """With no step yet. It takes `run`, `first` (the number of the first step to do), `workers` (of a search) and
        `settings` (JSON)."""
        features, studies, alerts = self.house.features, self.house.studies, self._alerts
        files = {"code": self.code, "ca": self.house.mlflow_ca, "features-ca": features.ca if features else ""}
        files["studies-ca"] = studies.ca if studies else ""
        files["alerts-ca"] = alerts.ca if alerts else ""
        files = {name: source for name, source in files.items() if source}
        marks = {PROBLEM: self.problem}
        uses = dict(self.house.uses) | (dict(alerts.uses) if alerts else {})
        return WorkflowTemplate(
            name=self.name,
            namespace=self.house.namespace,
            labels=marks,
            entrypoint=ALL,
            arguments=[
                Parameter(name="run", value=""),
                Parameter(name="first", value="0"),
                Parameter(name="workers", value="1"),
                Parameter(name="settings", value="{}"),
                Parameter(name="commit", value=""),
                *(Parameter(name=name, value="") for name in ((MODEL, REST) if alerts else ())),
            ],
            volumes=[
                *(
                    argo.Volume(name=name, config_map=argo.ConfigMapVolumeSource(name=source))
                    for name, source in files.items()
                ),
                *self._logins(),
            ],
            pod_metadata=argo.Metadata(labels=marks | uses),
            pod_gc=argo.PodGC(strategy="OnPodSuccess", delete_delay_duration=KEPT),
        )

    def step(self, name: str) -> Task:
        """A task; write it where a DAG is open. Left out where the run begins at a later step."""
        template, when = self._container(name), f"{list(STEPS).index(name)} >= {{{{workflow.parameters.first}}}}"
        if name != SHARED_STEP:
            return Task(name=name, template=template, when=when)
        numbered = [Parameter(name="worker", value="{{item}}")]
        return Task(
            name=name,
            template=template,
            when=when,
            arguments=numbered,
            with_sequence=argo.Sequence(count=argo.IntOrString(root=WORKERS)),
        )

    def again(self) -> WorkflowTemplate:
        """One pod that does a version's steps again, with the version's own code. It takes `version` and `anyway`."""
        with self.template() as made:
            made.name = f"{self.code}-{AGAIN}"
            made.arguments = [Parameter(name="version", value=""), Parameter(name="anyway", value="no")]
            mounts, env = self._common()
            env = [each for each in env if each.name != origin.COMMIT]
            step = self._pod(
                AGAIN,
                ("problems.reproducing", [VERSION, f"--work={WORK}", f"--anyway={ANYWAY}"]),
                (mounts, env),
                Resources(cpu_request="50m", cpu_limit="1", memory_request="192Mi", memory_limit="512Mi"),
            )
            with DAG(name=ALL):
                Task(name=AGAIN, template=step)
        return made

    @property
    def _alerts(self) -> Alerts | None:
        return self.house.alerts if self.asks else None

    def when_told(self, made: WorkflowTemplate) -> WorkflowTemplate:
        """The same, all of it behind a question where it asks: whether an alert is told of the model in service."""
        if (alerts := self._alerts) is None:
            return made
        mounts, env = self._common()
        uris = ",".join(f"https://{address}" for address in alerts.addresses.split(","))
        env.append(Env(name=due.URIS, value=uris))
        _let_in(mounts, env, ("alerts-login", ALERTS_AT, due.LOGIN), ("alerts-ca", ALERTS_CA_AT, due.CA), alerts.ca)
        args = [
            self.problem,
            f"--model={{{{workflow.parameters.{MODEL}}}}}",
            f"--rest-hours={{{{workflow.parameters.{REST}}}}}",
            f"--out={ANSWER}",
        ]
        with made:
            asks = self._pod(
                DUE,
                ("problems.due", args),
                (mounts, env),
                Resources(cpu_request="20m", cpu_limit="1", memory_request="48Mi", memory_limit="256Mi"),
                outputs=[Parameter(name=DUE, value_from=argo.ValueFrom(path=ANSWER))],
            )
            with DAG(name="when-told"):
                asked = Task(name=DUE, template=asks)
                asked >> Task(
                    name="train-anew", template=ALL, when=f"{{{{tasks.{DUE}.outputs.parameters.{DUE}}}}} == {due.YES}"
                )
        made.entrypoint = "when-told"
        return made

    def _common(self) -> tuple[list[argo.VolumeMount], list[Env]]:
        """Of every pod: the code, and MLflow."""
        mounts = [argo.VolumeMount(name="code", mount_path=CODE_AT, read_only=True)]
        env = [
            Env(name="PYTHONPATH", value=f"{CODE_AT}/{CODE_FILE}"),
            Env(name=tracking.URI, value=f"https://{self.house.mlflow}"),
            Env(name=tracking.CODE, value=self.digest),
            Env(name=origin.COMMIT, value=COMMIT),
            Env(name=origin.IMAGE, value=self.house.image),
        ]
        if self.house.mlflow_ca:
            mounts.append(argo.VolumeMount(name="ca", mount_path=CA_AT, read_only=True))
            env.append(Env(name=tracking.CA, value=f"{CA_AT}/ca.crt"))
        return mounts, env

    def _container(self, name: str) -> Container:
        mounts, env = self._common()
        if (features := self.house.features) and name == features.step:
            env.append(Env(name=store.URI, value=f"https://{features.address}"))
            _let_in(
                mounts, env, ("login", LOGIN_AT, store.LOGIN), ("features-ca", FEATURES_CA_AT, store.CA), features.ca
            )
        if (kept := self.house.studies) and name == SHARED_STEP:
            env += [Env(name=STUDIES_ADDRESS, value=kept.address), Env(name=STUDIES_DATABASE, value=kept.database)]
            login = ("studies-login", STUDIES_AT, STUDIES_LOGIN)
            _let_in(mounts, env, login, ("studies-ca", STUDIES_CA_AT, STUDIES_CA), kept.ca)
        numbered = [Parameter(name="worker")] if name == SHARED_STEP else []
        args = [
            self.problem,
            name,
            f"--work={WORK}",
            f"--out={OUT}",
            f"--run={self.run}",
            "--settings={{workflow.parameters.settings}}",
            *(f"--worker={NUMBER}" for _ in numbered),
        ]
        return self._pod(
            name,
            ("problems.steps", args),
            (mounts, env),
            Resources(cpu_request="50m", cpu_limit="1", memory_request="192Mi", memory_limit="512Mi"),
            inputs=[
                *numbered,
                *(S3Artifact(name=step, path=f"{WORK}/{step}", key=self._key(step)) for step in STEPS[name]),
            ],
            # Those who share a step leave the same, and so under one name.
            outputs=[S3Artifact(name="out", path=OUT, key=self._key(name))],
        )

    def _pod(
        self,
        name: str,
        program: tuple[str, list[str]],
        reached: tuple[list[argo.VolumeMount], list[Env]],
        resources: Resources,
        **more: Any,
    ) -> Container:
        """`program`: a module and its arguments; `reached`: what it mounts, and its environment."""
        (module, args), (mounts, env) = program, reached
        return Container(
            name=name,
            image=self.house.image,
            image_pull_policy="IfNotPresent",
            command=["python3", "-m", module],
            args=args,
            env=env,
            volume_mounts=mounts,
            resources=resources,
            active_deadline_seconds=STEP_S,
            # What it said last is told with the workflow, too: the gates that were failed.
            termination_message_policy="FallbackToLogsOnError",
            # A pod that was lost is tried again; a step that said no is not.
            retry_strategy=RetryStrategy(limit="2", retry_policy="OnError"),
            **more,
        )

    def _logins(self) -> list[argo.Volume]:
        """Of the feature store, of the studies' database, of alerts; the step that asks one mounts it, and no other."""
        named = {"login": self.house.features, "studies-login": self.house.studies, "alerts-login": self._alerts}
        return [
            argo.Volume(name=name, secret=argo.SecretVolumeSource(secret_name=given.secret))
            for name, given in named.items()
            if given is not None
        ]

    def _key(self, step: str) -> str:
        return f"problems/{self.problem}/{self.run}/{step}.tgz"


def _let_in(
    mounts: list[argo.VolumeMount],
    env: list[Env],
    login: tuple[str, str, str],
    authority: tuple[str, str, str],
    ca: str,
) -> None:
    """Adds a server's log-in, and its authority where `ca` names one: each is a volume, its folder, a variable."""
    volume, folder, variable = login
    mounts.append(argo.VolumeMount(name=volume, mount_path=folder, read_only=True))
    env.append(Env(name=variable, value=folder))
    if ca:
        volume, folder, variable = authority
        mounts.append(argo.VolumeMount(name=volume, mount_path=folder, read_only=True))
        env.append(Env(name=variable, value=f"{folder}/ca.crt"))


def usual(pipeline: Pipeline) -> WorkflowTemplate:
    """All steps. Nothing is trained on records that failed; both judgements go on side by side."""
    with pipeline.template() as made, DAG(name=ALL):
        prepare, validate, features = (pipeline.step(name) for name in ("prepare", "validate", "features"))
        tune, train = pipeline.step("tune"), pipeline.step("train")
        evaluate, fairness, register = (pipeline.step(name) for name in ("evaluate", "fairness", "register"))
        prepare >> validate
        validate >> features
        features >> tune
        tune >> train
        train >> [evaluate, fairness]
        evaluate >> register
        fairness >> register
    return made
