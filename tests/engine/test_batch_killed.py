"""Batches that are killed at any moment, that run twice at once, or that are large, on real stores."""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import pytest

from components.kserve.image.server.wished import Wish
from tests.engine import batching
from tests.engine.batching import LINEAR, SEED, TREES, World, csv, questions
from tests.ports import HOST, free_port
from validate.ground.kubectl import wait_for

pytestmark = pytest.mark.engine
KILLS = 8
MODELS = {"linear": LINEAR, "trees": TREES}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with batching.world(tmp_path_factory.mktemp("models"), MODELS) as found:
        yield found


def seen(text: str) -> None:
    """Stands in the test's output, for who looks (-s)."""
    sys.stdout.write(f"{text}\n")


def killed(world: World, wish: Wish, chunks: Callable[[], int]) -> list[int]:
    """Begun again and again, each time killed soon after it wrote a chunk, until one comes to its end; how many rows
    each of them found answered."""
    stood: list[int] = []
    chance = random.Random(SEED)
    while True:
        before, process = chunks(), world.batches.begin(wish)
        if len(stood) < KILLS:
            wait_for("a chunk more", partial(_more, chunks, before), timeout=60, every=0.005)
            time.sleep(chance.uniform(0, 0.06))  # any moment within the next ones
            os.kill(process, signal.SIGKILL)
        code = world.batches.end(process)
        text = world.batches.log.read_text()
        assert code in (0, -signal.SIGKILL), text[-2000:]
        stood.append(int(text.partition("goes on after ")[2].split()[0]) if "goes on after" in text else 0)
        if code == 0:
            return stood


def in_files(world: World) -> int:
    """Chunks of the one that is killed."""
    names = world.batches.s3.list_objects(world.batches.bucket, prefix="killed/again/chunk-")
    return len(list(names))


def in_tables(world: World) -> int:
    """The same."""
    if world.batches.sql("SELECT to_regclass('again_batch')")[0][0] is None:
        return 0
    return int(world.batches.sql("SELECT count(*) FROM again_batch WHERE what LIKE 'chunk-%'")[0][0])


def _more(chunks: Callable[[], int], before: int) -> bool | None:
    return chunks() > before or None


def did(world: World, kind: str, places: tuple[str, str, str], chunks: Callable[[World], int]) -> None:
    """A batch from the first place to the second, and one that is killed to the third."""
    source, first, second = places
    wish = world.wish("linear", source, first, chunk=60)
    whole = world.batches.done(wish)
    assert (whole["rows"], whole["answered"], whole["refused"]) == (6000, 5988, 12)
    stood = killed(world, replace(wish, target=second), partial(chunks, world))
    seen(f"{kind}: {whole['seconds']} s whole; begun with {stood} rows done")
    assert stood == sorted(stood) and len({each for each in stood if 0 < each < whole["rows"]}) >= 3
    assert {**world.batches.told(), "rows": 6000, "answered": 5988, "refused": 12} == world.batches.told()


def test_killed_at_any_moment_and_begun_again_it_writes_the_same_files(world: World) -> None:
    lines = csv(questions(6000)).splitlines()
    lines[100::500] = [b"bad line" for _ in lines[100::500]]
    world.batches.put("killed/asked/1.csv", b"\n".join(lines[:3001]))
    world.batches.put("killed/asked/2.csv", b"\n".join([lines[0], *lines[3001:]]))
    did(world, "files", (world.here("killed/asked"), world.here("killed/whole"), world.here("killed/again")), in_files)
    one, other = (world.batches.files(f"killed/{each}") for each in ("whole", "again"))
    for each, name in ((one, b"whole"), (other, b"again")):
        for file in ("plan.json", "manifest.json"):
            each[file] = each[file].replace(name, b"")
    assert one == other and len(one) == 2 + 100 * 2 + 12


def test_killed_at_any_moment_and_begun_again_it_writes_the_same_rows(world: World) -> None:
    world.batches.sql("CREATE TABLE many (id text PRIMARY KEY, a float8, b float8, c float8, d text)")
    rows = [f"('k{n}',{a},{b},{c},'{d if n % 500 else 'bad'}')" for n, (a, b, c, d) in enumerate(questions(6000))]
    world.batches.sql(f"INSERT INTO many VALUES {','.join(rows)}")
    did(world, "tables", ("table:many", "table:whole", "table:again"), in_tables)
    for more in ("", "_refused"):
        one, other = (world.batches.sql(f"SELECT * FROM {each}{more} ORDER BY 1, 2") for each in ("whole", "again"))
        assert one == other and len(one) == (12 if more else 5988)
        assert len({row[2] for row in one}) == len(one)


def test_two_at_once_write_each_row_once(world: World) -> None:
    """As where a host does not answer and its pod was made anew elsewhere: in files both write the same."""
    asked = questions(3000)
    world.batches.put("twice/asked/1.csv", csv(asked))
    wish = world.wish("trees", world.here("twice/asked"), "table:twice", chunk=100)
    both = [world.batches.begin(wish) for _ in range(2)]
    codes = [world.batches.end(each) for each in both]
    assert 0 in codes
    if codes != [0, 0]:
        assert world.batches.run(wish) == 0
    assert (
        len(world.batches.sql("SELECT DISTINCT key FROM twice"))
        == len(world.batches.sql("SELECT key FROM twice"))
        == 3000
    )


def test_memory_does_not_grow_with_the_questions(world: World) -> None:
    peaks = {}
    for count in (20_000, 200_000):
        world.batches.put(f"memory/{count}/1.csv", csv(questions(count)))
        told = world.batches.done(
            world.wish("trees", world.here(f"memory/{count}"), world.here(f"memory/told-{count}"))
        )
        assert told["answered"] == count
        peaks[count] = told["memory_mib"]
        seen(f"{count} rows: {told['memory_mib']} MiB, {told['seconds']} s, {told['rows_per_second']} rows/s")
    assert peaks[200_000] - peaks[20_000] < 24


def test_a_store_that_is_away_is_no_end(world: World) -> None:
    """Another exit code than for good: the Job makes it anew."""
    world.batches.put("away/asked/1.csv", csv(questions(10)))
    wish = world.wish("linear", world.here("away/asked"), world.here("away/told"))
    assert world.batches.run(wish, STORE_ADDRESS=f"{HOST}:{free_port()}") == 1
    assert "Connection refused" in world.batches.told()["error"]
    assert world.batches.done(wish)["answered"] == 10
