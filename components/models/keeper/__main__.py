"""The keeper's pod: `python3 -m components.models.keeper`.

The one with the Lease writes; each of them shows the page, and holds questions to releases that sleep.
What it has to know lies in files below `APADANA_MOUNTS` (/etc/apadana): keeper.json, the store's Secret, certificates.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path
from typing import Any, TypeVar

import urllib3
from minio import Minio
from minio.error import S3Error

from components.models.keeper import artefacts, bucket, objects, serving
from components.models.keeper.artefacts import Registry, Version
from components.models.keeper.copies import Rules
from components.models.keeper.freeing import Freeing
from components.models.keeper.holding import Holder, Limits
from components.models.keeper.keeper import Keeper
from components.models.keeper.kubernetes import Api
from components.models.keeper.lease import Lease
from components.models.keeper.page import Server, Told
from components.models.keeper.waking import Waking

MOUNTS = Path(os.environ.get("APADANA_MOUNTS", "/etc/apadana"))
PORT = int(os.environ.get("PORT", "8443"))
HOLD_PORT = int(os.environ.get("HOLD_PORT", "8444"))
log = serving.logger("models")
T = TypeVar("T")
ROUND_SECONDS, HANGS_SECONDS = 2.0, 60.0
CERTIFICATE_ROUNDS = 300  # between two looks at the certificate
DRAIN_SECONDS = 15.0  # for what is held when the pod is told to end


class Bucket:
    """Where versions come from, and where they are kept."""

    def __init__(self, told: dict[str, Any]) -> None:
        self._told = told

    def registry(self) -> Registry:
        places = [(host, int(port)) for host, port in self._told["registry"]]
        return Registry(places, str(MOUNTS / "tls" / "ca.crt"))

    def promote(self, reference: str) -> Version:
        """From the registry; see artefacts.py."""
        return self._asked(lambda store, bucket: artefacts.promote(self.registry(), store, bucket, reference, log))

    def known(self, digest: str) -> Version:
        """By its digest alone."""
        return self._asked(lambda store, bucket: artefacts.again(self.registry(), store, bucket, digest, log))

    def effects(self, reference: str, digest: str) -> str:
        """What it is said to do beside answering."""
        return self._asked(lambda store, bucket: artefacts.effects(self.registry(), store, bucket, reference, digest))

    def newest(self, alias: str) -> str:
        """The version that an alias names now."""
        return self.registry().newest(alias)

    def client(self) -> Minio:
        """The bucket's server."""
        return bucket.client(MOUNTS / "store", self._told["store"])

    def _asked(self, what: Callable[[Minio, str], T]) -> T:
        try:
            return what(self.client(), self._told["place"]["bucket"])
        except (S3Error, urllib3.exceptions.HTTPError) as error:
            raise OSError(f"the store of models: {error}") from None


class Loop:
    """Round after round, until told to stop."""

    def __init__(self, told: dict[str, Any]) -> None:
        place = objects.Place(**told["place"])
        api = Api()
        self._lease = Lease(api, place.platform, told["lease"], socket.gethostname())
        bucket = Bucket(told)
        self.keeper = Keeper(place, api, bucket, log)
        rules = Rules(**told["copies"])
        self.freeing = Freeing(place, rules, api, bucket, log, time.time, self.leads)
        self._last = time.monotonic()
        self._led = False

    def leads(self) -> bool:
        """Whether this one writes."""
        return self._lease.held

    def fresh(self) -> bool:
        """Whether the loop goes on; a server that can't be reached is no reason to die."""
        return time.monotonic() - self._last < HANGS_SECONDS

    def round(self) -> None:
        """One round; what fails is tried again in the next."""
        try:
            leads = self._lease.renew()
            if leads != self._led:
                log("leads" if leads else "follows")
                self._led = leads
            if leads:
                self.keeper.round()
                self.freeing.round()
            else:
                self.keeper.look()
        except (OSError, HTTPException, ValueError, KeyError) as error:
            log(f"a round failed: {type(error).__name__}: {error}")
        self._last = time.monotonic()


def holder(told: dict[str, Any]) -> Holder:
    """Of this pod; it has a way of its own to the API server."""
    waking = Waking(objects.Place(**told["place"]), Api(), time.time)
    return Holder(waking.step, Limits(**told["holding"]), HOLD_PORT, MOUNTS / "tls", log)


def main() -> None:
    """Serve, hold and keep, until SIGTERM."""
    told = json.loads((MOUNTS / "keeper.json").read_text(encoding="utf-8"))
    stop = serving.stopping()
    loop, held = Loop(told), holder(told)
    shown = Told(
        told["site"],
        lambda: loop.keeper.states,
        loop.leads,
        loop.fresh,
        lambda: loop.keeper.pods,
        lambda: (*held.counts.numbers(), *(loop.freeing.numbers() if loop.leads() else ())),
    )
    server = Server(shown, PORT, MOUNTS / "tls")
    server.start()
    held.start()
    rounds = 0
    while not stop.wait(ROUND_SECONDS):
        loop.round()
        rounds += 1
        if rounds % CERTIFICATE_ROUNDS == 0:
            server.renew()
            held.renew()
    held.stop(DRAIN_SECONDS)


if __name__ == "__main__":
    main()
