"""Brings registry and tables to what the definitions say. One at a time, and safe to repeat."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import psycopg
from feast import Entity, FeatureService, FeatureStore, FeatureView, Field, ValueType
from feast.infra.offline_stores.contrib.postgres_offline_store.postgres_source import PostgreSQLSource
from feast.types import Bool, Float64, Int64, String
from psycopg import sql

from .definitions import CREATED, EVENT, DefinitionError, Definitions, View

LOCK = 5_130_018  # of PostgreSQL, advisory: two Jobs don't meet
RUNS = "apadana_runs"
COLUMN = {"int64": "bigint", "float64": "double precision", "string": "text", "bool": "boolean"}
FEAST = {"int64": Int64, "float64": Float64, "string": String, "bool": Bool}
STAMP = "timestamp with time zone"


def columns(wanted: Definitions, view: View) -> dict[str, str]:
    """Of a view's table, in order."""
    entity = wanted.entity(view)
    features = {feature.name: COLUMN[feature.type] for feature in view.features}
    return {entity.key: COLUMN[entity.type], **features, EVENT: STAMP, CREATED: STAMP}


def make(line: psycopg.Connection[Any], wanted: Definitions) -> None:
    """Tables that lack are made, columns that lack are added; nothing is changed or taken away.

    Raises DefinitionError with every column that has another type than its feature.
    """
    line.execute(
        f"CREATE TABLE IF NOT EXISTS {RUNS} (view text PRIMARY KEY, at {STAMP} NOT NULL, good_at {STAMP},"
        " written bigint NOT NULL, lost bigint NOT NULL, refused text NOT NULL)"
    )
    wrong: list[str] = []
    for view in wanted.views:
        there = dict(
            line.execute(
                "SELECT column_name, data_type FROM information_schema.columns"
                " WHERE table_schema = current_schema() AND table_name = %s",
                [view.name],
            ).fetchall()
        )
        asked = columns(wanted, view)
        wrong += [
            f"views.{view.name}.{name}: the table has {there[name]}, the definition asks for {kind}"
            for name, kind in asked.items()
            if there.get(name, kind) != kind
        ]
        for statement in _statements(view, wanted.entity(view).key, asked, there):
            line.execute(statement)
    if wrong:
        line.rollback()
        raise DefinitionError(wrong)
    line.commit()


def _statements(view: View, key: str, asked: dict[str, str], there: dict[str, str]) -> Iterator[sql.Composed]:
    """The primary key is also what finds the newest row of an entity before a moment. Two rows that
    are equal in it could not be told apart, and Feast's join would give both."""
    table = sql.Identifier(view.name)
    typed = {name: sql.SQL("{} {}").format(sql.Identifier(name), sql.SQL(kind)) for name, kind in asked.items()}
    if there:
        for name in asked.keys() - there.keys():
            yield sql.SQL("ALTER TABLE {} ADD COLUMN {}").format(table, typed[name])
        return
    yield sql.SQL("CREATE TABLE {} ({}, PRIMARY KEY ({}, {}, {}))").format(
        table, sql.SQL(", ").join(typed.values()), *(sql.Identifier(name) for name in (key, EVENT, CREATED))
    )
    yield sql.SQL("ALTER TABLE {} ALTER COLUMN {} SET DEFAULT now()").format(table, sql.Identifier(CREATED))
    yield sql.SQL("CREATE INDEX ON {} ({})").format(table, sql.Identifier(EVENT))


def objects(wanted: Definitions) -> list[Any]:
    """As Feast takes them."""
    entities = {
        each.name: Entity(
            name=each.name,
            join_keys=[each.key],
            value_type=ValueType.INT64 if each.type == "int64" else ValueType.STRING,
        )
        for each in wanted.entities
    }
    views = {view.name: _view(view, entities[view.entity], wanted) for view in wanted.views}
    services = [
        FeatureService(name=each.name, features=list(_chosen(each.features, views))) for each in wanted.services
    ]
    return [*entities.values(), *views.values(), *services]


def _view(view: View, entity: Entity, wanted: Definitions) -> FeatureView:
    about = wanted.entity(view)
    return FeatureView(
        name=view.name,
        entities=[entity],
        ttl=timedelta(hours=view.ttl_hours),
        schema=[
            Field(name=about.key, dtype=FEAST[about.type]),
            *(Field(name=feature.name, dtype=FEAST[feature.type]) for feature in view.features),
        ],
        source=PostgreSQLSource(
            name=view.name, table=view.name, timestamp_field=EVENT, created_timestamp_column=CREATED
        ),
    )


def _chosen(asked: tuple[str, ...], views: dict[str, FeatureView]) -> Iterator[FeatureView]:
    """Features by view, in the order in which views come first."""
    names: dict[str, list[str]] = {}
    for each in asked:
        view, _, feature = each.partition(":")
        names.setdefault(view, []).append(feature)
    return (views[view][features] for view, features in names.items())


def apply(line: psycopg.Connection[Any], store: FeatureStore, wanted: Definitions) -> None:
    """Tables, then the registry; what is no more defined leaves the registry, its table stays."""
    line.execute("SELECT pg_advisory_lock(%s)", [LOCK])
    line.commit()
    make(line, wanted)
    now = objects(wanted)
    kept = {(type(each), each.name) for each in now}
    there = [*store.list_feature_services(), *store.list_feature_views(), *store.list_entities()]
    gone = [each for each in there if (type(each), each.name) not in kept and each.name != "__dummy"]
    store.apply(now, objects_to_delete=gone, partial=False)


def lacking(store: FeatureStore, wanted: Definitions) -> list[str]:
    """Views that the registry does not know as they are defined."""
    known = {view.name: view for view in store.list_feature_views()}
    return [
        view.name
        for view in wanted.views
        if view.name not in known
        or {field.name for field in known[view.name].features} != {feature.name for feature in view.features}
        or known[view.name].ttl != timedelta(hours=view.ttl_hours)
    ]
