"""The offline store: Feast's own for PostgreSQL, which here never looks into the future.

A row that was written later than the moment that is asked about was not known then, whatever its
event time says. Feast leaves such rows in unless each caller asks for the filter.
"""

from __future__ import annotations

from typing import Any, Literal

from feast.infra.offline_stores.contrib.postgres_offline_store import postgres


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
