"""What a release may wish for, and the objects that it becomes."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import pytest

from components.models.keeper import objects
from components.models.keeper.wish import BadWishError, Wish, checked, promoted, read, rolled_back

ONE, TWO = f"sha256:{'1' * 64}", f"sha256:{'2' * 64}"
WINE, BEER = f"sha256:{'3' * 64}", f"sha256:{'4' * 64}"
STABLE = Wish("iris", "models:/iris/1")
CANARY = replace(STABLE, mode="canary", candidate="models:/iris/2", percent=10)
SHADOW = replace(CANARY, mode="shadow")
JUDGED = replace(CANARY, percent=0, judge=True)
WATCHED = replace(SHADOW, judge=True)
FLOORED = replace(STABLE, floor=0.8)
TOGETHER = replace(STABLE, beside={"wine": "models:/wine/1", "beer": "models:/beer/2"})
BACKED = replace(STABLE, fall_back="models:/wine/1")
FOLLOWS = replace(STABLE, follow="models:/iris@deployable")
FULL = replace(
    WATCHED, floor=0.25, most=5, beside={"wine": "models:/wine/1"}, disagree=7, then="canary", by="ann", why="a try"
)
DIGESTS = {"models:/iris/1": ONE, "models:/iris/2": TWO, "models:/wine/1": WINE, "models:/beer/2": BEER}
PLACE = objects.Place(
    platform="platform",
    work="platform-work",
    gateway="apadana",
    host="models.lab.internal",
    bucket="models",
    account="kserve-predictor",
    replicas=2,
    seconds=30,
    resources={"requests": {"cpu": "50m", "memory": "384Mi"}, "limits": {"cpu": "1", "memory": "384Mi"}},
    scale_at=70,
)


@pytest.mark.parametrize(
    "wish",
    [
        STABLE,
        CANARY,
        SHADOW,
        JUDGED,
        WATCHED,
        FLOORED,
        FULL,
        FOLLOWS,
        BACKED,
        replace(BACKED, fall_back=WINE),
        replace(STABLE, floor=0.0),
        Wish("a", ONE),
        Wish("a-1", "models:/My model/7"),
    ],
)
def test_what_is_stored_is_read_again(wish: Wish) -> None:
    assert read(wish.text(), wish.name) == wish


@pytest.mark.parametrize(
    ("wish", "told"),
    [
        (Wish("Iris", ONE), "name is 'Iris'"),
        (Wish("i" * 41, ONE), "allowed: 1 to 40"),
        (Wish("iris", ""), "stable is ''"),
        (Wish("iris", "models:/iris"), "stable is 'models:/iris'"),
        (Wish("iris", "models:/../1"), "stable is"),
        (Wish("iris", "s3://models/iris"), "sha256:<64"),
        (replace(CANARY, mode="serve"), "with mode serve"),
        (replace(CANARY, candidate=""), "candidate is missing"),
        (replace(CANARY, percent=0), "percent is 0; allowed: 1 to 100"),
        (replace(SHADOW, percent=101), "percent is 101"),
        (replace(STABLE, mode="blue"), "mode is 'blue'"),
        (replace(STABLE, most=-1), "most is -1; allowed: 0"),
        (replace(STABLE, most=51), "most is 51"),
        (replace(STABLE, follow="models:/iris/1"), "follow is 'models:/iris/1'; allowed: models:/<name>@<alias>"),
        (replace(CANARY, follow="models:/iris@best"), "follow is 'models:/iris@best' with mode canary; allowed: with"),
        (replace(JUDGED, percent=10), "percent is 10 with judge; allowed: none"),
        (replace(WATCHED, percent=0), "percent is 0; allowed: 1 to 100"),
        (replace(WATCHED, disagree=0), "disagree is 0; allowed: 1 to 50 percent"),
        (replace(WATCHED, disagree=51), "disagree is 51"),
        (replace(WATCHED, then="serve"), "then is 'serve'; allowed: canary"),
        (replace(SHADOW, disagree=5), "disagree is 5; allowed: with mode shadow and judge true"),
        (replace(JUDGED, then="canary"), "then is 'canary'; allowed: with mode shadow and judge true"),
        (replace(WATCHED, candidate=STABLE.stable), "so is stable"),
        (replace(STABLE, judge=True), "judge is true with mode serve; allowed: with mode canary or shadow"),
        (replace(JUDGED, candidate=STABLE.stable), "so is stable"),
        (replace(STABLE, why="a\nb"), "why has 3 letters"),
        (replace(STABLE, floor=1.5), "floor is 1.5; allowed: 0 to 1, or left out"),
        (replace(STABLE, floor=-0.1), "floor is -0.1"),
        (replace(STABLE, floor=math.nan), "floor is nan"),
        (replace(STABLE, beside={"iris": ONE}), "beside has 'iris'; allowed: names as a release's, and not its own"),
        (replace(STABLE, beside={"../wine": ONE}), "beside has '../wine'; allowed"),
        (replace(STABLE, beside={"wine": ""}), "beside has '' as 'wine'; allowed: models:/"),
        (replace(STABLE, beside={f"m{n}": ONE for n in range(16)}), "beside has 16 models; allowed: at most 15"),
        (replace(STABLE, fall_back="models:/iris"), "fall_back is 'models:/iris'; allowed: models:/<name>/<version>"),
        (
            replace(STABLE, fall_back=STABLE.stable),
            "fall_back is 'models:/iris/1', and so is stable; allowed: one that",
        ),
        (replace(CANARY, fall_back=CANARY.candidate), "and so is candidate; allowed: one that does not break with it"),
        (rolled_back(replace(BACKED, previous=BACKED.fall_back)), "fall_back is 'models:/wine/1', and so is stable"),
        (replace(TOGETHER, fall_back=ONE), "with beside; allowed: one of them, a try's time holds for all"),
    ],
)
def test_a_wrong_wish_says_what_is_allowed(wish: Wish, told: str) -> None:
    with pytest.raises(BadWishError, match=r"allowed|missing|about one") as error:
        checked(wish)
    assert told in str(error.value)


def test_all_mistakes_are_told_at_once() -> None:
    with pytest.raises(BadWishError) as error:
        checked(Wish("Iris", "x", mode="canary", floor=80, beside={"Wine": "y"}, fall_back="x"))
    assert len(str(error.value).splitlines()) == 10


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "no JSON"),
        ("[]", "allowed: an object"),
        ('{"name": "iris"}', "stable is missing"),
        ('{"name": "iris", "stable": 3}', "stable is 3; allowed: text"),
        ('{"name": "iris", "stable": "models:/iris/1", "percent": true}', "percent is True"),
        ('{"name": "iris", "stable": "models:/iris/1", "judge": 1}', "judge is 1; allowed: true or false"),
        ('{"name": "iris", "stable": "models:/iris/1", "disagree": 0.5}', "disagree is 0.5; allowed: a number"),
        (
            '{"name": "iris", "stable": "models:/iris/1", "floor": "0.8"}',
            "floor is '0.8'; allowed: a number from 0 to 1",
        ),
        ('{"name": "iris", "stable": "models:/iris/1", "floor": true}', "floor is True"),
        ('{"name": "iris", "stable": "models:/iris/1", "floor": NaN}', "floor is nan"),
        ('{"name": "iris", "stable": "models:/iris/1", "floor": 1%s}' % ("0" * 400), "floor is 1000"),
        ('{"name": "iris", "stable": "models:/iris/1", "beside": ["wine"]}', "allowed: versions by the names of their"),
        ('{"name": "iris", "stable": "models:/iris/1", "beside": {"wine": 1}}', "allowed: versions by the names of"),
        ('{"name": "iris", "stable": "models:/iris/1", "weight": 3}', "weight is not known"),
        ('{"name": "other", "stable": "models:/iris/1"}', "have to be the same"),
    ],
)
def test_what_is_no_wish_is_refused(text: str, told: str) -> None:
    with pytest.raises(BadWishError) as error:
        read(text, "iris")
    assert told in str(error.value)


def test_promotion_and_the_two_ways_back() -> None:
    after = promoted(CANARY)
    assert (after.mode, after.stable, after.previous, after.candidate) == ("serve", CANARY.candidate, STABLE.stable, "")
    back = rolled_back(after)
    assert (back.stable, back.previous) == (STABLE.stable, CANARY.candidate)
    assert rolled_back(SHADOW) == rolled_back(JUDGED) == STABLE
    # A floor is the release's, whichever version answers.
    assert rolled_back(FULL) == replace(STABLE, floor=0.25, most=5, beside=FULL.beside, by="ann", why="a try")
    assert not promoted(JUDGED).judge
    for change, wish in ((promoted, STABLE), (rolled_back, STABLE)):
        with pytest.raises(BadWishError):
            change(wish)


def test_shares_are_a_hundred() -> None:
    for wish in (STABLE, CANARY, SHADOW, replace(CANARY, candidate=STABLE.stable)):
        assert sum(wish.shares().values()) == 100
    assert CANARY.shares() == {"models:/iris/1": 90, "models:/iris/2": 10}
    assert SHADOW.shares() == {"models:/iris/1": 100}


def rule(wish: Wish) -> dict[str, Any]:
    """Of REST."""
    found, _ = objects.route(PLACE, wish, DIGESTS)["spec"]["rules"]
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("wish", [STABLE, CANARY, SHADOW, BACKED, replace(CANARY, beside=TOGETHER.beside)])
def test_by_grpc_a_release_is_named_beside_the_call_and_has_the_same_shares_and_copies(wish: Wish) -> None:
    pinned = wish.pinned(DIGESTS)
    rules = objects.route(PLACE, pinned, DIGESTS)["spec"]["rules"]
    half = len(rules) // 2
    for rest, calls in zip(rules[:half], rules[half:], strict=True):
        names = [match["path"]["value"].rpartition("/")[2] for match in rest["matches"]]
        assert calls["matches"] == [
            {
                "path": {"type": "PathPrefix", "value": "/inference.GRPCInferenceService"},
                "headers": [{"name": "apadana-model", "value": name}],
            }
            for name in names
        ]
        assert json.loads(
            json.dumps(calls).replace('"port": 8081', '"port": 80').replace('-predictor-grpc"', '-predictor"')
        ) == rest | {"matches": calls["matches"]}
    assert objects.backends({"spec": {"rules": rules[:half]}}) == objects.backends({"spec": {"rules": rules[half:]}})


def test_a_canary_is_two_weights() -> None:
    refs = {ref["name"]: ref["weight"] for ref in rule(CANARY)["backendRefs"]}
    assert refs == {"iris-1111111111-predictor": 90, "iris-2222222222-predictor": 10}
    assert rule(CANARY)["filters"] == []


def test_a_shadow_gets_copies_and_answers_nobody() -> None:
    (ref,) = rule(SHADOW)["backendRefs"]
    assert (ref["name"], ref["weight"]) == ("iris-1111111111-predictor", 100)
    (mirror,) = rule(SHADOW)["filters"]
    copied = mirror["requestMirror"]
    assert (copied["backendRef"]["name"], copied["percent"]) == ("iris-2222222222-predictor", 10)
    assert objects.backends(objects.route(PLACE, SHADOW, DIGESTS)) == {"iris-1111111111", "iris-2222222222"}


def test_the_route_lies_where_no_user_can_write() -> None:
    found = objects.route(PLACE, STABLE, DIGESTS)
    assert found["metadata"]["namespace"] == "platform"
    assert objects.ROUTE_PART.items() <= found["metadata"]["labels"].items()
    assert {ref["namespace"] for ref in rule(STABLE)["backendRefs"]} == {"platform-work"}


def test_names_are_names_of_services_however_long() -> None:
    wish = Wish("m" * 40, "models:/m/1")
    name = objects.service(PLACE, wish, ONE, "sklearn")["metadata"]["name"]
    assert len(f"{name}-predictor") <= 63


def test_every_version_answers_to_the_releases_name() -> None:
    found = objects.service(PLACE, CANARY, TWO, "mlflow")
    model = found["spec"]["predictor"]["model"]
    assert model["storageUri"] == f"s3://models/sha256/{'2' * 64}"
    assert model["args"] == ["--model_name=iris", "--model_version=2222222222"]
    assert model["protocolVersion"] == "v2"
    budget = objects.budget(PLACE, CANARY, TWO)
    assert budget["spec"]["selector"]["matchLabels"] == {objects.OF: found["metadata"]["name"]}


@pytest.mark.parametrize(("most", "grows_to"), [(0, 2), (1, 2), (2, 2), (6, 6)])
def test_a_version_never_has_fewer_pods_than_the_site_says_and_grows_as_far_as_it_may(most: int, grows_to: int) -> None:
    found = objects.service(PLACE, replace(STABLE, most=most), ONE, "sklearn")["spec"]["predictor"]
    assert (found["minReplicas"], found["maxReplicas"]) == (2, grows_to)
    assert (found["scaleMetric"], found["scaleTarget"]) == ("cpu", 70)


def test_another_floor_is_other_pods_of_the_same_version() -> None:
    plain, low, high = (objects.service(PLACE, replace(CANARY, floor=each), ONE, "mlflow") for each in (None, 0.8, 0.9))
    names = {each["metadata"]["name"] for each in (plain, low, high)}
    assert len(names) == 3 and all(len(name) == len("iris-1111111111") for name in names)
    assert low["spec"]["predictor"]["model"]["args"] == [
        "--model_name=iris",
        "--model_version=1111111111",
        "--floor=0.8",
    ]
    assert objects.backends(objects.route(PLACE, replace(CANARY, floor=0.8), DIGESTS)) == {
        objects.version(replace(CANARY, floor=0.8), digest) for digest in (ONE, TWO)
    }
    # As JSON has it or as it is typed.
    one, other = (read(json.dumps({"name": "a", "stable": ONE, "floor": each})) for each in (1, 1.0))
    assert objects.version(one, ONE) == objects.version(other, ONE)


def test_models_that_share_pods_have_one_service_and_each_a_folder_a_version_and_memory() -> None:
    wish = replace(CANARY, beside=TOGETHER.beside).pinned(DIGESTS)
    for digest in (ONE, TWO):
        found = objects.service(replace(PLACE, beside_mib=100), wish, digest, "mlflow")
        predictor = found["spec"]["predictor"]
        assert "storageUri" not in predictor["model"]
        assert predictor["storageUris"] == [
            {"uri": f"s3://models/sha256/{digest[7:]}", "mountPath": "/mnt/models/iris"},
            {"uri": f"s3://models/sha256/{'3' * 64}", "mountPath": "/mnt/models/wine"},
            {"uri": f"s3://models/sha256/{'4' * 64}", "mountPath": "/mnt/models/beer"},
        ]
        args = predictor["model"]["args"]
        assert args[2:] == ["--beside=wine=3333333333", "--beside=beer=4444444444"]
        assert {amounts["memory"] for amounts in predictor["model"]["resources"].values()} == {"584Mi"}
    assert PLACE.resources["limits"]["memory"] == "384Mi"
    # Another version beside it is other pods; the order is nothing.
    other = replace(wish, beside={**wish.beside, "beer": WINE})
    turned = replace(wish, beside=dict(reversed([*wish.beside.items()])))
    names = {objects.version(each, ONE) for each in (CANARY, wish, turned, other)}
    assert len(names) == 3


def test_what_is_beside_is_answered_by_the_stables_pods_and_copied_to_nobody() -> None:
    wish = replace(SHADOW, beside=TOGETHER.beside).pinned(DIGESTS)
    own, beside, *_ = objects.route(PLACE, wish, DIGESTS)["spec"]["rules"]
    assert [match["path"]["value"] for match in own["matches"]] == ["/v2/models/iris"]
    assert own["filters"]
    assert [match["path"]["value"] for match in beside["matches"]] == ["/v2/models/wine", "/v2/models/beer"]
    (ref,) = beside["backendRefs"]
    assert (ref["name"], ref["weight"]) == (objects.predictor(objects.version(wish, ONE)), 100)
    assert beside["filters"] == []


@pytest.mark.parametrize(
    ("have", "want", "differs"),
    [
        ({"a": 1, "b": 2}, {"a": 1}, False),
        ({"a": 1}, {"a": 2}, True),
        ({}, {"a": []}, False),
        ({"a": [1]}, {"a": []}, True),
        ({"a": [{"b": 1, "c": 2}]}, {"a": [{"b": 1}]}, False),
        ({"a": [{"b": 1}]}, {"a": [{"b": 1}, {"b": 2}]}, True),
        (None, {"a": 1}, True),
    ],
)
def test_what_others_filled_in_is_no_difference(have: Any, want: Any, differs: bool) -> None:
    assert objects.differs(have, want) is differs


def test_the_wish_is_json_that_a_person_may_write() -> None:
    assert json.loads(CANARY.text()) == {
        "name": "iris",
        "stable": "models:/iris/1",
        "mode": "canary",
        "candidate": "models:/iris/2",
        "percent": 10,
    }
