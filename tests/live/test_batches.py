"""A batch on the lab: questions in S3, a Job that somebody begins, and the answers that the gateway gives, too."""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from components.kserve.settings import BATCH, BATCH_SECRET
from tests import lab, serving
from tests.serving import Caller, Trained
from validate.ground.pods import Pod, client_spec, new_run_id, pods

pytestmark = pytest.mark.live
COMMAND = (sys.executable, "-m", "stacks.batch", lab.SITE)
WAIT_S = 480

#: In a client's pod. `TOLD` stands before it: no password on a command line.
STORE = """
import json, ssl
from io import BytesIO
import urllib3
from minio import Minio
pool = urllib3.PoolManager(ssl_context=ssl.create_default_context(cafile=TOLD["ca"]), timeout=20)
store = Minio(endpoint=TOLD["address"], access_key=TOLD["user"], secret_key=TOLD["password"], http_client=pool)
for name, text in TOLD["put"].items():
    store.put_object("batch", name, BytesIO(text.encode()), len(text.encode()))
names = [each.object_name for each in store.list_objects("batch", prefix=TOLD["below"], recursive=True)]
found = {name: store.get_object("batch", name).read().decode() for name in names}
for name in names if TOLD["clear"] else []:
    store.remove_object("batch", name)
print(json.dumps(found))
"""


@dataclass
class Bucket:
    """The bucket of batches, by its own user, from a client's pod."""

    pod: Pod
    below: str

    def __call__(self, put: dict[str, str] | None = None, *, clear: bool = False) -> dict[str, str]:
        """Write, and read all that is there; `clear`: for the last time."""
        secret = lab.cluster().json("-n", lab.found().platform.work, "get", "secret", BATCH_SECRET)["data"]
        password = base64.b64decode(secret["store-password"]).decode()
        place = next(e for e in lab.found().platform.component("minio").endpoints_in if e.protocol == "s3-service")
        told = {
            "ca": "/tmp/ca.crt",
            "address": place.address.partition(",")[0],
            "user": BATCH,
            "password": password,
            "put": put or {},
            "below": self.below,
            "clear": clear,
        }
        authority = base64.b64decode(secret["ca.crt"]).decode()
        script = f"TOLD = {told!r}\nopen(TOLD['ca'], 'w').write({authority!r})\n{STORE}"
        found: dict[str, str] = json.loads(
            self.pod.run("python3", "-", timeout=60, stdin=script.encode()).splitlines()[-1]
        )
        return found


@dataclass
class Asked:
    """A release, its bucket, and who asks by the gateway."""

    name: str
    trained: Trained
    bucket: Bucket


@pytest.fixture(scope="module")
def asked() -> Iterator[Asked]:
    name, site = f"test-{new_run_id()}", lab.found()
    with serving.trainer() as trainer:
        trained = serving.train(trainer, name, 1)
    used = [site.platform.component("minio")]
    with pods(site.cluster, [client_spec(site, used, new_run_id())], timeout=480) as (pod,):
        pod.send_code(used)
        pod.wait_admitted()
        bucket = Bucket(pod, f"{name}/")
        try:
            serving.did("deploy", name, trained.reference, "--why", "a test")
            yield Asked(name, trained, bucket)
        finally:
            serving.command("retire", name, "--wait", "240")
            lab.cluster().run(
                "-n", site.platform.work, "delete", "job", "-l", f"apadana.io/batch={name}", "--wait=false"
            )
            bucket(clear=True)


def batch(asked: Asked) -> lab.Done:
    places = ("--from", f"s3://batch/{asked.name}/asked", "--to", f"s3://batch/{asked.name}/told")
    return lab.run(*COMMAND, asked.name, *places, "--run", "--wait", str(WAIT_S), timeout=WAIT_S + 60)


def answers(found: dict[str, str]) -> list[dict[str, Any]]:
    return [
        json.loads(line) for name, text in sorted(found.items()) if "/answers-" in name for line in text.splitlines()
    ]


def test_a_batch_answers_as_the_gateway_does_and_once(asked: Asked) -> None:
    rows = asked.trained.asked
    lines = [json.dumps({"id": n, **{f"x{at}": value for at, value in enumerate(row)}}) for n, row in enumerate(rows)]
    asked.bucket({f"{asked.name}/asked/1.jsonl": "\n".join([*lines, "no question"])})
    done = batch(asked)
    assert done.returncode == 0, lab.told(done)
    told = json.loads(done.stdout.splitlines()[-1])
    assert (told["rows"], told["answered"], told["refused"]) == (len(rows) + 1, len(rows), 1)
    found = asked.bucket()
    status, online = Caller(asked.name, serving.Tokens()).ask(serving.question(rows))
    assert status == 200, online
    assert [each["key"] for each in answers(found)] == list(range(len(rows)))
    assert [each["answer"] for each in answers(found)] == online["outputs"][0]["data"] == asked.trained.answers
    # Once more: there is nothing to do, and nothing changes.
    again = batch(asked)
    assert again.returncode == 0 and "there already" in again.stdout, lab.told(again)
    assert asked.bucket() == found
