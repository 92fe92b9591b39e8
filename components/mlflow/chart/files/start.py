"""Starts MLflow. `migrate`: bring the database's tables up to date. `serve`: wait for that, then
answer.

Passwords come from mounted files and stay in this process: not in its arguments, nor in the
environment that the container was given. `mlflow server` is not used: it would keep a second Python
of its own beside the one that answers, and each replica would make the tables itself.
"""

from __future__ import annotations

import importlib
import os
import ssl
import sys
import threading
import time
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

MOUNTS = Path(os.environ.get("APADANA_MOUNTS", "/etc/apadana"))
SYSTEM_CA = "/etc/ssl/certs/ca-certificates.crt"
HOST, PORT = os.environ.get("HOST", "0.0.0.0"), int(os.environ.get("PORT", "5000"))
DEADLINE_SECONDS = 300.0
GRACE_SECONDS = 25
RELOAD_SECONDS = 60.0
LOCK = 5_130_017  # of PostgreSQL, advisory: two Jobs don't meet
BOUNDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]


def module(name: str) -> Any:
    """A module of the image, loaded when its turn comes: this one also runs without them."""
    return importlib.import_module(name)


def say(text: str) -> None:
    """One line of the log."""
    sys.stderr.write(f"start.py: {text}\n")
    sys.stderr.flush()


def secret(name: str) -> str:
    """A mounted value."""
    return (MOUNTS / name).read_text(encoding="utf-8").strip()


def authority(store: str) -> str:
    """Whose certificates a store shows."""
    own = MOUNTS / store / "ca.crt"
    return str(own) if own.exists() else SYSTEM_CA


def database() -> str:
    """The address of the database, password and all; every host of the list is tried."""
    options: dict[str, str | tuple[str, ...]] = {
        "host": tuple(os.environ["DATABASE_ADDRESS"].split(",")),
        "sslmode": "verify-full",
        "sslrootcert": authority("database"),
        "target_session_attrs": "read-write",
        "connect_timeout": os.environ.get("DATABASE_CONNECT_SECONDS", "2"),
        # A dead peer is noticed by these, not after the kernel's quarter of an hour.
        "tcp_user_timeout": "3000",
        "keepalives_idle": "5",
        "keepalives_interval": "2",
        "keepalives_count": "2",
    }
    made = module("sqlalchemy.engine").URL.create(
        "postgresql+psycopg2",
        secret("database/username"),
        secret("database/password"),
        database=os.environ["DATABASE_NAME"],
        query=options,
    )
    text: str = made.render_as_string(hide_password=False)
    return text


def patiently(what: str, look: Callable[[], bool]) -> None:
    """Look until it is so; the deadline ends the process, and who started it starts it again."""
    end = time.monotonic() + DEADLINE_SECONDS
    told = ""
    while True:
        try:
            if look():
                return
            problem = "not yet"
        except Exception as error:  # noqa: BLE001  a store that starts at the same time
            problem = f"{type(error).__name__}: {str(error).splitlines()[0]}"
        if problem != told:
            say(f"waiting for {what}: {problem}")
            told = problem
        if time.monotonic() > end:
            raise SystemExit(f"start.py: {what}: {problem}, for {DEADLINE_SECONDS:g} s")
        time.sleep(1.0)  # between two looks under a deadline


def migrate() -> None:
    """Make or change the tables. Repeated or cut off in the middle, it does no harm."""
    sqlalchemy = module("sqlalchemy")
    url = database()
    engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool)

    def reached() -> bool:
        with engine.connect() as connection:
            answered: bool = connection.execute(sqlalchemy.text("SELECT 1")).scalar() == 1
            return answered

    patiently("the database", reached)
    with engine.connect() as held:
        held.execute(sqlalchemy.text(f"SELECT pg_advisory_lock({LOCK})"))
        if not current(engine):
            module("mlflow.db").upgrade.callback(url)
    if not current(engine):
        raise SystemExit("start.py: the tables are not those of this version of MLflow")
    say("the tables are those of this version of MLflow")


def current(engine: Any) -> bool:
    """Whether the tables are those of this version of MLflow."""
    utils = module("mlflow.store.db.utils")
    found: bool = utils._get_schema_version(engine) == utils._get_latest_schema_revision()
    return found


