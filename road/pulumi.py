"""Runs the stacks: recovers what an earlier run left, looks at the plan, refuses what would lose
data, then acts. What Pulumi needs to run is made and told by `python -m stacks.home`."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from components.kit import layers
from road import certificates, drift, kubectl, leaving, orphans, preview, running
from road.work import StepFailed, Work

TRIES = 4  # of one `pulumi up` that was cut off; what an earlier one made stays
ROLL_MINUTES = 20  # for all members of the slowest store, one after the other
#: What Pulumi says where the API server's connection broke, not where it said no.
CUT_OFF = re.compile(
    r"(Get|Put|Post|Patch|Delete) \"https://[^\"]+\": "
    r"(.*: )?(EOF|unexpected EOF|http2: \w+|(dial|read|write) tcp|net/http: TLS handshake timeout|context deadline)"
    r"|etcdserver: (request timed out|leader changed)"
)
#: What Pulumi says where an object was made and the answer to it was lost: it is there, and not in the state.
CONFLICT = re.compile(r"conflicts? with \"([^\"]+)\"")
TAKE_OVER = "PULUMI_K8S_ENABLE_PATCH_FORCE"
TLS = "-tls"  # what the name of a component's leaf, and of its Secret, ends in


def exports(text: str) -> dict[str, str]:
    """The variables of `export NAME=value` lines, as a shell would read them."""
    words = (shlex.split(line) for line in text.splitlines() if line.startswith("export "))
    return {name: value for _, pair in words for name, _, value in [pair.partition("=")]}


class Stack:
    """One stack of the site and the plain `pulumi` commands on it."""

    def __init__(self, work: Work, part: str, *, retired: bool = False) -> None:
        """`retired`: its stack file is gone, the settings are those of its last run."""
        self.work = work
        self.name = f"{work.place.site}-{part}"
        home = ("python", "-m", "stacks.home", work.place.site)
        # The road holds the site already, and takes off stacks whose settings are gone.
        quiet = {"NO_COLOR": "1", "PULUMI_RUN_PROGRAM": "false"}
        self.environment = {**exports(work.call(*home)), **quiet}
        self.program = str(Path(self.environment["PULUMI_HOME"]) / "bin" / "pulumi")
        self._free()
        # The settings with this site's own salt: a copy, the committed file stays as it is.
        kept = work.place.state / "pulumi-config" / f"Pulumi.{self.name}.yaml"
        self.settings = str(kept) if retired else work.call(*home, "--stack", self.name).splitlines()[-1].strip()

    def call(self, *argv: str, more: Mapping[str, str] | None = None) -> str:
        """`more`: variables for this call alone."""
        environment = {**self.environment, **(more or {})}
        return self.work.call(self.program, *argv, *self._common(), environment=environment)

    def data(self, *argv: str) -> str:
        outcome = self._ask(*argv)
        if outcome.code != 0:
            raise self._failure(outcome, *argv)
        return outcome.text

    def _ask(self, *argv: str) -> running.Outcome:
        return self.work.data(self.program, *argv, *self._common(), environment=self.environment)

    def _failure(self, outcome: running.Outcome, *argv: str) -> StepFailed:
        said = diagnostics(outcome.text) or self.work.errors()
        return StepFailed([f"`pulumi {' '.join(argv[:2])}` of {self.name} ended with {outcome.code}", *said])

    def on_settings(self) -> tuple[str, str]:
        return ("--config-file", self.settings)

    def _common(self) -> tuple[str, ...]:
        return ("--non-interactive", "--stack", self.name)

    # ---- what an earlier run may have left

    def locks(self) -> list[Path]:
        backend = Path(self.environment["PULUMI_BACKEND_URL"].removeprefix("file://"))
        return sorted((backend / ".pulumi" / "locks").glob(f"**/{self.name}/*.json"))

    def _free(self) -> None:
        """Clears a dead run's lock. We hold the site, so only a hand-started pulumi can live."""
        for lock in self.locks():
            self._refuse_if_alive(lock)
        if self.locks():
            self.work.notes.append(f"cleared a stale lock of {self.name}")
            self.call("cancel", "--yes")

    def _refuse_if_alive(self, lock: Path) -> None:
        try:
            holder: Mapping[str, Any] = json.loads(lock.read_text())
        except (OSError, ValueError):
            return
        pid = int(holder.get("pid") or 0)
        if pid and orphans.is_alive(pid) and orphans.name(pid).startswith("pulumi"):
            who, since = holder.get("username", "someone"), holder.get("timestamp", "?")
            raise StepFailed(
                [
                    f"stack {self.name} is in use by a pulumi started by hand: process {pid} of {who}, since {since}.",
                    "Nothing was changed. Let it end, then run again.",
                ],
                closer=f"ps -fp {pid}",
            )

    def export(self) -> dict[str, Any]:
        """The whole state, secrets encrypted."""
        found: dict[str, Any] = json.loads(self.data("stack", "export"))
        return found

    def compare_with_cluster(self) -> None:
        """Takes into the state what is really there; forgets creations that never ended."""
        arguments = ("--yes", "--skip-preview", "--clear-pending-creates")
        self.call("refresh", *arguments, *self.on_settings())

    # ---- acting

    def contract(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.data("stack", "output", "contract", "--json"))
        return found

    def plan(self, *more: str) -> preview.Plan:
        """Pulumi ends a plan that takes away what is protected with an error; its steps tell which that is."""
        arguments = ("preview", "--json", *more, *self.on_settings())
        outcome = self._ask(*arguments)
        try:
            found = preview.read(outcome.text)
        except ValueError:  # a program that failed early leaves none
            raise self._failure(outcome, *arguments) from None
        if outcome.code != 0 and not found.refusals:
            raise self._failure(outcome, *arguments)
        return found

    def up(self, *targets: str) -> None:
        """All of it, or only the resources whose URNs these patterns name."""
        chosen = [word for target in targets for word in ("--target", target)]
        command = ("up", "--yes", "--skip-preview", *chosen, *self.on_settings())

        def once(attempt: int) -> None:
            if attempt > 1:
                self.work.notes.append(
                    f"{self.name}: the API server was away for a moment; compared with it, and gone on"
                )
                self.compare_with_cluster()
            self._complete(*command)

        persist(once)

    def _complete(self, *command: str) -> None:
        """Takes over what a run that was cut off has made: each run of Pulumi is another owner of fields to
        Kubernetes, so it stumbles over its own objects. Where anybody else's are among them, it stays refused."""
        try:
            self.call(*command)
        except StepFailed as failed:
            if not made_by_pulumi(failed.text):
                raise
            self.work.notes.append(f"{self.name}: took over what an earlier run had made without learning of it")
            self.call(*command, more={TAKE_OVER: "true"})


