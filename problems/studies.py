"""Where a search keeps its trials: PostgreSQL, where the environment names one, else this process' memory.

Workers on several hosts share a study there, and it outlives each of them.
"""

from __future__ import annotations

import os
import warnings
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy
from optuna.exceptions import ExperimentalWarning
from optuna.storages import BaseStorage, InMemoryStorage, RDBStorage, RetryHeartbeatStaleTrialCallback

from problems import STUDIES_ADDRESS, STUDIES_CA, STUDIES_DATABASE, STUDIES_LOGIN

SYSTEM_CA = "/etc/ssl/certs/ca-certificates.crt"
#: A worker that gave no sign of life for so long is lost. Longer than a store takes to change its primary, during which
#: nobody can give one.
HEARTBEAT_S, GRACE_S = 10, 60
KEPT_DAYS = 30

# Optuna calls signs of life an experiment; its version is pinned.
warnings.filterwarnings("ignore", category=ExperimentalWarning)


class Studies(RDBStorage):
    """Optuna's own, which sees every lost worker."""

    def _get_stale_trial_ids(self, study_id: int) -> list[int]:
        """Optuna waits for ever for a worker that was lost between its trial's beginning and its first sign of life."""
        begun = sqlalchemy.text(
            "SELECT trial_id FROM trials WHERE study_id = :study AND state = 'RUNNING' AND datetime_start < :then"
            " AND trial_id NOT IN (SELECT trial_id FROM trial_heartbeats)"
        )
        then = datetime.now() - timedelta(seconds=GRACE_S)  # as Optuna writes beginnings: without a zone
        with self.engine.connect() as line:
            silent = [int(number) for (number,) in line.execute(begun, {"study": study_id, "then": then})]
        return [*super()._get_stale_trial_ids(study_id), *silent]


def from_environment() -> BaseStorage:
    """Name and password are files, read anew for each connection."""
    if not os.environ.get(STUDIES_ADDRESS):
        return InMemoryStorage()
    return Studies(
        "postgresql+psycopg://",
        # A pooler gives a connection of the server to each one that is kept: one for the work, one more for a moment
        # where a sign of life is due.
        engine_kwargs={"creator": _connect, "pool_size": 1, "max_overflow": 1, "pool_pre_ping": True},
        heartbeat_interval=HEARTBEAT_S,
        grace_period=GRACE_S,
        # Once more with the same parameters; if these are what killed the worker, then with others.
        heartbeat_stale_trial_callback=RetryHeartbeatStaleTrialCallback(max_retry=1),
    )


def _connect() -> Any:
    """Every host of the list is tried. Nothing of it needs a session of its own behind a pooler."""
    import psycopg

    pairs = [part.rpartition(":") for part in os.environ[STUDIES_ADDRESS].split(",")]
    login = Path(os.environ[STUDIES_LOGIN])
    return psycopg.connect(
        host=",".join(host for host, _, _ in pairs),
        port=",".join(port for _, _, port in pairs),
        dbname=os.environ[STUDIES_DATABASE],
        user=(login / "username").read_text().strip(),
        password=(login / "password").read_text().strip(),
        sslmode="verify-full",
        sslrootcert=os.environ.get(STUDIES_CA) or SYSTEM_CA,
        target_session_attrs="read-write",
        connect_timeout=5,
        prepare_threshold=None,
        # A dead peer is noticed by these, not after the kernel's quarter of an hour.
        tcp_user_timeout=3000,
        keepalives_idle=5,
        keepalives_interval=2,
        keepalives_count=2,
    )


def forget_old(storage: BaseStorage, problem: str) -> None:
    """Studies of runs that nobody goes on with any more."""
    then = datetime.now() - timedelta(days=KEPT_DAYS)
    for each in optuna.get_all_study_summaries(storage, include_best_trial=False):
        if each.study_name.startswith(f"{problem}/") and each.datetime_start and each.datetime_start < then:
            with suppress(KeyError):  # another run did it meanwhile
                optuna.delete_study(study_name=each.study_name, storage=storage)
