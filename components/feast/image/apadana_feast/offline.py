"""The offline store: Feast's own for PostgreSQL, which here never looks into the future.

A row that was written later than the moment that is asked about was not known then, whatever its
event time says. Feast leaves such rows in unless each caller asks for the filter.
"""

from __future__ import annotations

from typing import Any, Literal

from feast.infra.offline_stores.contrib.postgres_offline_store import postgres
from feast.infra.utils.postgres import connection_utils

_as_feast = connection_utils._get_conn_kwargs


def _without_search_path(config: Any) -> dict[str, Any]:
    """A pooler refuses `search_path` as a start-up parameter; PostgreSQL looks into `public` without it."""
    return {name: value for name, value in _as_feast(config).items() if name != "options"}


connection_utils._get_conn_kwargs = _without_search_path


class KnownOfflineStoreConfig(postgres.PostgreSQLOfflineStoreConfig):  # type: ignore[misc]  # it has no types
    """`offline_store:` of a store's configuration."""

    type: Literal["apadana_feast.offline.KnownOfflineStore"] = "apadana_feast.offline.KnownOfflineStore"


class KnownOfflineStore(postgres.PostgreSQLOfflineStore):  # type: ignore[misc]  # it has no types
    """Joins use what was known at the moment of each row, by event time and by created time."""

    @staticmethod
    def get_historical_features(*arguments: Any, **named: Any) -> Any:
        """As Feast's, with the filter always on."""
        named["filter_by_created_timestamp"] = True
        return postgres.PostgreSQLOfflineStore.get_historical_features(*arguments, **named)
