"""Batches without a store: what a wish may be, the job of one, how lines are cut, and every place where it may die."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from io import BytesIO
from itertools import pairwise
from typing import Any

import pytest
from minio.error import S3Error

from components.kit.manifests import in_namespace
from components.kit.needs import Bucket, Rights
from components.kserve import batch
from components.kserve import settings as kserve
from components.kserve.image.server import batching, sources, targets
from components.kserve.image.server.rows import LARGEST, LONGEST, Answer, Refused, Row
from components.kserve.image.server.stores import BatchError
from components.kserve.image.server.wished import NOTHING, REFUSED, Wish, place, read, wrong
from components.minio import settings as minio
from components.models.keeper.wish import STATE, WISH
from components.models.keeper.wish import Wish as Release
from components.postgres import settings as postgres
from stacks import batch as command
from stacks.jobs import DONE, FAILED, RUNS, JobError, Jobs, State
from tests.unit.test_kserve_settings import site

ONE, TWO = f"sha256:{'1' * 64}", f"sha256:{'2' * 64}"
BARE = kserve.Settings(batch_tables_gib=None)
GOOD = Wish("iris", ONE, "s3://batch/asked", "s3://batch/told")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model": "Iris"}, "model is 'Iris'"),
        ({"digest": "sha256:12"}, "version is 'sha256:12'"),
        ({"source": "s3://batch"}, "from is 's3://batch'"),
        ({"source": "s3://batch/a/../b"}, "from is"),
        ({"source": "file:///etc/passwd"}, "from is"),
        ({"target": "table:a;drop"}, "to is"),
        ({"target": "table:a.b.c"}, "to is"),
        ({"target": "s3://batch/asked"}, "two folders, none within the other"),
        ({"target": "s3://batch/asked/told/"}, "two folders, none within the other"),
        ({"source": "s3://batch/told/x"}, "two folders, none within the other"),
        ({"source": "table:a", "target": "table:a"}, "two tables"),
        ({"key": ""}, "key has ''"),
        ({"columns": ("a", "b\n")}, "columns has 'b\\n'"),
        ({"columns": ("a", "b", "a")}, "columns has a more than once"),
        ({"columns": ("a", "id")}, "columns has the key 'id'"),
        ({"columns": tuple(f"c{n}" for n in range(1001))}, "columns are 1001"),
        ({"columns": ("a", "b"), "texts": True}, "one column of texts"),
        ({"floor": 1.5}, "floor is 1.5"),
        ({"floor": float("nan")}, "floor is nan"),
        ({"chunk": 0}, "chunk is 0"),
        ({"chunk": 100_001}, "chunk is 100001"),
    ],
)
def test_what_is_wrong_with_a_wish_is_told(change: dict[str, Any], words: str) -> None:
    (told,) = wrong(replace(GOOD, **change))
    assert words in told and "allowed" in told + "; allowed" * ("more than once" in told or "not asked" in told)
    with pytest.raises(ValueError, match=r"."):
        read(replace(GOOD, **change).text())


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"target": "s3://other/asked"},
        {"source": "s3://batch/told-2", "columns": ("a", "B c"), "floor": 0.0, "chunk": 1},
        {"source": "table:clinic.asked", "target": "table:told", "texts": True},
    ],
)
def test_a_wish_is_the_same_at_its_end(change: dict[str, Any]) -> None:
    wish = replace(GOOD, **change)
    assert not list(wrong(wish)) and read(wish.text()) == wish


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"model": 1}', '{"model": "a", "more": 1}'])
def test_what_is_no_wish_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        read(text)


def typed(*words: str) -> argparse.Namespace:
    return command.typed(["lab", *words])


def house(**rooms: Any) -> batch.House:
    where = site(**rooms or {"postgres": postgres.Settings()})
    settings = where.rooms["kserve"]
    assert isinstance(settings, kserve.Settings)
    return batch.house(settings, where)


RELEASE = {
    "data": {
        WISH: Release("iris", "models:/iris/1", floor=0.8).text(),
        STATE: json.dumps({"versions": {"models:/iris/1": {"digest": ONE, "form": "mlflow"}}}),
    }
}
PLACES = ("--from", "s3://batch/asked", "--to", "s3://batch/told")


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (("iris",), replace(GOOD, floor=0.8)),
        (("iris@models:/iris/1",), replace(GOOD, floor=0.8)),
        ((f"iris@{TWO}",), replace(GOOD, digest=TWO, floor=0.8)),
        ((f"wine@{TWO}",), replace(GOOD, model="wine", digest=TWO)),
        (("iris", "--floor", "none"), GOOD),
        (("iris", "--floor", "0.5", "--chunk", "7", "--texts"), replace(GOOD, floor=0.5, chunk=7, texts=True)),
        (("iris", "--key", "n", "--columns", "a,b"), replace(GOOD, floor=0.8, key="n", columns=("a", "b"))),
    ],
)
def test_a_command_line_is_a_wish(words: tuple[str, ...], wanted: Wish) -> None:
    job = command.made(typed(*words, *PLACES), {"iris": RELEASE}, house())
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert read(container["command"][-1]) == wanted


def test_all_mistakes_of_a_command_line_are_told_at_once() -> None:
    words = (
        "beer",
        "--from",
        "s3://models/asked",
        "--to",
        "table:A",
        "--floor",
        "2",
        "--chunk",
        "0",
        "--columns",
        "id",
    )
    with pytest.raises(command.BatchError) as told:
        command.made(typed(*words), {"iris": RELEASE}, house())
    for part in ("no release 'beer'", "to is 'table:A'", "floor is 2.0", "chunk is 0", "the key 'id'"):
        assert part in str(told.value)
    assert str(told.value).count("\n") == 5


@pytest.mark.parametrize(
    ("source", "target", "words"),
    [
        ("s3://models/asked", "s3://batch/told", ""),  # it may read there
        ("s3://batch/asked", "s3://models/told", "to is in the bucket models; allowed: batch."),
        ("s3://secret/asked", "s3://batch/told", "from is in the bucket secret; allowed: batch, lake, models."),
        ("s3://lake/asked", "s3://batch/told", ""),
        ("table:asked", "table:told", ""),
    ],
)
def test_where_it_may_read_and_write_is_what_the_site_grants(source: str, target: str, words: str) -> None:
    lake = (Bucket(owner="spark-jobs", name="lake"), Bucket(owner="batch", name="lake", rights=Rights.READ))
    found = list(
        house(minio=minio.Settings(buckets=lake), postgres=postgres.Settings()).wrong(
            replace(GOOD, source=source, target=target)
        )
    )
    assert [words in each for each in found] == ([True] if words else [])


def test_a_site_without_tables_needs_no_database_and_says_so() -> None:
    made = house(kserve=BARE)
    (told,) = made.wrong(replace(GOOD, source="table:asked"))
    assert "batch_tables_gib" in told
    assert not [need for need in BARE.needs() if need.kind == "database"]
    assert [each["to"][0]["podSelector"]["matchLabels"] for each in batch.fence(made)["spec"]["egress"]] == [
        {"k8s-app": "kube-dns"},
        {"app.kubernetes.io/name": "minio"},
    ]


def test_its_pod_has_no_token_one_secret_and_a_way_to_the_stores_alone() -> None:
    made = house()
    job = batch.job(GOOD, made)
    template = job["spec"]["template"]
    assert template["spec"]["automountServiceAccountToken"] is False
    assert template["spec"]["priorityClassName"] == "apadana-batch"
    assert [each["secret"]["secretName"] for each in template["spec"]["volumes"] if "secret" in each] == [
        "kserve-batch"
    ]
    (container,) = template["spec"]["containers"]
    assert container["image"] == site().image(kserve.SERVER_IMAGE)
    assert set(container["resources"]["limits"]) == {"cpu", "memory"}
    assert {each["name"]: each["value"] for each in container["env"]} == {
        "STORE_ADDRESS": "minio.platform.svc.cluster.local:9000",
        "STORE_REGION": "us-east-1",
        "DATABASE_ADDRESS": container["env"][3]["value"],
        "DATABASE_NAME": "batch",
        "HOME": "/tmp",
    }
    policy = batch.fence(made)["spec"]
    assert policy["podSelector"]["matchLabels"].items() <= template["metadata"]["labels"].items()
    assert policy["ingress"] == [] and policy["policyTypes"] == ["Ingress", "Egress"]
    ways = [way["to"] for way in policy["egress"][1:]]
    assert ways == [[in_namespace("platform", {"app.kubernetes.io/name": name})] for name in ("minio", "postgres")]
    # Predictors' own policy is not about it: nobody asks it anything.
    assert not kserve.PREDICTOR_PODS.items() <= template["metadata"]["labels"].items()


def test_what_would_fail_again_is_not_tried_again_and_the_same_wish_is_the_same_job() -> None:
    job = batch.job(GOOD, house())
    fails, ignored = job["spec"]["podFailurePolicy"]["rules"]
    assert fails["onExitCodes"]["values"] == [REFUSED, NOTHING] and ignored["action"] == "Ignore"
    names = {batch.name(each) for each in (GOOD, replace(GOOD), replace(GOOD, digest=TWO), replace(GOOD, floor=0.1))}
    assert len(names) == 3 and all(len(each) <= 63 for each in names)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
def test_lines_are_the_same_however_they_come(size: int) -> None:
    text = b"\xef\xbb\xbffirst\r\n\nthird is long\nfo\r\nlast"
    found = list(sources.lines((text[at : at + size] for at in range(0, len(text), size)), 0, longest=9))
    assert [line for line, _ in found] == [b"first", b"", None, b"fo", b"last"]
    for (_, end), (line, _) in pairwise(found):
        again = list(sources.lines(iter([text[end:]]), end, longest=9))
        assert again[0][0] == line and again[-1][1] == len(text)


def test_a_chunk_is_so_many_rows_or_so_many_bytes() -> None:
    def rows(*sizes: int) -> Iterator[tuple[Row, dict[str, int]]]:
        return ((Row("", n, (), size), {"at": n}) for n, size in enumerate(sizes))

    cut = [[row.key for row in held if isinstance(row, Row)] for held, _ in batching.chunks(rows(*[1] * 5), 2)]
    assert cut == [[0, 1], [2, 3], [4]]
    cut = [[row.key for row in held if isinstance(row, Row)] for held, _ in batching.chunks(rows(5, 5, 1, 9), 9, 10)]
    assert cut == [[0, 1], [2, 3]]
    assert LONGEST < LARGEST


class Store:
    """S3 in memory; after so many writes it is as if the process died."""

    def __init__(self, objects: dict[str, bytes]) -> None:
        self.objects = objects
        self.left = -1
        self.written: list[str] = []

    def list_objects(self, bucket: str, prefix: str, *, recursive: bool = False) -> list[Any]:
        del bucket, recursive
        names = sorted(name for name in self.objects if name.startswith(prefix))
        return [argparse.Namespace(object_name=n, size=len(self.objects[n]), etag="e", is_dir=False) for n in names]

    def get_object(self, bucket: str, name: str, offset: int = 0, request_headers: Any = None) -> Any:
        del bucket, request_headers
        if name not in self.objects:
            raise S3Error(None, "NoSuchKey", "", name, "", "")  # type: ignore[arg-type]
        content = self.objects[name][offset:]
        pieces = [content[at : at + 50] for at in range(0, len(content), 50)]
        return argparse.Namespace(
            read=lambda: content, stream=lambda _: iter(pieces), close=lambda: None, release_conn=lambda: None
        )

    def put_object(self, bucket: str, name: str, data: BytesIO, size: int) -> None:
        del bucket
        if self.left == 0:
            raise KeyboardInterrupt
        self.left -= 1
        self.objects[name] = data.read()
        self.written.append(name)
        assert len(self.objects[name]) == size


@dataclass
class Doubling:
    """A model; it counts what it was asked."""

    asked: list[Any] = field(default_factory=list)

    def answers(self, rows: Sequence[Row]) -> list[Answer | Refused]:
        self.asked += [row.key for row in rows]
        return [Answer(row, row.values[0] * 2, None) for row in rows]  # type: ignore[operator]


LINES = {
    "asked/1.csv": b"id,a\n" + b"".join(b"k%d,%d\n" % (n, n) for n in range(10)) + b"odd\n",
    "asked/2.jsonl": b"".join(b'{"id":"j%d","a":%d}\n' % (n, n) for n in range(7)),
}


def did(store: Store, wish: Wish = replace(GOOD, chunk=4)) -> tuple[dict[str, Any], Doubling]:  # noqa: B008  frozen
    model = Doubling()
    asked, into = sources.source(wish, store, None), targets.target(wish.target, store, None)
    return batching.all_answered(wish, lambda: model, asked, into), model


def test_wherever_it_dies_the_next_one_goes_on_and_the_end_is_the_same() -> None:
    whole = Store(dict(LINES))
    told, model = did(whole)
    assert (told["rows"], told["answered"], told["refused"], told["chunks"]) == (18, 17, 1, 5)
    assert len(model.asked) == 17
    for writes in range(len(whole.written)):
        store = Store(dict(LINES))
        store.left = writes
        with pytest.raises(KeyboardInterrupt):
            did(store)
        store.left = -1
        there = {name for name in store.objects if "/chunk-" in name}
        again, model = did(store)
        assert store.objects == whole.objects, writes
        # Of what was whole nothing is asked again.
        done = 4 * len(there)
        assert again["rows_now"] == 18 - min(18, done), writes
        assert len(model.asked) <= 18 - min(18, done)
    # The manifest is the last one, and then there is nothing to do.
    assert whole.written[-1] == "told/manifest.json"
    more, model = did(whole)
    assert (more["rows_now"], more["rows"], model.asked) == (0, 18, [])


def test_another_plan_leaves_what_is_there_as_it_is() -> None:
    store = Store(dict(LINES))
    did(store)
    before = dict(store.objects)
    with pytest.raises(BatchError, match="has answers to something else: chunk was 4, and is 5"):
        did(store, replace(GOOD, chunk=5))
    assert store.objects == before


def test_a_place_is_a_folder_or_a_table() -> None:
    assert place("s3://batch/a/b").name == place("s3://batch/a/b/").name == "a/b/"
    assert place("table:clinic.asked").name == "clinic.asked"


class Told(Jobs):
    """Jobs without a cluster: how one is, look by look."""

    def __init__(self, *states: State | None) -> None:
        self.states, self.words = list(states), list[str]()

    def state(self, name: str) -> State | None:
        del name
        return self.states.pop(0) if len(self.states) > 1 else self.states[0]

    def _ask(self, *words: str, stdin: str = "") -> str:
        del stdin
        self.words.append(words[0])
        return ""


def ran(jobs: Jobs, monkeypatch: pytest.MonkeyPatch, wait: float = 60) -> list[str]:
    monkeypatch.setattr(command, "LOOK_SECONDS", 0)
    return list(command.ran(jobs, batch.job(GOOD, house()), wait))


def test_a_run_is_told_line_by_line_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    at = [State(RUNS, "it begins"), State(RUNS, "5 rows"), State(RUNS, "5 rows"), State(DONE, '{"rows": 9}')]
    jobs = Told(None, *at)
    name = batch.name(GOOD)
    assert ran(jobs, monkeypatch) == [f"{name}: begun", f"{name}: it begins", f"{name}: 5 rows", '{"rows": 9}']
    assert jobs.words == ["create"]


def test_one_that_failed_is_made_anew_and_one_that_is_there_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = Told(State(FAILED, "gone"), State(DONE, "{}"))
    ran(jobs, monkeypatch)
    assert jobs.words == ["delete", "create"]
    jobs = Told(State(DONE, "{}"))
    assert "there already" in ran(jobs, monkeypatch)[0] and jobs.words == []


@pytest.mark.parametrize(
    ("states", "words"),
    [
        ((None, State(FAILED, '{"error": "no column"}')), "no column"),
        ((None, State(RUNS, "5 rows")), "still runs after 0 s, and goes on; it says: 5 rows"),
        ((State(RUNS, ""), None), "was taken away"),
    ],
)
def test_what_does_not_end_well_is_an_error(
    monkeypatch: pytest.MonkeyPatch, states: tuple[State | None, ...], words: str
) -> None:
    with pytest.raises(JobError, match=words):
        ran(Told(*states), monkeypatch, wait=0)
