"""The JVMs of Spark: their command lines, and the file that they read their settings from.

Spark's own scripts start a shell and a second JVM to say the same; these words are its launcher's (JavaModuleOptions),
but for the one that has Netty check no names of certificates.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

HOME = Path(os.environ.get("SPARK_HOME", "/opt/spark"))
JARS = Path(os.environ.get("SPARK_JARS", str(HOME / "jars")))
LOGGING = Path(__file__).with_name("log4j2.properties")
HISTORY = "org.apache.spark.deploy.history.HistoryServer"
MASTER, WORKER = "org.apache.spark.deploy.master.Master", "org.apache.spark.deploy.worker.Worker"
CONNECT = "org.apache.spark.sql.connect.service.SparkConnectServer"
AWS = "software.amazon.awssdk.auth.credentials"
PEM = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----\n?", re.DOTALL)
#: A word that Java wants and that keeps nothing: the file holds authorities, which are public.
TRUST_WORD = "changeit"

OPENED = (
    *("java.lang", "java.lang.invoke", "java.lang.reflect", "java.io", "java.net", "java.nio", "java.util"),
    *("java.util.concurrent", "java.util.concurrent.atomic", "jdk.internal.ref", "sun.nio.ch", "sun.nio.cs"),
    *("sun.security.action", "sun.util.calendar"),
)
MODULES = (
    "-XX:+IgnoreUnrecognizedVMOptions",
    "--add-modules=jdk.incubator.vector",
    *(f"--add-opens=java.base/{package}=ALL-UNNAMED" for package in OPENED),
    "--add-opens=java.security.jgss/sun.security.krb5=ALL-UNNAMED",
    "-Djdk.reflect.useDirectMethodHandle=false",
    "-Dio.netty.tryReflectionSetAccessible=true",
    "-Dio.netty.allocator.type=pooled",
    "--enable-native-access=ALL-UNNAMED",
)


def common(work: Path) -> list[str]:
    """Of every JVM, those that a worker starts among them."""
    store = work / "trust.p12"
    trusted = [f"-Djavax.net.ssl.trustStore={store}", f"-Djavax.net.ssl.trustStorePassword={TRUST_WORD}"]
    return [
        "-XX:+ExitOnOutOfMemoryError",
        "-XX:+UseSerialGC",
        f"-Djava.io.tmpdir={work}",
        f"-Dlog4j2.configurationFile={LOGGING}",
        *(trusted if store.exists() else []),
    ]


def command(main: str, heap_mib: int, work: Path, settings: Path, *words: str) -> list[str]:
    """A server of Spark; short compilation, for most of them start more than they work."""
    front = ["java", f"-Xmx{heap_mib}m", *common(work), *MODULES, "-cp", f"{JARS}/*", main]
    return [*front, *(["--properties-file", str(settings)] if main != CONNECT else []), *words]


def properties(settings: Mapping[str, str]) -> str:
    """As Java reads them."""

    def lines() -> Iterator[str]:
        for key, value in sorted(settings.items()):
            if "\n" in value:
                raise ValueError(f"{key}: a setting is one line")
            escaped = value.replace("\\", "\\\\")
            yield f"{key} {escaped}"

    return "\n".join(lines()) + "\n"


def write(path: Path, text: str) -> Path:
    """For the owner alone: settings hold passwords."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    return path


def trust(authorities: Path, work: Path) -> None:
    """The authorities of a PEM file as Java takes them; without that file Java has the system's own."""
    store = work / "trust.p12"
    store.unlink(missing_ok=True)
    found = PEM.findall(authorities.read_text()) if authorities.exists() else []
    for number, text in enumerate(found):
        one = write(work / "authority.pem", text)
        asked = ["-importcert", "-noprompt", "-alias", f"site-{number}", "-file", str(one)]
        kept = ["-keystore", str(store), "-storetype", "PKCS12", "-storepass", TRUST_WORD]
        subprocess.run(["keytool", "-J-XX:TieredStopAtLevel=1", *asked, *kept], check=True, capture_output=True)


def s3(address: str, region: str, work: Path) -> dict[str, str]:
    """Hadoop's way to an S3 store that is not Amazon's. The log-in stands in the environment, see `login`."""
    return {
        "spark.hadoop.fs.s3a.endpoint": f"https://{address}",
        "spark.hadoop.fs.s3a.endpoint.region": region,
        "spark.hadoop.fs.s3a.path.style.access": "true",
        "spark.hadoop.fs.s3a.aws.credentials.provider": f"{AWS}.EnvironmentVariableCredentialsProvider",
        "spark.hadoop.fs.s3a.attempts.maximum": "10",
        "spark.hadoop.fs.s3a.bucket.probe": "0",
        "spark.hadoop.hadoop.tmp.dir": str(work),
        "spark.local.dir": str(work),
    }


def login(username: Path, password: Path) -> dict[str, str]:
    """What the S3 library reads, in this process' own environment and nowhere in the pod's."""
    return {
        "AWS_ACCESS_KEY_ID": username.read_text().strip(),
        "AWS_SECRET_ACCESS_KEY": password.read_text().strip(),
        "AWS_EC2_METADATA_DISABLED": "true",
    }
