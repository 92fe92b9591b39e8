"""What the rendered tests share: a module that needs more of its API server has a `server` of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.rendered.apiserver import ApiServer


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """A real API server with its etcd, empty."""
    started = ApiServer(tmp_path_factory.mktemp("apiserver"))
    yield started
    started.stop()
