"""MinIO and Kafka as the bundle built them, one process each: only where a build has been."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient, NewTopic
from minio import Minio
from minio.versioningconfig import ENABLED, VersioningConfig

from components.kafka import probe as kafka
from components.kit.probing import Target
from components.minio import probe as minio
from tests.engine.stores import Platform, program
from tests.ports import HOST, free_port
from validate.ground.kubectl import wait_for

CACHE = Path(os.environ.get("APADANA_CACHE", "/var/cache/apadana"))
CLUSTER = "AAAAAAAAAAAAAAAAAAAAAA"


def built(pattern: str) -> Path:
    """The newest of this pattern in the cache; without one the test says so and is skipped."""
    found = sorted(CACHE.glob(pattern), key=lambda path: path.stat().st_mtime)
    if not found:
        pytest.skip(f"{CACHE}/{pattern} is not there: no bundle was built on this machine")
    return found[-1]


def add_minio(made: Platform) -> None:
    """One server, one drive, the bucket of the user `probe`."""
    server, port = built("bin/*/minio"), free_port()
    certs = made.state / "minio-certs"
    (certs / "CAs").mkdir(parents=True)
    for name, source in (("public.crt", made.leaf.certificate), ("private.key", made.leaf.key)):
        (certs / name).write_bytes(Path(source).read_bytes())
    secret = made.state / "minio.env"
    secret.write_text(f"MINIO_ROOT_USER=probe\nMINIO_ROOT_PASSWORD={made.password}\n")
    secret.chmod(0o600)
    made.start(
        "minio",
        "minio-0",
        [
            "env",
            f"MINIO_CONFIG_ENV_FILE={secret}",
            str(server),
            "server",
            "--quiet",
            "--address",
            f"{HOST}:{port}",
            "--certs-dir",
            str(certs),
            str(made.state / "drive"),
        ],
    )
    made.listens("minio-0", port)
    made.offer("minio", "s3", [port])


def make_bucket(target: Target) -> None:
    client: Minio = minio.connect(target, minio.addresses(target)[0])
    bucket = minio.bucket(target)
    wait_for("the bucket", lambda: client.make_bucket(bucket) or True, timeout=60, swallow=(Exception,))
    client.set_bucket_versioning(bucket, VersioningConfig(ENABLED))


#: Rights are asked for, and `probe` has all of them.
GUARDED = """authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:probe;User:ANONYMOUS
"""


def add_kafka(made: Platform, more: str = "") -> None:
    """One node that is broker and controller, TLS and SCRAM for clients as on a site; `more` of its settings."""
    jars, java = built("jars/kafka-*"), program("java")
    port, inner = free_port(), free_port()
    folder = made.state / "kafka"
    folder.mkdir()
    store = folder / "keystore.pem"
    store.write_bytes(Path(made.leaf.key).read_bytes() + Path(made.leaf.certificate).read_bytes())
    (folder / "server.properties").write_text(
        f"""process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{HOST}:{inner}
controller.listener.names=CONTROLLER
listeners=CLIENTS://{HOST}:{port},CONTROLLER://{HOST}:{inner}
advertised.listeners=CLIENTS://{HOST}:{port}
inter.broker.listener.name=CLIENTS
listener.security.protocol.map=CLIENTS:SASL_SSL,CONTROLLER:PLAINTEXT
sasl.enabled.mechanisms=SCRAM-SHA-512
sasl.mechanism.inter.broker.protocol=SCRAM-SHA-512
listener.name.clients.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.\
ScramLoginModule required username="probe" password="{made.password}";
ssl.keystore.type=PEM
ssl.keystore.location={store}
ssl.truststore.type=PEM
ssl.truststore.location={made.state}/pki/ca.crt
offsets.topic.replication.factor=1
log.dirs={folder}/data
{more}"""
    )
    (folder / "server.properties").chmod(0o600)
    front = [java, "-Xmx384m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp", f"{jars}/*"]
    scram = f"SCRAM-SHA-512=[name=probe,password={made.password}]"
    subprocess.run(
        [
            *front,
            "kafka.tools.StorageTool",
            "format",
            "--cluster-id",
            CLUSTER,
            "--config",
            str(folder / "server.properties"),
            "--add-scram",
            scram,
        ],
        check=True,
        capture_output=True,
        timeout=300,
    )
    made.start("kafka", "kafka-0", [*front, "kafka.Kafka", str(folder / "server.properties")])
    made.listens("kafka-0", port)
    made.offer("kafka", "kafka", [port])


def make_topic(target: Target, name: str) -> None:
    admin = AdminClient(kafka.config(target))
    made = admin.create_topics([NewTopic(name, num_partitions=3, replication_factor=1)])
    made[name].result(timeout=120)
