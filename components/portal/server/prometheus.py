"""Prometheus as this page asks it: replica after replica, until one answers."""

from __future__ import annotations

import base64
import http.client
import json
import ssl
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlencode

SECONDS = 5.0
LARGEST = 8_000_000  # bytes of an answer
#: Labels and value of each series of an instant query.
Series = list[tuple[dict[str, str], float]]


class Prometheus:
    """The replicas; `login` is a folder with username and password, read anew each time."""

    def __init__(self, places: Sequence[tuple[str, int]], ca_file: str, login: Path) -> None:
        self._places, self._login = list(places), login
        self._trusted = ssl.create_default_context(cafile=ca_file)

    def query(self, text: str) -> Series:
        """An instant query. Raises OSError: no replica answers it."""
        why = ""
        for at, place in enumerate(self._places):
            try:
                found = self._ask(*place, text)
            except (OSError, http.client.HTTPException, ValueError, LookupError) as error:
                why = f"{place[0]}: {type(error).__name__}: {error}"
                continue
            if at:  # who answers is asked first from now on
                self._places.insert(0, self._places.pop(at))
            return found
        raise OSError(f"no replica of Prometheus answers; {why}")

    def _ask(self, host: str, port: int, text: str) -> Series:
        user, password = ((self._login / name).read_text(encoding="utf-8").strip() for name in ("username", "password"))
        word = base64.b64encode(f"{user}:{password}".encode()).decode()
        line = http.client.HTTPSConnection(host, port, timeout=SECONDS, context=self._trusted)
        try:
            line.request(
                "GET", f"/api/v1/query?{urlencode({'query': text})}", headers={"Authorization": f"Basic {word}"}
            )
            answer = line.getresponse()
            content = answer.read(LARGEST)
        finally:
            line.close()
        if answer.status != http.client.OK:
            raise OSError(f"HTTP {answer.status}")
        result = json.loads(content)["data"]["result"]
        return [(dict(each["metric"]), float(each["value"][1])) for each in result]
