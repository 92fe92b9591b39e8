"""What callers tell of outcomes, which pods are read, and what follows from both."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.models.keeper import targets
from components.outcomes.server import collecting, figures, predictions, reading, told
from components.outcomes.server.collecting import Collecting, Pod, answering
from components.outcomes.server.figures import Figures, bounds
from components.outcomes.server.reading import Place
from components.outcomes.server.told import BadOutcomesError, Outcome

NOW = 1_800_000_000.0
GOOD = {"model": "tabular", "id": "order-7", "actual": [1]}


def read(*items: object) -> list[Outcome]:
    return told.read(json.dumps({"outcomes": items}).encode(), NOW)


def test_what_is_right_is_read_as_it_was_told() -> None:
    found = read(GOOD, GOOD | {"actual": ["no", 0.5, True], "at": "2026-01-31T12:00:00Z"})
    assert found == [
        Outcome("tabular", "order-7", NOW, (1,)),
        Outcome("tabular", "order-7", 1_769_860_800.0, ("no", 0.5, True)),
    ]
    assert told.moment(found[1].at) == "2026-01-31T12:00:00.000Z"


@pytest.mark.parametrize(
    ("item", "said"),
    [
        (3, "outcomes[0]. is 3; allowed: an object"),
        (GOOD | {"modell": 1}, "outcomes[0].modell is not known; allowed: model, id, actual, at"),
        (GOOD | {"model": "A"}, "outcomes[0].model is 'A'; allowed: a model's name"),
        ({"id": "a", "actual": [1]}, "outcomes[0].model is None; allowed"),
        (GOOD | {"id": "a b"}, "outcomes[0].id is 'a b'; allowed: the id of the question"),
        (GOOD | {"actual": 1}, "outcomes[0].actual is 1; allowed: a list of 1 to 8"),
        (GOOD | {"actual": []}, "outcomes[0].actual is []; allowed"),
        (GOOD | {"actual": [None]}, "outcomes[0].actual is [None]; allowed"),
        (GOOD | {"actual": [[1]]}, "outcomes[0].actual is [[1]]; allowed"),
        (GOOD | {"actual": ["x" * 101]}, "outcomes[0].actual is ['xxx"),
        (GOOD | {"actual": [float("inf")]}, "outcomes[0].actual is [inf]; allowed"),
        (GOOD | {"at": "today"}, "outcomes[0].at is 'today'; allowed: a moment with its zone"),
        (GOOD | {"at": "2026-01-31T12:00:00"}, "outcomes[0].at is '2026-01-31T12:00:00'; allowed"),
        (GOOD | {"at": "2999-01-31T12:00:00Z"}, "not to come"),
        (GOOD | {"at": 5}, "outcomes[0].at is 5; allowed"),
    ],
)
def test_what_is_wrong_is_told_with_what_is_allowed(item: object, said: str) -> None:
    with pytest.raises(BadOutcomesError) as caught:
        read(item)
    assert said in str(caught.value)


def test_all_mistakes_come_at_once_up_to_a_bound() -> None:
    with pytest.raises(BadOutcomesError) as caught:
        read(GOOD, {"model": "A", "id": "", "actual": []}, GOOD, 3)
    assert [each.partition(" is ")[0] for each in caught.value.mistakes] == [
        "outcomes[1].model",
        "outcomes[1].id",
        "outcomes[1].actual",
        "outcomes[3].",
    ]
    with pytest.raises(BadOutcomesError) as caught:
        read(*([3] * 50))
    assert len(caught.value.mistakes) == told.SHOWN + 1 and caught.value.mistakes[-1] == "and 30 more"


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"3", b"null", b'{"outcomes": 3}', b'{"outcomes": []}', b"\xff"])
def test_what_is_no_list_of_outcomes_is_refused(body: bytes) -> None:
    with pytest.raises(BadOutcomesError):
        told.read(body, NOW)
    with pytest.raises(BadOutcomesError, match="allowed: a list of 1 to 1000"):
        read(*([GOOD] * 1001))


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["model", "id", "actual", "at"]), inner)
        ),
        max_leaves=8,
    )
)
def test_whatever_comes_is_an_outcome_or_a_mistake(item: Any) -> None:
    try:
        found = read(item)
    except BadOutcomesError as error:
        assert error.mistakes
    else:
        assert all(predictions.value(value) for each in found for value in each.actual)


STATES = {
    "tabular": {"answering": ["aaaaaaaaaa"], "beside": ["wine"], "phase": "canary"},
    "text": {"answering": [], "phase": "waits"},
}


def listed(release: str, version: str, *addresses: str) -> dict[str, Any]:
    return {"targets": list(addresses), "labels": {"release": release, "version": version}}


def test_only_pods_that_answer_users_are_read() -> None:
    pods = [
        listed("tabular", "aaaaaaaaaa", "10.0.0.1:8080", "10.0.0.2:8080"),
        listed("tabular", "bbbbbbbbbb", "10.0.0.3:8080"),  # a shadow
        listed("text", "aaaaaaaaaa", "10.0.0.4:8080"),
        listed("gone", "aaaaaaaaaa", "10.0.0.5:8080"),
    ]
    models = frozenset({"tabular", "wine"})
    assert answering(STATES, pods) == [
        Pod(Place(f"10.0.0.{n}:8080", f"10.0.0.{n}", 8080, ready=True), models) for n in (1, 2)
    ]


def test_what_keepers_list_has_the_names_that_are_read_here() -> None:
    slices = [
        {
            "metadata": {"labels": {"kubernetes.io/service-name": "tabular-aaaaaaaaaa-predictor"}},
            "ports": [{"port": 8080}],
            "endpoints": [{"addresses": ["10.0.0.1"]}],
        }
    ]
    assert [pod.place.address for pod in answering(STATES, targets.told(slices))] == ["10.0.0.1"]


class World:
    """Keepers, pods and the database of one replica."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.pages: dict[str, str] = {}
        self.asked: list[str] = []
        self.kept: list[predictions.Prediction] = []
        self.said: list[str] = []
        self.away = False
        monkeypatch.setattr(reading, "ask", self.pods)
        self.collecting = Collecting(self.ask, self, self.said.append)

    def ask(self, path: str) -> Any:
        return STATES if path == "/releases" else [listed("tabular", "aaaaaaaaaa", *self.pages)]

    def pods(self, places: dict[str, Place], _: object) -> tuple[dict[str, str], dict[str, str]]:
        self.asked += [place.path for place in places.values()]
        return {name: text for name, text in self.pages.items() if text}, {
            name: "late" for name, text in self.pages.items() if not text
        }

    def predicted(self, found: Iterable[predictions.Prediction]) -> None:
        if self.away:
            raise OSError("away")
        self.kept += found


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


