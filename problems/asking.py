"""A server of the platform, asked patiently. The standard library alone: the image of the steps has no more."""

from __future__ import annotations

import base64
import json
import ssl
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field

WAIT_S, TRIES, PAUSE_S = 20.0, 24, 5.0  # a store behind it may change its primary meanwhile, under load twice


class AskedError(Exception):
    """The server said no; `code` is its own word for it, where it has one."""

    def __init__(self, what: str, status: int, content: bytes) -> None:
        super().__init__(f"{what}: {status} {content[:300].decode(errors='replace')}")
        self.status = status
        try:
            told = json.loads(content)
        except ValueError:
            told = None
        self.code = str(told.get("error_code", "")) if isinstance(told, dict) else ""


@dataclass(frozen=True)
class Server:
    """One address, and how it is asked."""

    uri: str
    ca_file: str = ""
    login: tuple[str, str] | None = field(default=None, repr=False)  # name and password

    def ask(
        self, method: str, path: str, body: bytes | None = None, kind: str = "application/json", tries: int = TRIES
    ) -> bytes:
        """Raises AskedError for a no, OSError where nobody answers; goes on asking while the server is not there or not
        ready."""
        context = ssl.create_default_context(cafile=self.ca_file or None)
        heads = {"Content-Type": kind}
        if self.login:
            heads["Authorization"] = "Basic " + base64.b64encode(":".join(self.login).encode()).decode()
        request = urllib.request.Request(self.uri.rstrip("/") + path, body, heads, method=method)
        for left in reversed(range(tries)):
            try:
                with urllib.request.urlopen(request, timeout=WAIT_S, context=context) as answer:
                    content: bytes = answer.read()
                    return content
            except urllib.error.HTTPError as error:
                if error.code < 500 or not left:
                    raise AskedError(f"{self.uri}{path}", error.code, error.read()) from error
            except OSError as error:
                if not left:
                    raise OSError(f"{self.uri}{path}: {error}") from error
            time.sleep(PAUSE_S)  # between two tries, which are counted
        raise AssertionError("the last try answers or raises")
