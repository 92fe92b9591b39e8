"""The objects of one namespace, by kubectl as the site's admin."""

from __future__ import annotations

import subprocess

from common.errors import Refusal
from common.kubectl import Kubectl, find
from common.places import Places
from components.kit import surroundings

TIMEOUT_SECONDS = 20


class Asked:
    """What a command asks kubectl for."""

    def __init__(self, places: Places, namespace: str) -> None:
        self._kubectl = Kubectl(find(places.bundle), places.kubeconfig, surroundings.built())
        self._namespace = namespace

    def _refused(self, why: str) -> Refusal:
        """The error to raise, of what kubectl says."""
        return Refusal(why)

    def _ask(self, *words: str, stdin: str = "") -> str:
        """What kubectl prints."""
        where = (f"--request-timeout={TIMEOUT_SECONDS}s", "--namespace", self._namespace)
        try:
            return self._kubectl.run(*where, *words, timeout=TIMEOUT_SECONDS + 10, stdin=stdin.encode()).decode()
        except subprocess.CalledProcessError as error:
            raise self._refused(f"kubectl {words[0]}: {error.stderr.strip() or error.stdout.strip()}") from None
        except subprocess.TimeoutExpired:
            raise self._refused(f"kubectl {words[0]}: no answer within {TIMEOUT_SECONDS + 10} s") from None