def persist(act: Callable[[int], object]) -> None:
    """`act` with the number of the try, again where it was cut off. Kubernetes' own clients try again; Pulumi and
    kubectl's waiting do not, and a control plane that moves costs a whole run."""
    for attempt in range(1, TRIES + 1):
        try:
            act(attempt)
        except StepFailed as failed:
            if attempt == TRIES or not CUT_OFF.search(failed.text):
                raise
        else:
            return


def made_by_pulumi(text: str) -> bool:
    """Whether Pulumi failed because of fields that it alone has set before."""
    owners = CONFLICT.findall(text)
    return bool(owners) and all(leaving.PULUMIS_OWN.fullmatch(owner) for owner in owners)


def pending(export: Mapping[str, Any]) -> int:
    """Operations that were begun and whose end Pulumi never learned."""
    return len((export.get("deployment") or {}).get("pending_operations") or [])


def diagnostics(text: str) -> list[str]:
    """With --json the errors stand in the document and not on standard error."""
    try:
        document, _ = json.JSONDecoder().raw_decode(text[text.index("{") :])
        entries = document.get("diagnostics") or []
    except (ValueError, AttributeError):
        return []
    errors = [str(entry.get("message", "")) for entry in entries if entry.get("severity") == "error"]
    return [line for message in errors for line in message.splitlines() if line.strip()][:12]


