"""The validator's way to Kubernetes: kubectl as a subprocess, with a deadline on every command.

Why kubectl and not the `kubernetes` package: importing that costs over a second, its exec is a
websocket without half-close (a tar stream needs one), and the bundle carries kubectl anyway.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from common.kubectl import Kubectl, find, unanswered
from components.kit import surroundings
from validate.core.errors import ClusterError, SilentError
from validate.pod import waiting

R = TypeVar("R")
API_PORT = 8443  # of each host's load balancer
#: What kubectl says when the API server, or the way to it, is the trouble.


@dataclass(frozen=True)
class Cluster:
    kubeconfig: Path
    binary: Path
    server: str | None = None
    server_name: str | None = None

    def through(self, address: str, port: int, server_name: str) -> Cluster:
        """The same cluster, reached through one host's load balancer instead of the VIP."""
        return replace(self, server=f"https://{address}:{port}", server_name=server_name)

    @property
    def kubectl(self) -> Kubectl:
        """With a cache of the site's own."""
        environment = surroundings.built() | {"KUBECACHEDIR": str(self.kubeconfig.parent / "kube-cache")}
        return Kubectl(self.binary, self.kubeconfig, environment, self.server, self.server_name)

    def run(self, *args: str, timeout: float = 20.0, stdin: bytes | None = None) -> str:
        """ClusterError with what it said; SilentError where the API, or the way to it, gave no answer."""
        try:
            return self.kubectl.run(*args, timeout=timeout, stdin=stdin).decode(errors="replace")
        except subprocess.TimeoutExpired as late:
            raise SilentError(_what(args), f"no answer within {timeout:g} s") from late
        except subprocess.CalledProcessError as error:
            text = error.stderr.strip() or error.stdout.strip()
            kind = SilentError if unanswered(text) else ClusterError
            raise kind(_what(args), text[-1500:] or f"exit code {error.returncode}") from error

    def json(self, *args: str, timeout: float = 20.0) -> Any:
        return json.loads(self.run(*args, "-o", "json", timeout=timeout))

    def apply(self, *objects: Mapping[str, object], timeout: float = 90.0) -> None:
        """Server-side, so that a try whose answer got lost may be made again.

        Unvalidated: kubectl would fetch the API's whole schema for it, and the server refuses
        what it does not know anyway.
        """
        listed = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)}).encode()
        args = ("apply", "--server-side", "--validate=false", "--field-manager=apadana-validate", "-f", "-")
        self._repeated("the API to take the objects of this run", *args, timeout=timeout, stdin=listed)

    def delete(self, namespace: str, kinds: str, selector: str, timeout: float = 60.0) -> None:
        """What the selector finds, whether or not it is there; tried again while nobody answers."""
        args = ("-n", namespace, "delete", kinds, "-l", selector, "--wait=false", "--now", "--ignore-not-found")
        self._repeated(f"the API to delete {kinds} of {selector}", *args, timeout=timeout)

    def _repeated(self, what: str, *args: str, timeout: float, stdin: bytes | None = None) -> None:
        """A command that does no harm twice, until the API answers."""

        def once() -> str:
            return self.run(*args, stdin=stdin, timeout=timeout / 3)

        wait_for(what, once, timeout=timeout, swallow=(SilentError,))

    def exec(
        self,
        namespace: str,
        pod: str,
        command: Sequence[str],
        *,
        container: str | None = None,
        stdin: bytes | None = None,
        timeout: float = 20.0,
    ) -> str:
        where = ["-n", namespace, "exec", pod] + (["-c", container] if container else [])
        where += ["-i"] if stdin is not None else []
        return self.run(*where, "--", *command, stdin=stdin, timeout=timeout)

    def exec_lines(self, namespace: str, pod: str, command: Sequence[str], *, timeout: float) -> Iterator[str]:
        """Lines as they come; ClusterError when the command fails or its time is over."""
        args = ["-n", namespace, "exec", pod, "--", *command]
        process = self.kubectl.start(*args)
        with _deadline(process, timeout) as expired:
            assert process.stdout is not None
            for raw in process.stdout:
                yield raw.decode(errors="replace").rstrip("\n")
            _, err = process.communicate()
        if expired():
            raise ClusterError(_what(args), f"not finished within {timeout:g} s")
        if process.returncode != 0:
            raise ClusterError(_what(args), err.decode(errors="replace").strip()[-1500:])


@contextmanager
def _deadline(process: subprocess.Popen[bytes], timeout: float) -> Iterator[Callable[[], bool]]:
    """Kills the process when the time is over, also while a read blocks."""
    import threading

    fired = threading.Event()

    def kill() -> None:
        fired.set()
        process.kill()

    timer = threading.Timer(timeout, kill)
    timer.daemon = True
    timer.start()
    try:
        yield fired.is_set
    finally:
        timer.cancel()
        if process.poll() is None:
            process.kill()
        process.wait()


def _what(args: Sequence[str]) -> str:
    """The command without what follows `--`: inline programs would drown the message."""
    shown = list(args)
    if "--" in shown:
        cut = shown.index("--")
        shown = shown[: cut + 1] + [a if len(a) < 60 else "..." for a in shown[cut + 1 : cut + 6]]
    return "kubectl " + " ".join(shown)


def wait_for(
    what: str,
    probe: Callable[[], R | None],
    *,
    timeout: float,
    every: float = 0.5,
    swallow: tuple[type[Exception], ...] = (ClusterError,),
) -> R:
    """Asks `probe` until it returns something; names what was waited for when time is over."""
    try:
        return waiting.wait(probe, timeout=timeout, every=every, swallow=swallow)
    except waiting.LateError as late:
        raise ClusterError(f"waiting for {what}", f"not within {timeout:g} s; last: {late}") from None


def find_kubectl(bundle: Path) -> Path:
    found = find(bundle)
    if not found.is_file():
        raise ClusterError(
            "looking for kubectl",
            f"neither {found} nor a kubectl on PATH exists; build the bundle (`make bundle`) or set APADANA_BUNDLE",
        )
    return found
