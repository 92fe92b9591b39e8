"""The page of what ran: this process becomes the JVM, so that SIGTERM reaches it."""

from __future__ import annotations

import os
from pathlib import Path

from . import jvm

MOUNTED = Path(os.environ.get("APADANA_MOUNTS", "/etc/apadana")) / "store"
WORK = Path(os.environ.get("APADANA_WORK", "/tmp/spark"))  # noqa: S108  of the container


def settings() -> dict[str, str]:
    """The page on the pod's loopback, whose only guest is the front; nothing is deleted, the bucket has its days."""
    given = os.environ
    return jvm.s3(given["STORE_ADDRESS"], given["AWS_REGION"], WORK) | {
        "spark.history.fs.logDirectory": given["EVENTS"],
        "spark.history.fs.update.interval": "15s",
        "spark.history.fs.cleaner.enabled": "false",
        "spark.history.fs.eventLog.rolling.maxFilesToRetain": "100",
        "spark.history.retainedApplications": "5",
        "spark.history.ui.port": given["PORT"],
        "spark.ui.killEnabled": "false",
    }


def run() -> None:
    """Never returns."""
    WORK.mkdir(parents=True, exist_ok=True)
    jvm.trust(MOUNTED / "ca.crt", WORK)
    file = jvm.write(WORK / "history.properties", jvm.properties(settings()))
    words = jvm.command(jvm.HISTORY, int(os.environ["HEAP_MIB"]), WORK, file)
    os.environ |= jvm.login(MOUNTED / "username", MOUNTED / "password") | {"SPARK_LOCAL_IP": "127.0.0.1"}
    os.execvp(words[0], words)