def up(work: Work, part: str) -> int:
    if part != layers.CLUSTER:
        # The platform's stacks act as the namespace's installer, whose token lives one day.
        work.call("python", "-m", "stacks.installer", work.place.site)
    stack = Stack(work, part)
    export = stack.export()
    opened, drifted = pending(export), drift.look(work.place, export)
    if opened:
        work.notes.append(f"{opened} open operations of {stack.name} compared with the cluster")
    work.notes += drifted.notes()
    if opened or drifted.missing or work.cluster_changed or work.ended_before not in {"ok", "never"}:
        stack.compare_with_cluster()
    mark_ended(work)
    plan = leaving.let_go(stack, stack.plan())
    if plan.refusals:
        raise StepFailed(
            [
                f"{stack.name} was left as it is, because `pulumi up`",
                *(f"  {refusal}" for refusal in plan.refusals),
                "Take the change back, or follow UPGRADING.md, 'Changes that are refused'.",
            ],
            closer=f'eval "$(.venv/bin/python -m stacks.home {work.place.site})"; '
            f"pulumi preview --diff --stack {stack.name} --config-file {stack.settings}",
        )
    has_members = part != layers.CLUSTER
    if has_members:
        start_anew(stack)
    if plan.changes:
        stack.up()
    drift.give_back(work.place, drifted)
    if has_members:
        wait_for_members(stack)
    return plan.changes + len(drifted.scaled)


def mark_ended(work: Work) -> None:
    """Kept in a file until their members were started anew: the first run for that renews the
    leaves, and it may be killed before they are."""
    names = [name for name in certificates.ended(work.place.pki) if name.endswith(TLS)]
    if names:
        work.place.ended_leaves.write_text("\n".join(names) + "\n")


def start_anew(stack: Stack) -> None:
    """Members whose certificate has ended can't be rolled (road.certificates)."""
    work, mark = stack.work, stack.work.place.ended_leaves
    if not mark.is_file():
        return
    names = mark.read_text().split()
    work.notes.append(f"certificates had ended, their members start anew: {', '.join(names)}")
    stack.up(*(f"**::kubernetes:core/v1:Secret::{name}" for name in names))
    where = ("-n", namespace(stack))
    found = certificates.holders(kubectl.insist_read(work.place, *where, "get", "pods"), names)
    if found:
        kubectl.insist(work.place, *where, "delete", "pods", "--wait=false", *found)
    mark.unlink()


def wait_for_members(stack: Stack) -> None:
    """Until each workload runs as it was last set: Pulumi takes a StatefulSet's old status, which
    was whole, for the end of its update, and a run before this one may have been killed."""
    place, where = stack.work.place, ("-n", namespace(stack))
    status = ("rollout", "status", "statefulsets,deployments", f"--timeout={ROLL_MINUTES}m")
    wait_out(stack.work, *kubectl.command(place, *where, *status))
    # Ready is not settled yet: that status does not wait for the last member's minReadySeconds.
    for item in kubectl.insist_read(place, *where, "get", "statefulsets")["items"]:
        members = item["spec"]["replicas"]
        if item["status"].get("availableReplicas", 0) < members:
            named = f"statefulset/{item['metadata']['name']}"
            settled = f"--for=jsonpath={{.status.availableReplicas}}={members}"
            waiting = ("wait", named, settled, f"--timeout={ROLL_MINUTES}m")
            wait_out(stack.work, *kubectl.command(place, *where, *waiting))


def wait_out(work: Work, *command: str) -> None:
    """A command that only waits."""
    persist(lambda _: work.call(*command))


def namespace(stack: Stack) -> str:
    """Of the contract: its file, or the stack itself before the first one is written."""
    file = stack.work.place.platform
    return str((json.loads(file.read_text()) if file.is_file() else stack.contract())["namespace"])


def export_contract(work: Work, layer: str) -> None:
    """The layer's part of the contract, as its stack has exported it."""
    fresh = json.dumps(Stack(work, layer).contract(), indent=2, sort_keys=True) + "\n"
    file = work.place.contract(layer)
    file.parent.mkdir(parents=True, exist_ok=True)
    new = file.with_suffix(".new")
    new.write_text(fresh)
    new.replace(file)
