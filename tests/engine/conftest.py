"""What several files of engine tests stand on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.engine import stores


@pytest.fixture(scope="module")
def platform() -> Iterator[stores.Platform]:
    """A real Redis and a real PostgreSQL, made for each file."""
    with stores.platform() as made:
        stores.add_redis(made)
        stores.add_postgres(made)
        yield made
