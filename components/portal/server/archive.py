"""What steps said, as the engine of workflows keeps it in S3 when their pods are gone."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LARGEST = 262_144  # bytes of one step's lines; of more, the last ones


@dataclass(frozen=True)
class Archive:
    """The bucket of workflows. `folder` holds the log-in, `told` names address, region and bucket."""

    folder: Path
    told: Mapping[str, str]

    def read(self, key: str) -> str:
        """The last lines of one log. Raises OSError where the store does not give it."""
        # Loaded when somebody asks for the first time: the client takes as much memory as all the rest.
        bucket: Any = importlib.import_module("components.portal.server.bucket")
        minio, urllib3 = importlib.import_module("minio.error"), importlib.import_module("urllib3.exceptions")
        store = bucket.client(self.folder, self.told)
        try:
            size = store.stat_object(self.told["bucket"], key).size or 0
            answer = store.get_object(self.told["bucket"], key, offset=max(0, size - LARGEST))
            try:
                return str(answer.read().decode(errors="replace"))
            finally:
                answer.close()
                answer.release_conn()
        except (minio.MinioException, urllib3.HTTPError) as error:
            raise OSError(f"the store of logs: {error}") from None
