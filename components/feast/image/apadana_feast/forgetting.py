"""All that is known of one entity goes: its rows of every view's history, and its keys online.

The table of a view is held meanwhile, so no run of `materialise` that read the rows before brings them online after. A
row that is pushed at the same moment may stay online without a history; to look again shows it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import psycopg
from feast import FeatureStore
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from psycopg import sql

from .definitions import Definitions, Entity, View
from .moving import online
from .pushing import RefusedError

WAIT_SECONDS = 30  # for whoever reads the table
BODY = '{"entity": name, "key": value, "really": true or false}'


def forget(store: FeatureStore, line: psycopg.Connection[Any], wanted: Definitions, asked: Any) -> dict[str, Any]:
    """Of each view of the entity: rows of the history, and keys online, that there were. Without `really` they are
    counted only. Raises RefusedError, or what the stores raise; then it is to be done again."""
    entity = _entity(wanted, asked)
    views = [view for view in wanted.views if view.entity == entity.name]
    return {view.name: _of_view(store, line, view, entity, asked) for view in views}


def _entity(wanted: Definitions, asked: Any) -> Entity:
    if not isinstance(asked, Mapping) or asked.keys() != {"entity", "key", "really"}:
        raise RefusedError(f"what is to be forgotten is {BODY}")
    found = next((each for each in wanted.entities if each.name == asked["entity"]), None)
    if found is None:
        known = ", ".join(each.name for each in wanted.entities) or "none"
        raise RefusedError(f"no entity {asked['entity']!r}; there are: {known}")
    kind = int if found.type == "int64" else str
    if type(asked["key"]) is not kind or not isinstance(asked["really"], bool):
        raise RefusedError(f"the key of {found.name} is of type {found.type}, and really is true or false")
    return found


def _of_view(
    store: FeatureStore, line: psycopg.Connection[Any], view: View, entity: Entity, asked: Mapping[str, Any]
) -> dict[str, int]:
    table, key = sql.Identifier(view.name), sql.Identifier(entity.key)
    known = store.get_feature_view(view.name)
    value = Value(int64_val=asked["key"]) if entity.type == "int64" else Value(string_val=asked["key"])
    named = EntityKey(join_keys=[entity.key], entity_values=[value])
    with line.transaction():
        if not asked["really"]:
            counted = sql.SQL("SELECT count(*) FROM {} WHERE {} = %s").format(table, key)
            rows = int(line.execute(counted, [asked["key"]]).fetchall()[0][0])
            return {"history": rows, "online": online(store).held(store.config, known, named)}
        line.execute(f"SET LOCAL lock_timeout = '{WAIT_SECONDS}s'".encode())
        line.execute(sql.SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE").format(table))
        gone = line.execute(sql.SQL("DELETE FROM {} WHERE {} = %s").format(table, key), [asked["key"]]).rowcount
        return {"history": gone, "online": online(store).forget(store.config, known, named)}
