"""A pod of a job: pod 0 leads and drives, the others work for it.

The driver is a JVM on the pod's loopback that the job's own program speaks to (Spark Connect);
`SparkSession.builder.getOrCreate()` finds it. What the program ends with is what the pod ends with.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from . import jvm

LOGIN = Path(os.environ.get("APADANA_LOGIN", "/etc/apadana/job"))
WORK = Path(os.environ.get("APADANA_WORK", "/tmp/spark"))  # noqa: S108  of the container
MASTER_PORT, DRIVER_PORT, BLOCKS_PORT, WORKER_PORT = "7077", "7078", "7079", "7080"
LITTLE_MIB = 128  # the heap of who leads, and of who watches an executor
STARTS_S, ENDS_S = 600, 25
CATALOGUE = "spark.sql.catalog.lake"


def _word(name: str) -> str:
    return (LOGIN / name).read_text().strip()


def pods(given: Mapping[str, str]) -> dict[str, str]:
    """How a job's pods know each other, and that nobody else reads along."""
    return {
        "spark.authenticate": "true",
        "spark.authenticate.secret": _word("pods-password"),
        "spark.network.crypto.enabled": "true",
        "spark.network.crypto.cipher": "AES/GCM/NoPadding",
        "spark.driver.host": given.get("DRIVER", "127.0.0.1"),
        "spark.driver.bindAddress": given.get("POD_IP", "127.0.0.1"),
        "spark.driver.port": DRIVER_PORT,
        "spark.blockManager.port": BLOCKS_PORT,
    }


def tables(given: Mapping[str, str]) -> dict[str, str]:
    """The catalogue `lake`: which state of a table counts is one row of PostgreSQL, changed by compare and swap."""
    authority = LOGIN / "ca.crt"
    checked = f"sslmode=verify-full&sslrootcert={authority}" if authority.exists() else "sslmode=require"
    way = f"{checked}&connectTimeout=5&socketTimeout=60&tcpKeepAlive=true"
    return {
        "spark.sql.extensions": "org.apache.iceberg.spark.extensions.IcebergSparkSessionExtensions",
        "spark.sql.defaultCatalog": "lake",
        CATALOGUE: "org.apache.iceberg.spark.SparkCatalog",
        f"{CATALOGUE}.catalog-impl": "org.apache.iceberg.jdbc.JdbcCatalog",
        f"{CATALOGUE}.uri": f"jdbc:postgresql://{given['DATABASE_ADDRESS']}/{given['LAKE']}?{way}",
        f"{CATALOGUE}.jdbc.user": _word("username"),
        f"{CATALOGUE}.jdbc.password": _word("database-password"),
        f"{CATALOGUE}.jdbc.schema-version": "V1",
        f"{CATALOGUE}.warehouse": given.get("WAREHOUSE", f"s3a://{given['LAKE']}/tables"),
        f"{CATALOGUE}.clients": "2",
    }


def driver(given: Mapping[str, str]) -> dict[str, str]:
    """Everything that the driver knows, and with it its executors."""
    executors = int(given["EXECUTORS"])
    led = f"spark://{given['DRIVER']}:{MASTER_PORT}" if executors else f"local[{given['CORES']}]"
    alone = {"spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1"}
    apart = (pods(given) if executors else alone) | {
        "spark.executor.memory": f"{given['HEAP_MIB']}m",
        "spark.executor.extraJavaOptions": " ".join(jvm.common(WORK)),
        "spark.deploy.maxExecutorRetries": "-1",
    }
    told = {"spark.eventLog.enabled": "true", "spark.eventLog.dir": given["EVENTS"]} if given["EVENTS"] else {}
    return {
        **jvm.s3(given["STORE_ADDRESS"], given["AWS_REGION"], WORK),
        **tables(given),
        **apart,
        **told,
        "spark.master": led,
        "spark.app.name": given["JOB_NAME"],
        "spark.ui.enabled": "false",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.shuffle.partitions": str(max(2, 4 * executors)),
        "spark.connect.grpc.binding.address": "127.0.0.1",
        "spark.connect.grpc.binding.port": given.get("CONNECT_PORT", "15002"),
        "spark.pyspark.python": sys.executable,
    }


def drive(main: str, words: list[str]) -> int:
    """Leads, drives, runs the program; ends what it began."""
    given = os.environ
    settings = driver(given)
    port = int(settings["spark.connect.grpc.binding.port"])
    # Its settings are Java's own properties, which this server reads; a file, because they hold passwords.
    options = "".join(_quoted(f"-D{key}={value}") + "\n" for key, value in sorted(settings.items()))
    file = jvm.write(WORK / "driver.options", options)
    server = jvm.command(jvm.CONNECT, int(given["HEAP_MIB"]), WORK, file)
    began = [subprocess.Popen([server[0], f"@{file}", *server[1:]])]
    if int(given["EXECUTORS"]):
        shared = jvm.write(WORK / "pods.properties", jvm.properties(pods(given)))
        at = ["--host", given["DRIVER"], "--port", MASTER_PORT]
        began.append(subprocess.Popen(jvm.command(jvm.MASTER, LITTLE_MIB, WORK, shared, *at)))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        _listens(port, began)
        told = {**given, "SPARK_REMOTE": f"sc://127.0.0.1:{port}"}
        return subprocess.run([sys.executable, main, *words], env=told, check=False).returncode
    finally:
        for process in began:
            process.terminate()
        for process in began:
            try:
                process.wait(ENDS_S)
            except subprocess.TimeoutExpired:
                process.kill()


def _quoted(word: str) -> str:
    """As Java's file of options has it."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _listens(port: int, began: list[subprocess.Popen[bytes]]) -> None:
    """Until the driver takes its program. Raises SystemExit where a JVM has ended, or none answered in time."""
    end = time.monotonic() + STARTS_S
    while True:
        with socket.socket() as line:
            line.settimeout(1)
            if line.connect_ex(("127.0.0.1", port)) == 0:
                return
        ended = [process.args for process in began if process.poll() is not None]
        if ended or time.monotonic() > end:
            raise SystemExit(f"the driver's JVM {'ended' if ended else f'took longer than {STARTS_S} s'}; see above")
        time.sleep(0.2)  # between two looks at a condition that has a deadline


def work() -> None:
    """Never returns: an executor's watcher, which ends with its driver for good."""
    given = os.environ
    file = jvm.write(WORK / "pods.properties", jvm.properties(pods(given)))
    at = ["--host", f"{given['JOB_NAME']}-{given['JOB_COMPLETION_INDEX']}.{given['DOMAIN']}", "--port", WORKER_PORT]
    much = ["--cores", given["CORES"], "--memory", f"{given['HEAP_MIB']}m", "--work-dir", str(WORK / "work")]
    master = f"spark://{given['DRIVER']}:{MASTER_PORT}"
    words = jvm.command(jvm.WORKER, LITTLE_MIB, WORK, file, *at, *much, master)
    os.execvp(words[0], words)


def run(words: list[str]) -> int:
    """By the number that the cluster gave to this pod."""
    WORK.mkdir(parents=True, exist_ok=True)
    jvm.trust(LOGIN / "ca.crt", WORK)
    os.environ |= jvm.login(LOGIN / "username", LOGIN / "store-password")
    if int(os.environ.get("JOB_COMPLETION_INDEX", "0")):
        work()
    return drive(os.environ["JOB_MAIN"], words)