def page(stand: int, *models: str) -> str:
    lines = [
        json.dumps({"model": m, "version": "v", "name": "q", "at": 1.0, "measured": False, "answers": [1]})
        for m in models
    ]
    return "\n".join([f"00000000.{stand}", *lines, ""])


def test_a_pod_speaks_for_its_own_models_alone(world: World) -> None:
    world.pages["10.0.0.1:8080"] = page(3, "tabular", "wine", "text")
    world.collecting.round()
    assert [each.model for each in world.kept] == ["tabular", "wine"]


def test_what_was_not_kept_is_asked_for_again(world: World) -> None:
    world.pages["10.0.0.1:8080"] = page(3, "tabular")
    world.away = True
    with pytest.raises(OSError, match="away"):
        world.collecting.round()
    world.away = False
    world.collecting.round()
    world.collecting.round()
    assert world.asked == [f"/predictions?since={stand}" for stand in ("", "", "00000000.3")]
    assert len(world.kept) == 2 and world.collecting.found == 2


def test_a_pod_that_shows_none_is_told_once_and_holds_up_no_other(world: World) -> None:
    world.pages |= {"10.0.0.1:8080": "<html>", "10.0.0.2:8080": "", "10.0.0.3:8080": page(1, "tabular")}
    for _ in range(2):
        world.collecting.round()
    assert len(world.said) == 2 and "10.0.0.1:8080 shows no predictions: '<html>' is not where" in "".join(world.said)
    assert world.collecting.pods == 3 and world.kept


@pytest.mark.parametrize(
    ("part", "whole", "least", "most"),
    [
        (0, 0, 0.0, 1.0),
        (0, 10, 0.0, 0.3989),
        (10, 10, 0.6011, 1.0),
        (50, 100, 0.3755, 0.6245),
        (20, 10_000, 0.0011, 0.0035),
    ],
)
def test_the_bounds_of_a_share(part: int, whole: int, least: float, most: float) -> None:
    """Wilson's at 99 %, reckoned by hand."""
    assert bounds(part, whole) == pytest.approx((least, most), abs=1e-3)


def test_figures_of_which_nothing_is_known_say_so() -> None:
    empty = Figures("m", "v", "", 5, 0, 0, 0, 0, 0, 0.0, 0.0, 0.0).told()
    assert empty["known_share"] == 0 and empty["predictions"] == 5
    assert [empty[key] for key in ("wrong_share", "wrong_share_bounds", "bias", "absolute", "squared")] == [None] * 5
    assert figures.Z > 2.5 and collecting.SECONDS < 10
