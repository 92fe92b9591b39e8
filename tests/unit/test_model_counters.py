"""What a model server counts of its answers, and that its image holds what it imports."""

from __future__ import annotations

import ast
import asyncio
import math
import shutil
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.kserve import settings as kserve
from components.kserve.image.server import (
    answers,
    counters,
    declared,
    drift,
    floors,
    forms,
    graphs,
    pages,
    ports,
    predictions,
)
from components.kserve.image.server.counters import (
    ANSWERS,
    BUCKETS,
    INVALID,
    MEMORY_LIMIT,
    NOT_SURE,
    ROWS,
    SECONDS,
    START,
    Counted,
    Counters,
    Started,
    alive_seconds,
    memory_limit,
    together,
    whole,
)
from components.models.judge.scrape import reading
from validate.ground.site import REPOSITORY

IMAGE = Path(kserve.__file__).parent / "image" / "server"
INFER = "/v2/models/iris/infer"
App = Callable[[Any, Any, Any], Awaitable[None]]


def answering(status: int) -> App:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    return app


async def failing(scope: Any, receive: Any, send: Any) -> None:
    raise RuntimeError("the model's own code")


async def silent(scope: Any, receive: Any, send: Any) -> None:
    """Its caller has left."""


def asked(app: App, made: Counters, path: str = INFER, method: str = "POST") -> list[Any]:
    """One request; what was sent back."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    asyncio.run(Counted(app, {"iris": made})({"type": "http", "method": method, "path": path}, receive, send))
    return sent


def line(name: str, labels: dict[str, str], value: float) -> str:
    """A sample as Prometheus' text has it."""
    marks = ",".join(f'{key}="{label}"' for key, label in labels.items())
    return f"{name}{{{marks}}} {value}"


def shown(made: Counters) -> dict[str, float]:
    """Every number by its name and labels, as a page has it."""
    samples = [sample for family in made.families() for sample in family.samples]
    return {f"{name}{''.join(f'{k}={v}' for k, v in labels.items())}": value for name, labels, value in samples}


def test_every_answer_to_a_question_is_counted_by_its_status_and_goes_on_as_it_was() -> None:
    made = Counters()
    for status in (200, 200, 400, 413):
        assert asked(answering(status), made)[0]["status"] == status
    asked(answering(200), made, "/v1/models/iris:predict")
    found = shown(made)
    assert {key: n for key, n in found.items() if key.startswith(ANSWERS)} == {
        f"{ANSWERS}code=200": 3,
        f"{ANSWERS}code=400": 1,
        f"{ANSWERS}code=413": 1,
    }
    assert found[f"{SECONDS}_count"] == found[f"{SECONDS}_bucketle=+Inf"] == 5


@pytest.mark.parametrize(
    ("path", "whose"),
    [
        ("/v2/models/wine/infer", "wine"),
        ("/v1/models/wine:predict", "wine"),
        ("/v2/models/wine/versions/1/infer", "wine"),
        ("/v2/models/nobody/infer", "iris"),
        ("/v2/models/infer", "iris"),
    ],
)
def test_each_model_of_a_pod_counts_for_itself_and_the_first_for_nobodys(path: str, whose: str) -> None:
    models = {name: Counters(None if name == "wine" else 512, name, "1") for name in ("iris", "wine")}

    async def send(message: Any) -> None:
        """To nobody."""

    scope = {"type": "http", "method": "POST", "path": path}
    asyncio.run(Counted(answering(404), models)(scope, send, send))
    assert {name for name, each in models.items() if each.answers} == {whose}
    families = list(together(models.values()))
    assert len({family.name for family in families}) == len(families)
    (limit,) = [family for family in families if family.name == MEMORY_LIMIT]
    assert [value for _, _, value in limit.samples] == [512]
    text = "\n".join(line(*sample) for family in families for sample in family.samples)
    assert (reading(text).answers, reading(text, whose).answers) == (1, 1)
    assert reading(text, "wine" if whose == "iris" else "iris").answers == 0


def test_what_fails_inside_is_a_500_and_still_fails() -> None:
    made = Counters()
    with pytest.raises(RuntimeError, match="own code"):
        asked(failing, made)
    assert dict(made.answers) == {500: 1}


@pytest.mark.parametrize(("app", "path", "method"), [(silent, INFER, "POST"), (answering(200), "/metrics", "GET")])
def test_what_is_no_answer_to_a_question_is_not_counted(app: App, path: str, method: str) -> None:
    made = Counters()
    asked(app, made, path, method)
    assert not made.answers
    # Who has answered nothing says so: it is no server of another kind.
    assert shown(made)[f"{ANSWERS}code=200"] == 0


