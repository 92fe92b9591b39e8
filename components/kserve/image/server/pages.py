"""A page of a model server beside its protocol: what it answered of late, for who stands behind the same fence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs


class Page:
    """Between the network and the server: shows `text` of what the query calls `since`, at one path."""

    def __init__(self, app: Any, path: str, text: Callable[[str], str]) -> None:
        self._app, self._path, self._text = app, path, text

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """One request."""
        if scope["type"] != "http" or scope["path"] != self._path or scope["method"] != "GET":
            await self._app(scope, receive, send)
            return
        since = parse_qs(scope["query_string"].decode("latin-1")).get("since", [""])[0]
        head = [(b"content-type", b"text/plain; charset=utf-8")]
        await send({"type": "http.response.start", "status": 200, "headers": head})
        await send({"type": "http.response.body", "body": self._text(since).encode()})