def prepare() -> None:
    """What MLflow's own command line would tell its workers, and the secrets."""
    url = database()
    os.environ.update(
        {
            "_MLFLOW_SERVER_FILE_STORE": url,
            "_MLFLOW_SERVER_REGISTRY_STORE": url,
            "_MLFLOW_SERVER_SERVE_ARTIFACTS": "true",
            "_MLFLOW_SERVER_ARTIFACT_DESTINATION": os.environ["ARTEFACTS"],
            # What clients are told: artefacts go through this server.
            "_MLFLOW_SERVER_ARTIFACT_ROOT": "mlflow-artifacts:/",
            "_MLFLOW_SGI_NAME": "uvicorn",
            "MLFLOW_FLASK_SERVER_SECRET_KEY": secret("auth/session-key"),
            "MLFLOW_CRYPTO_KEK_PASSPHRASE": secret("auth/wrapping-key"),
            # Jobs would be a second server with workers of its own, on a queue in a local file.
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "MLFLOW_ENABLE_REMOTE_ASSISTANT": "false",
            "MLFLOW_BOTO_CLIENT_ADDRESSING_STYLE": "path",
            "AWS_ACCESS_KEY_ID": secret("artefacts/username"),
            "AWS_SECRET_ACCESS_KEY": secret("artefacts/password"),
            "AWS_CA_BUNDLE": authority("artefacts"),
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_RETRY_MODE": "standard",
            "AWS_MAX_ATTEMPTS": "4",
        }
    )
    # Not to be had by the environment: the library would wait a minute for a host that is gone.
    defaults = module("botocore.config").Config.OPTION_DEFAULTS
    defaults["connect_timeout"] = int(os.environ["ARTEFACTS_CONNECT_SECONDS"])
    defaults["read_timeout"] = 15


def wait_for_tables() -> None:
    """Replicas make no table: two that start at once would meet."""
    sqlalchemy = module("sqlalchemy")
    engine = sqlalchemy.create_engine(database(), poolclass=sqlalchemy.NullPool)
    patiently("the Job that makes the tables", lambda: current(engine))


class Measured:
    """The application with /metrics in Prometheus' form: what was answered, and how fast."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._answers: dict[tuple[str, str], int] = {}
        self._slower = dict.fromkeys([*BOUNDS, float("inf")], 0)
        self._seconds = 0.0
        self._running = 0

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
        elif scope["path"] == "/metrics":
            await _text(send, self.text())
        elif scope["path"] == "/health":
            await self._app(scope, receive, send)
        else:
            await self._count(scope, receive, send)

    async def _count(self, scope: Message, receive: Receive, send: Send) -> None:
        begin, status = time.monotonic(), 500

        async def watching(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        self._running += 1
        try:
            await self._app(scope, receive, watching)
        finally:
            self._running -= 1
            took = time.monotonic() - begin
            key = (scope["method"], f"{status // 100}xx")
            self._answers[key] = self._answers.get(key, 0) + 1
            self._seconds += took
            self._slower[next(bound for bound in self._slower if took <= bound)] += 1

    def text(self) -> str:
        """As Prometheus reads it."""
        lines = ["# TYPE mlflow_requests_total counter"]
        for (method, status), count in sorted(self._answers.items()):
            lines.append(f'mlflow_requests_total{{method="{method}",status="{status}"}} {count}')
        lines.append("# TYPE mlflow_request_seconds histogram")
        total = 0
        for bound, count in self._slower.items():
            total += count
            name = "+Inf" if bound == float("inf") else f"{bound:g}"
            lines.append(f'mlflow_request_seconds_bucket{{le="{name}"}} {total}')
        lines += [
            f"mlflow_request_seconds_sum {self._seconds:.6f}",
            f"mlflow_request_seconds_count {total}",
            "# TYPE mlflow_requests_running gauge",
            f"mlflow_requests_running {self._running}",
        ]
        return "\n".join([*lines, ""])


async def _text(send: Send, text: str) -> None:
    head = [(b"content-type", b"text/plain; version=0.0.4")]
    await send({"type": "http.response.start", "status": 200, "headers": head})
    await send({"type": "http.response.body", "body": text.encode()})


def reload(context: ssl.SSLContext, certificate: Path, key: Path) -> None:
    """A renewed certificate is shown from the next connection on."""
    seen = certificate.read_bytes()
    while True:
        time.sleep(RELOAD_SECONDS)  # the rhythm of the looks
        try:
            now = certificate.read_bytes()
            if now != seen:
                context.load_cert_chain(certificate, key)
                seen = now
                say("the certificate was renewed and is in use")
        except (OSError, ssl.SSLError) as error:
            say(f"the certificate can't be read again yet: {error}")


def serve() -> None:
    """One worker in this process."""
    prepare()
    wait_for_tables()
    uvicorn = module("uvicorn")
    certificate, key = MOUNTS / "tls/tls.crt", MOUNTS / "tls/tls.key"
    config = uvicorn.Config(
        Measured(module("mlflow.server.fastapi_app").app),
        host=HOST,
        port=PORT,
        ssl_certfile=certificate,
        ssl_keyfile=str(key),
        access_log=False,
        # Longer than a proxy keeps an idle connection, so that the proxy is who ends it.
        timeout_keep_alive=75,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    config.load()
    assert config.ssl is not None
    config.ssl.minimum_version = ssl.TLSVersion.TLSv1_2
    watch = threading.Thread(target=reload, args=(config.ssl, certificate, key), daemon=True)
    watch.start()
    uvicorn.Server(config).run()


if __name__ == "__main__":
    {"migrate": migrate, "serve": serve}[sys.argv[1]]()