def test_a_bound_holds_what_took_as_long_and_all_before_it() -> None:
    made = Counters()
    for seconds in (BUCKETS[0] / 2, BUCKETS[3], 0.3, 0.301, BUCKETS[-1] * 2):
        made.add(200, seconds)
    found = shown(made)
    assert found[f"{SECONDS}_bucketle={BUCKETS[0]}"] == 1
    assert found[f"{SECONDS}_bucketle={BUCKETS[3]}"] == 2
    assert found[f"{SECONDS}_bucketle=0.3"] == 3
    assert found[f"{SECONDS}_bucketle={BUCKETS[-1]}"] == 4
    assert found[f"{SECONDS}_bucketle=+Inf"] == 5
    assert found[f"{SECONDS}_sum"] == pytest.approx(made.seconds)


def test_bounds_are_a_fifth_apart_and_the_slo_is_one() -> None:
    assert 0.3 in BUCKETS
    assert all(later / sooner < 1.21 for sooner, later in pairwise(BUCKETS))
    assert shown(Counters(invalid=3))[INVALID] == 3


def test_rows_without_a_label_are_counted_by_model_and_version() -> None:
    found = shown(Counters(model="iris", version="1111111111", rows=7, not_sure=2))
    assert found[f"{ROWS}model=irisversion=1111111111"] == 7
    assert found[f"{NOT_SURE}model=irisversion=1111111111"] == 2


@pytest.mark.parametrize(
    ("answers", "right"),
    [
        (np.array([1.0, -2.5]), True),
        (np.array([1, 2]), True),
        (np.array(["setosa"]), True),
        (["setosa", "virginica"], True),
        (np.array([1.0, math.nan]), False),
        (np.array([[0.5, math.inf]]), False),
        ([1.0, None], False),
        (np.array(["setosa", math.nan], dtype=object), False),
        (np.array([]), False),
        ([], False),
    ],
)
def test_an_answer_with_no_number_or_nothing_is_none(answers: Any, right: bool) -> None:
    assert whole(answers) is right


@pytest.mark.parametrize(
    ("name", "text", "limit"),
    [
        ("memory.max", "536870912\n", 2**29),
        ("memory.max", "max\n", 0),
        ("memory/memory.limit_in_bytes", "402653184\n", 402653184),
        ("memory/memory.limit_in_bytes", "9223372036854771712\n", 0),
        ("else", "1", 0),
    ],
)
def test_the_limit_is_what_the_kernel_says(tmp_path: Path, name: str, text: str, limit: float) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(text)
    assert memory_limit(tmp_path) == limit


def test_the_image_holds_what_its_server_imports_of_ours(tmp_path: Path) -> None:
    for line in (IMAGE / "Containerfile").read_text().splitlines():
        if line.startswith("COPY"):
            *files, target = [word for word in line.split()[1:] if not word.startswith("--")]
            place = tmp_path / target.strip("/")
            place.mkdir(parents=True, exist_ok=True)
            for file in files:
                shutil.copy(IMAGE / file, place)
    server = tmp_path / "opt" / "apadana" / "serve.py"
    imports = [node.module for node in ast.walk(ast.parse(server.read_text())) if isinstance(node, ast.ImportFrom)]
    ours = [name for name in imports if name and name.startswith("components.")]
    # These import what the image alone has.
    others = {f"components.kserve.image.server.{name}" for name in ("calls", "lookups")}
    modules = (answers, counters, declared, drift, floors, forms, graphs, pages, ports, predictions)
    assert {module.__name__ for module in modules} | others == set(ours)
    for module in ours:
        code = f"import {module} as found; print(found.__file__)"
        if module in others:
            code = f"from importlib.util import find_spec; print(find_spec({module!r}).origin)"
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, cwd=server.parent, capture_output=True, text=True, check=True)
        assert Path(done.stdout.strip()).is_relative_to(tmp_path)
    _holds_all(server.parent)


def _holds_all(place: Path) -> None:
    """Whatever a file of the image takes from another one of ours is there, batches' too."""
    files = sorted(place.rglob("*.py"))
    assert place / "batch.py" in files
    for file in files:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("components."):
                found = place / str(node.module).replace(".", "/")
                modules = [found] if found.with_suffix(".py").is_file() else [found / each.name for each in node.names]
                assert [each for each in modules if not each.with_suffix(".py").is_file()] == [], file.name


def test_what_a_start_took_is_told_by_its_parts() -> None:
    (family,) = Started(3.14159, 0.5).families()
    assert family.samples == ((START, {"part": "import"}, 3.142), (START, {"part": "load"}, 0.5))


def test_how_long_a_process_lives_is_the_kernels_to_say() -> None:
    """A process that did nothing but to import this says no more than it took."""
    code = "from components.kserve.image.server.counters import alive_seconds; print(alive_seconds())"
    began = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=REPOSITORY)
    # The kernel's own notes are in hundredths of a second.
    assert 0 <= float(done.stdout) <= time.monotonic() - began + 0.02
    before = alive_seconds()
    assert before > 0.1  # this one
    assert alive_seconds() >= before
