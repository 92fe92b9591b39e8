"""The cluster's own control plane under a fault: who leads it, its audited writes, its way back."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from components.kit.probing import Check, Held, Verdict
from validate.audit import apiaudit, session
from validate.audit.analysis import Limits
from validate.core.errors import ClusterError, NotValidError
from validate.ground import Ground
from validate.ground.cluster import pick
from validate.ground.kubectl import API_PORT, wait_for
from validate.ground.nodes import Context, nodes
from validate.ground.pods import new_run_id
from validate.pod.record import AuditRecorder, AuditRun, AuditWriter
from validate.suites.checks import control

API, ETCD, MANAGER = "kubernetes", "etcd", "controller-manager"
LEASE = "kube-controller-manager"
CLIENTS, RATE = 4, 20.0
LIMITS = Limits(max_gap_s=5.0, min_acknowledged=100, resolution=5.0)


@dataclass(frozen=True)
class ControlPlane:
    """Reached through the load balancer of a host that lives on."""

    context: Context
    address: str = ""  # of that host; "": by the site's own address

    @property
    def _name(self) -> str:
        return f"api.{self.context.site.name}"

    def leaders(self) -> dict[str, str]:
        """Service -> the host that leads it."""
        return {ETCD: self._etcd_leader(), MANAGER: self._lease_holder()}

    def _etcd_leader(self) -> str:
        members, statuses = control.etcd_status(self.context)
        return control.leader_name(members, {s["Status"]["leader"] for s in statuses})

    def _lease_holder(self) -> str:
        lease = self.context.cluster.json("-n", "kube-system", "get", "lease", LEASE)
        return str(lease["spec"].get("holderIdentity") or "").split("_")[0]

    def gather(self, host: str) -> None:
        """etcd and the controller manager are led there; NotValidError where that can't be."""
        self._move_etcd(host)
        self._move_lease(host)

    def _move_etcd(self, host: str) -> None:
        leader = self._etcd_leader()
        if leader == host:
            return
        members, _ = control.etcd_status(self.context)
        wanted = next((m["ID"] for m in members if m["name"] == host), None)
        if wanted is None:
            raise NotValidError(f"{host} has no etcd member: give a control plane as --host")
        # Only the leader itself can hand over.
        command = [*control.ETCDCTL, "move-leader", f"{wanted:x}"]
        self.context.cluster.exec("kube-system", f"etcd-{leader}", command, timeout=10)
        wait_for(f"etcd to be led by {host}", lambda: True if self._etcd_leader() == host else None, timeout=20)

    def _move_lease(self, host: str) -> None:
        """Takes the lease from whoever holds it; the candidates race for it, so more than once."""

        def held() -> bool | None:
            holder = self._lease_holder()
            if holder == host:
                return True
            if holder:
                release = json.dumps({"spec": {"holderIdentity": ""}})
                asked = ["patch", "lease", LEASE, "--type=merge", "-p", release]
                self.context.cluster.run("-n", "kube-system", *asked)
                raise ClusterError("the lease", f"held by {holder}, released")
            return None

        wait_for(f"{LEASE} to be held by {host}", held, timeout=180, every=1.5)

    def node_back(self, host: str, deadline: float, since: float) -> Check:
        """`since`: monotonic; the seconds of the Check are counted from there."""

        def ready() -> bool | None:
            found = {n.name: n.ready for n in nodes(self.context.cluster)}
            return True if all(found.values()) and host in found else None

        return _timed(f"{host} is Ready again", ready, deadline, since)

    def etcd_back(self, deadline: float, since: float) -> Check:
        """As `node_back`."""

        def quorum() -> bool | None:
            checks = list(control.etcd_quorum(self.context))
            return True if all(c.verdict is Verdict.PASS for c in checks) else None

        return _timed("etcd has all members again", quorum, deadline, since)

    def writes(self, folder: Path) -> ApiWrites:
        """Audited writes to its API, not begun yet."""
        run, namespace = self.context.run, self.context.namespace
        access = apiaudit.access(self.context.cluster, self.address, API_PORT, self._name, namespace, run)
        folder.mkdir(parents=True, exist_ok=True)
        record = AuditRecorder(folder / f"{API}.jsonl")
        return ApiWrites(access, AuditRun(API, run, record, lambda: _opened(access), CLIENTS, RATE), folder)


def of(ground: Ground, avoid: Sequence[str] = ()) -> ControlPlane | None:
    """None where the platform stands on no cluster; `avoid`: hosts that are about to die."""
    site = ground.site
    if not (site.state / "kubeconfig").is_file():
        return None
    found = nodes(site.cluster)
    context = Context(site, site.cluster, new_run_id(), found)
    if not avoid:
        return ControlPlane(context)
    near = pick(found, "audit", avoid).address
    cluster = site.cluster.through(near, API_PORT, f"api.{site.name}")
    return ControlPlane(replace(context, cluster=cluster), near)


@dataclass(frozen=True)
class ApiWrites:
    """`with writes: ...`: written meanwhile; what was written is gone from the API afterwards."""

    access: apiaudit.ApiAccess
    audit: AuditRun
    folder: Path

    def __enter__(self) -> ApiWrites:
        self.audit.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        with suppress(ClusterError):
            apiaudit.ApiWriter(self.access).clean(self.access.run)

    def stop(self) -> None:
        """Ends the clients; safe twice."""
        if not self.audit.stop.is_set():
            self.audit.finish()

    def read_back(self) -> session.Collected:
        """What the API still has of it."""
        record = self.folder / f"{API}.jsonl"

        def read() -> list[str]:
            writer = apiaudit.ApiWriter(self.access)
            try:
                return writer.read_all(self.access.run)
            finally:
                writer.close()

        try:
            found = wait_for("the API to list what was written", read, timeout=60, swallow=(ClusterError, OSError))
        except ClusterError as error:
            return session.Collected(API, record, Held([]), str(error))
        return session.Collected(API, record, Held([found]))


def _opened(access: apiaudit.ApiAccess) -> AuditWriter[None]:
    writer = apiaudit.ApiWriter(access)
    writer.open()
    return writer


def _timed(name: str, look: Callable[[], bool | None], timeout: float, since: float) -> Check:
    try:
        wait_for(name, look, timeout=timeout, every=0.5)
    except ClusterError as error:
        return Check(name, Verdict.FAIL, str(error), {}, time.monotonic() - since)
    took = time.monotonic() - since
    return Check(name, Verdict.PASS, f"{took:.1f} s after its start", {}, took)
