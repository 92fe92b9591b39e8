"""Runs the stacks: recovers what an earlier run left, looks at the plan, refuses what would lose
data, then acts."""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path
from typing import Any

from road import preview, strays
from road.place import Place
from road.work import StepFailed, Work


def environment(place: Place) -> dict[str, str]:
    """What the plain `pulumi` command needs to work on this site."""
    # The old language host takes the first python3 of PATH: it has to be ours.
    python = place.repository / ".venv" / "bin"
    return {
        "PULUMI_HOME": str(place.state / "pulumi-home"),
        "PULUMI_BACKEND_URL": f"file://{place.state / 'pulumi'}",
        "PULUMI_CONFIG_PASSPHRASE_FILE": str(place.state / "pulumi.passphrase"),
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
        "PULUMI_EXPERIMENTAL": "false",
        "KUBECONFIG": str(place.kubeconfig),
        "NO_COLOR": "1",
        "PATH": f"{python}:{place.bundle / 'bin'}:{os.environ.get('PATH', '')}",
    }


def make_secrets(place: Place) -> None:
    """The two secrets of a site, made once. A lost one is never replaced under live data."""
    for name, what in (
        ("root.secret", "every password"),
        ("pulumi.passphrase", "the stacks' state"),
    ):
        file = place.state / name
        if file.is_file():
            continue
        if any((place.state / "pulumi" / ".pulumi" / "stacks").glob("**/*.json")):
            raise StepFailed(
                [
                    f"{file} is missing, but stacks of this site exist: {what} hangs on it.",
                    "Bring it back from the escrow copy. A new one would lock every client out.",
                ]
            )
        _write_private(file, secrets.token_hex(32))


def _write_private(file: Path, text: str) -> None:
    fresh = file.with_name(f".{file.name}.new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as target:
        target.write(text + "\n")
        os.fsync(target.fileno())
    fresh.replace(file)


class Stack:
    """One stack of the site and the `pulumi` commands on it."""

    def __init__(self, work: Work, part: str) -> None:
        self.work = work
        self.name = f"{work.place.site}-{part}"
        self.environment = environment(work.place)
        self.program = str(work.place.bundle / "bin" / "pulumi")

    def call(self, *argv: str) -> str:
        return self.work.call(
            self.program,
            *argv,
            "--non-interactive",
            "--stack",
            self.name,
            environment=self.environment,
        )

    def data(self, *argv: str) -> str:
        outcome = self.work.data(
            self.program,
            *argv,
            "--non-interactive",
            "--stack",
            self.name,
            environment=self.environment,
        )
        if outcome.code != 0:
            raise StepFailed(
                [
                    f"`pulumi {argv[0]}` of {self.name} ended with {outcome.code}",
                    *self._said(outcome.text),
                ]
            )
        return outcome.text

    def _said(self, text: str) -> list[str]:
        """With --json the diagnostics stand in the document and not on standard error."""
        try:
            document = json.loads(text[text.index("{") :])
            messages = [
                str(entry.get("message", "")) for entry in document.get("diagnostics") or []
            ]
        except ValueError:
            messages = []
        told = [line for message in messages for line in message.splitlines() if line.strip()]
        return told[-12:] or self.work.errors()

    # ---- what an earlier run may have left

    def recover(self) -> bool:
        """Clears a dead run's lock; tells whether the state may be behind the cluster."""
        for lock in self.locks():
            self._refuse_if_alive(lock)
        if self.locks():
            self.work.notes.append(f"cleared a stale lock of {self.name}")
            self.call("cancel", "--yes")
        pending = self.pending()
        if pending:
            self.work.notes.append(
                f"{pending} unfinished operations of {self.name} were compared with the cluster"
            )
        return bool(pending)

    def locks(self) -> list[Path]:
        folder = self.work.place.state / "pulumi" / ".pulumi" / "locks"
        return sorted(folder.glob(f"**/{self.name}/*.json"))

    def _refuse_if_alive(self, lock: Path) -> None:
        """Our site lock is held, so only a `pulumi` started by hand can be alive here."""
        try:
            holder: dict[str, Any] = json.loads(lock.read_text())
        except (OSError, ValueError):
            return
        pid = int(holder.get("pid") or 0)
        if pid and strays.is_alive(pid) and "pulumi" in _command_name(pid):
            raise StepFailed(
                [
                    f"stack {self.name} is in use by a pulumi started by hand: process {pid} of "
                    f"{holder.get('username', 'someone')}, since {holder.get('timestamp', '?')}.",
                    "Nothing was changed. Let it end, then run again.",
                ],
                closer=f"ps -fp {pid}",
            )

    def pending(self) -> int:
        deployment = json.loads(self.data("stack", "export")).get("deployment") or {}
        return len(deployment.get("pending_operations") or [])

    # ---- acting

    def plan(self, refresh: bool) -> preview.Plan:
        return preview.read(self.data("preview", "--json", *(["--refresh"] if refresh else [])))

    def refresh(self) -> None:
        self.call("refresh", "--yes", "--skip-preview", "--clear-pending-creates")


def _command_name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def up(work: Work, part: str) -> int:
    make_secrets(work.place)
    stack = Stack(work, part)
    stack.call("stack", "select", "--create")
    behind = stack.recover() or work.cluster_changed or work.ended_before not in {"ok", "never"}
    if behind:
        stack.refresh()
    plan = stack.plan(refresh=False)
    if plan.refusals:
        raise StepFailed(
            [
                f"{stack.name} was left as it is, because `pulumi up`",
                *(f"  {refusal}" for refusal in plan.refusals),
                "Take the change back, or follow UPGRADING.md, 'Changes that are refused'.",
            ],
            closer=f"pulumi preview --diff --stack {stack.name}",
        )
    if plan.changes:
        stack.call("up", "--yes", "--skip-preview")
    return plan.changes


def write_contract(work: Work, part: str) -> int:
    text = Stack(work, part).data("stack", "output", "contract", "--json")
    document = json.loads(text)
    fresh = json.dumps(document, indent=2, sort_keys=True) + "\n"
    file = work.place.contract
    if file.is_file() and file.read_text() == fresh:
        return 0
    new = file.with_suffix(".new")
    new.write_text(fresh)
    new.replace(file)
    return 1
