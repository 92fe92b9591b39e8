"""The base of every settings model, and the one grammar of names that all providers take."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class Frozen(BaseModel):
    """Base of every settings model: immutable, no unknown key."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


#: Valid at once as a database and role of PostgreSQL, a bucket and user of MinIO, a topic and user
#: of Kafka, a user of Valkey, and as a part of the name of a Kubernetes object.
NAME_PATTERN = r"^[a-z][a-z0-9]*(-[a-z0-9]+)*$"
Name = Annotated[str, Field(pattern=NAME_PATTERN, min_length=3, max_length=20)]
