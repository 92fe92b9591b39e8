"""What fetches a model before its server starts, on a real MinIO: as KServe calls it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest
from minio import Minio

from components.kit.probing import Target
from components.minio import probe as minio
from tests.engine import built, stores
from tests.engine.test_integration_stores import target

pytestmark = pytest.mark.engine
FETCH = Path(minio.__file__).parents[1] / "kserve" / "image" / "server" / "fetch.py"
MODELS = {
    "iris/1/model.joblib": b"one" * 1000,
    "iris/1/data/more.json": b"{}",
    "iris/10/model.joblib": b"ten",
    "alone.pkl": b"alone",
}


@pytest.fixture(scope="module")
def made() -> Iterator[stores.Platform]:
    with stores.platform() as found:
        built.add_minio(found)
        built.make_bucket(given(found))
        client, bucket = store(found)
        for key, content in MODELS.items():
            client.put_object(bucket, key, BytesIO(content), len(content))
        yield found


def given(made: stores.Platform) -> Target:
    return target(made, "minio")


def store(made: stores.Platform) -> tuple[Minio, str]:
    found = given(made)
    return minio.connect(found, minio.addresses(found)[0]), minio.bucket(found)


def fetched(made: stores.Platform, *arguments: str, scheme: str = "https") -> tuple[int, str]:
    """The environment is what KServe makes of the Secret and of its configuration."""
    trusted = made.state / "trusted"
    trusted.mkdir(exist_ok=True)
    (trusted / "cabundle.crt").write_bytes((made.state / "pki" / "ca.crt").read_bytes())
    (host, port) = given(made).endpoint("s3").hosts()[0]
    environment = {
        "PATH": os.environ["PATH"],
        "AWS_ENDPOINT_URL": f"{scheme}://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "probe",
        "AWS_SECRET_ACCESS_KEY": made.password,
        "AWS_DEFAULT_REGION": "us-east-1",
        "CA_BUNDLE_VOLUME_MOUNT_POINT": str(trusted),
    }
    done = subprocess.run(
        [sys.executable, str(FETCH), *arguments], env=environment, capture_output=True, text=True, timeout=120
    )
    return done.returncode, done.stderr


def files(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_a_folder_comes_whole_and_its_neighbour_does_not(made: stores.Platform, tmp_path: Path) -> None:
    bucket = store(made)[1]
    code, told = fetched(made, f"s3://{bucket}/iris/1", str(tmp_path))
    assert code == 0, told
    assert files(tmp_path) == {"model.joblib": MODELS["iris/1/model.joblib"], "data/more.json": b"{}"}
    assert made.password not in told


def test_one_object_keeps_its_name(made: stores.Platform, tmp_path: Path) -> None:
    bucket = store(made)[1]
    code, told = fetched(made, f"s3://{bucket}/alone.pkl", str(tmp_path))
    assert code == 0, told
    assert files(tmp_path) == {"alone.pkl": b"alone"}


@pytest.mark.parametrize(
    ("uri", "scheme", "words"),
    [
        ("s3://probe/nothing-there", "https", "holds nothing"),
        ("gs://probe/iris/1", "https", "is not s3://"),
        ("s3://probe/iris/1", "http", "only https"),
        ("s3://other/iris/1", "https", "NoSuchBucket"),
    ],
)
def test_what_can_not_be_had_ends_it(made: stores.Platform, tmp_path: Path, uri: str, scheme: str, words: str) -> None:
    """So the pod does not start without its model."""
    code, told = fetched(made, uri.replace("probe", store(made)[1]), str(tmp_path), scheme=scheme)
    assert code != 0
    assert words in told
    assert files(tmp_path) == {}
