"""The problem `tabular`: features and settings; its pipeline as Argo gets it; a problem of one's own."""

from __future__ import annotations

import importlib
import io
import json
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import Refusal
from components.feast import settings as feast
from components.feast.image.apadana_feast import definitions
from components.kserve.image.server import declared
from problems import STEPS, archive, cluster, copying, online, origin, store, tracking
from problems.house import TIMED, Features, House, Studies
from problems.quality import Column, complete
from problems.tabular import features, problem

HOUSE = House("platform", "trainer@sha256:1", "mlflow.platform.svc:5000", "site-ca", {"apadana.io/uses-mlflow": "true"})
PATIENT = {name: column.low for name, column in features.COLUMNS.items()}


def numbers(column: Column) -> st.SearchStrategy[float]:
    return st.floats(column.low, column.high)


@given(st.fixed_dictionaries({name: numbers(column) for name, column in features.COLUMNS.items()}))
def test_a_row_has_a_number_for_each_name_and_knows_nothing_of_the_outcome(record: dict[str, float]) -> None:
    (row,) = features.matrix([record])
    assert len(row) == len(features.names())
    assert features.MEASURED not in features.names()
    assert features.matrix([record | {features.MEASURED: 0.0}]) == [row]


@pytest.mark.parametrize(("measured", "said"), [(140.0, 0), (140.5, 0), (141.0, 1), (346.0, 1)])
def test_the_label(measured: float, said: int) -> None:
    assert features.label([PATIENT | {features.MEASURED: measured}]) == [said]


def test_what_is_left_out_is_in_no_column() -> None:
    assert "sex" not in features.names(["sex"])
    assert len(features.matrix([PATIENT], ["sex"])[0]) == len(features.matrix([PATIENT])[0]) - 1


def test_a_record_with_an_empty_cell_is_not_trained_on() -> None:
    assert complete([PATIENT, PATIENT | {"bmi": None}, {}], features.COLUMNS) == [PATIENT]


def test_the_records_are_what_the_columns_say() -> None:
    records = problem.records()
    assert len(records) == 442
    assert all(record.keys() == features.COLUMNS.keys() for record in records)
    assert sum(features.label(records)) == 221, "half of the patients are fast"


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"leave_ot": ["sex"]}, "there is no setting leave_ot; settings: seed, folds, leave_out, strengths, trials"),
        ({"leave_out": ["height"]}, "height is no feature"),
        ({"folds": "5"}, "folds is '5', and a int is needed"),
        ({"folds": 1}, "from 2 to 20"),
        ({"strengths": []}, "above 0"),
        ({"strengths": [3.0, 0.3]}, "the least and the most"),
        ({"strengths": ["a", "b"]}, "each has to be a float"),
        ({"models": ["forest"]}, "one or more of linear, xgboost"),
        ({"models": "linear"}, "a list is needed"),
        ({"sampler": "grid"}, "there are tpe, random, cmaes"),
        ({"sampler": "cmaes"}, "say one of linear, xgboost"),
        ({"pruner": "early"}, "there are median, halving, none"),
        ({"workers": 5}, "workers are 5; from 1 to 4"),
        ({"trials": 0}, "from 1 to 1000"),
    ],
)
def test_wrong_settings_are_told(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        problem.given(wrong)


def test_every_mistake_is_told_at_once() -> None:
    with pytest.raises(ValueError, match="leave_ot") as told:
        problem.given({"leave_ot": [], "seed": "1", "trials": 0, "models": [], "leave_out": ["height"]})
    assert all(word in str(told.value) for word in ("seed is '1'", "trials are 0", "models are []", "height"))


#: Of the others the records are in the store before a run begins, in a view that is not theirs.
OWN_VIEWS = sorted(place.parent.parent.name for place in cluster.HERE.glob("*/views/*.yaml"))


@pytest.mark.parametrize("name", OWN_VIEWS)
def test_the_feature_store_keeps_what_the_columns_say_within_the_same_bounds(name: str) -> None:
    (view,) = definitions.read({"": (cluster.HERE / name / "views" / f"{name}.yaml").read_text()}).views
    module = importlib.import_module(f"problems.{name}.features")
    wanted = {key: column for key, column in module.COLUMNS.items() if key != module.MEASURED}
    assert view.name == name and view.pushed
    assert {each.name: each.type for each in view.features} == {
        key: "float64" if isinstance(column, Column) else "string" for key, column in wanted.items()
    }
    for each in view.features:
        column = wanted[each.name]
        if isinstance(column, Column):
            assert (each.least, each.most) == (column.low, column.high), each.name


def test_one_step_has_the_way_and_the_login_to_the_feature_store() -> None:
    kept = Features("feast.platform.svc:9443", "feast-client-problems", "site-ca")
    _, policy, found = cluster.objects("tabular", replace(HOUSE, features=kept))
    ports = {rule["ports"][0]["port"] for rule in policy["spec"]["egress"]}
    assert ports == {5000, 9443}
    steps = {each["name"]: each["container"] for each in found["spec"]["templates"] if "container" in each}
    with_login = [
        name for name, each in steps.items() if any(mount["name"] == "login" for mount in each["volumeMounts"])
    ]
    assert with_login == ["features"]
    named = {each["name"]: each["value"] for each in steps["features"]["env"]}
    assert named["FEATURES_URI"] == "https://feast.platform.svc:9443"
    volumes = {each["name"]: each for each in found["spec"]["volumes"]}
    assert volumes["login"]["secret"]["secretName"] == "feast-client-problems"


STUDIES = Studies("postgres.platform.svc:5432", "problems", "postgres-client-problems", "site-ca")


def test_one_step_has_the_way_and_the_login_to_the_trials_of_the_search() -> None:
    _, policy, found = cluster.objects("tabular", replace(HOUSE, studies=STUDIES))
    (to_store,) = (rule for rule in policy["spec"]["egress"] if "postgres" in str(rule))
    assert "ports" not in to_store, "the pooler listens at another port than its Service"
    steps = {each["name"]: each["container"] for each in found["spec"]["templates"] if "container" in each}
    with_login = [
        name for name, each in steps.items() if any(mount["name"] == "studies-login" for mount in each["volumeMounts"])
    ]
    assert with_login == ["tune"]
    named = {each["name"]: each["value"] for each in steps["tune"]["env"]}
    assert (named["STUDIES_ADDRESS"], named["STUDIES_DATABASE"]) == ("postgres.platform.svc:5432", "problems")
    mounts = {each["mountPath"]: each["name"] for each in steps["tune"]["volumeMounts"]}
    assert mounts[named["STUDIES_LOGIN"]] == "studies-login"
    assert mounts[str(Path(named["STUDIES_CA"]).parent)] == "studies-ca"
    volumes = {each["name"]: each for each in found["spec"]["volumes"]}
    assert volumes["studies-login"]["secret"]["secretName"] == "postgres-client-problems"


def test_a_clients_own_database_is_wherever_its_name_server_says() -> None:
    outside = replace(STUDIES, address="a.example:6432,b.example:6432", external=True)
    _, policy, _ = cluster.objects("tabular", replace(HOUSE, studies=outside))
    assert {"ports": [{"protocol": "TCP", "port": 6432}]} in policy["spec"]["egress"]


def test_several_pods_search_at_once_each_with_its_number() -> None:
    *_, found = cluster.objects("tabular", replace(HOUSE, studies=STUDIES))
    (dag,) = (each["dag"]["tasks"] for each in found["spec"]["templates"] if "dag" in each)
    tasks = {each["name"]: each for each in dag}
    assert [name for name, each in tasks.items() if "withSequence" in each] == ["tune"]
    assert tasks["tune"]["withSequence"] == {"count": "{{workflow.parameters.workers}}"}
    assert tasks["tune"]["arguments"]["parameters"] == [{"name": "worker", "value": "{{item}}"}]
    (step,) = (each for each in found["spec"]["templates"] if each["name"] == "tune")
    assert "--worker={{inputs.parameters.worker}}" in step["container"]["args"]
    assert step["inputs"]["parameters"] == [{"name": "worker"}]
    assert "workers" in [each["name"] for each in found["spec"]["arguments"]["parameters"]]


@pytest.mark.parametrize(
    ("studies", "settings", "count"), [(STUDIES, {}, 2), (STUDIES, {"workers": 4}, 4), (None, {}, 1)]
)
def test_how_many_search_is_a_setting_where_there_is_a_store_to_share(
    studies: Studies | None, settings: dict[str, object], count: int
) -> None:
    house = replace(HOUSE, studies=studies)
    assert cluster.workers("tabular", house, settings) == count
    *_, template = cluster.objects("tabular", house)
    made = cluster.workflow(template, "x", "x", settings, count)
    given = {each["name"]: each["value"] for each in made["spec"]["arguments"]["parameters"]}
    assert given["workers"] == str(count)


def test_a_schedules_runs_are_called_as_their_workflows_and_hold_the_same_code() -> None:
    config, _, given = cluster.objects("tabular", HOUSE)
    same, _, timed = cluster.objects("tabular", HOUSE, TIMED)
    assert config == same and timed["metadata"]["name"] == f"{given['metadata']['name']}-timed"
    made = cluster.schedule(timed, "30 3 * * *", {"seed": 1}, 2)
    assert made["spec"]["workflowSpec"]["workflowTemplateRef"]["name"] == timed["metadata"]["name"]
    keys = {each["outputs"]["artifacts"][0]["s3"]["key"] for each in timed["spec"]["templates"] if "container" in each}
    assert keys == {f"problems/tabular/{TIMED}/{step}.tgz" for step in STEPS}


@pytest.mark.parametrize(
    ("status", "said"),
    [
        ({}, None),
        ({"phase": "Active"}, ""),
        ({"phase": "Active", "conditions": [{"type": "SpecError", "message": "bad times"}]}, "bad times"),
        ({"conditions": [{"type": "Other"}]}, None),
    ],
)
def test_what_the_controller_has_against_a_schedule(status: dict[str, Any], said: str | None) -> None:
    assert cluster.refused({"status": status}) == said


@pytest.fixture(scope="module")
def template() -> dict[str, Any]:
    (found,) = (item for item in cluster.objects("tabular", HOUSE) if item["kind"] == "WorkflowTemplate")
    return found


def test_every_step_is_a_task_after_those_whose_folders_it_reads(template: dict[str, Any]) -> None:
    (dag,) = (each["dag"]["tasks"] for each in template["spec"]["templates"] if "dag" in each)
    after = {task["name"]: set(task.get("depends", "").split(" && ")) - {""} for task in dag}
    assert list(after) and set(after) == set(STEPS)

    def before(step: str) -> set[str]:
        return after[step] | {each for one in after[step] for each in before(one)}

    for step, reads in STEPS.items():
        assert set(reads) <= before(step), step
    assert [task["when"][0] for task in dag] == [str(list(STEPS).index(task["name"])) for task in dag]


def test_each_container_says_its_command_limits_and_where_its_folders_are(template: dict[str, Any]) -> None:
    steps = {each["name"]: each for each in template["spec"]["templates"] if "container" in each}
    assert set(steps) == set(STEPS)
    for name, step in steps.items():
        assert step["container"]["command"][:2] == ["python3", "-m"], "the engine would ask a registry for it"
        assert set(step["container"]["resources"]) == {"requests", "limits"}
        assert [each["name"] for each in step.get("inputs", {}).get("artifacts", [])] == list(STEPS[name])


def test_the_same_code_is_the_same_template_and_other_code_another(tmp_path: Path) -> None:
    for name in ("here", "there"):
        (tmp_path / name / "tabular").mkdir(parents=True)
        for file in (*archive.SHARED, "tabular/problem.py"):
            (tmp_path / name / file).write_bytes((cluster.HERE / file).read_bytes())
    assert cluster.code("tabular", tmp_path / "here") == cluster.code("tabular", tmp_path / "there")
    (tmp_path / "there/tabular/problem.py").write_text("SOURCE = 1\n")
    assert cluster.code("tabular", tmp_path / "here") != cluster.code("tabular", tmp_path / "there")


def test_code_that_no_object_holds_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tabular").mkdir()
    for file in archive.SHARED:
        (tmp_path / file).write_text("")
    import secrets

    (tmp_path / "tabular/data.py").write_text(secrets.token_hex(1_000_000))
    with pytest.raises(Refusal, match="keep data out of"):
        cluster.code("tabular", tmp_path)


def test_code_has_all_that_a_step_imports_of_here() -> None:
    with zipfile.ZipFile(io.BytesIO(cluster.code("tabular"))) as packed:
        assert {"problems/steps.py", "problems/tabular/problem.py", "problems/tabular/features.py"} <= set(
            packed.namelist()
        )


def test_a_new_problem_is_a_whole_one(tmp_path: Path) -> None:
    shutil.copytree(cluster.HERE / "tabular", tmp_path / "tabular")
    place = copying.new("churn", tmp_path)
    assert {file.name for file in place.iterdir()} >= {"features.py", "problem.py", "pipeline.py", "README.md"}
    assert "problems.churn" in (place / "problem.py").read_text()
    assert "tabular" not in (place / "problem.py").read_text()
    assert "tabular" not in (place / "views/churn.yaml").read_text()
    with pytest.raises(Refusal, match="is there already"):
        copying.new("churn", tmp_path)


@pytest.mark.parametrize("name", ["", "a", "Churn", "1st", "../x", "a-b", "a" * 21])
def test_a_name_that_can_t_be_one_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(Refusal, match="small letters and digits"):
        copying.new(name, tmp_path)


def test_a_version_is_done_again_by_one_pod_that_is_let_into_mlflow_and_tells_its_image() -> None:
    *_, template = cluster.objects("tabular", HOUSE, again=True)
    usual = cluster.objects("tabular", HOUSE)[-1]
    assert template["metadata"]["name"] == f"{usual['metadata']['name']}-reproduce"
    (step,) = (each for each in template["spec"]["templates"] if "container" in each)
    assert step["container"]["command"] == ["python3", "-m", "problems.reproducing"]
    args = ["{{workflow.parameters.version}}", "--work=/tmp/work", "--anyway={{workflow.parameters.anyway}}"]
    assert step["container"]["args"] == args
    told = {each["name"]: each["value"] for each in step["container"]["env"]}
    assert (told[tracking.URI], told[origin.IMAGE]) == ("https://mlflow.platform.svc:5000", HOUSE.image)
    made = cluster.started(template, "x", {"version": "tabular@3", "anyway": "no"})
    given = {each["name"] for each in made["spec"]["arguments"]["parameters"]}
    assert given == {each["name"] for each in template["spec"]["arguments"]["parameters"]}


def test_a_run_tells_its_steps_the_commit_and_the_image() -> None:
    template = cluster.objects("tabular", HOUSE)[-1]
    for each in template["spec"]["templates"]:
        if "container" in each:
            told = {one["name"]: one["value"] for one in each["container"]["env"]}
            assert told[origin.COMMIT] == "{{workflow.parameters.commit}}" and told[origin.IMAGE] == HOUSE.image
    for made in (
        cluster.workflow(template, "x", "x", {}, 1, commit="c+"),
        cluster.schedule(template, "* * * * *", {}, 1, commit="c+"),
    ):
        given = made["spec"].get("workflowSpec", made["spec"])["arguments"]["parameters"]
        assert {"name": "commit", "value": "c+"} in given


def test_a_model_makes_what_it_needs_of_the_stores_own_columns() -> None:
    """Pressure times body mass, where both are there."""
    rows = numpy.asarray(features.matrix(problem.records()[:20]))
    widened = problem.model({"model": "linear", "strength": 1.0, "l1_ratio": 0.0}, problem.Settings())[0]
    product = rows[:, features.names().index("bp")] * rows[:, features.names().index("bmi")]
    assert widened.fit_transform(rows)[:, -1].tolist() == product.tolist()
    less = problem.Settings(leave_out=("bmi",))
    plain = numpy.asarray(features.matrix(problem.records()[:20], ["bmi"]))
    narrow = problem.model({"model": "linear", "strength": 1.0, "l1_ratio": 0.0}, less)[0]
    assert narrow.fit_transform(plain).tolist() == plain.tolist()


VIEW = store.View("tabular")
KNOWN = {"source": online.TOLD_BY, "view": "tabular", "names": features.names(), "known_at": "2026-01-01"}


def test_what_the_store_knew_in_training_it_may_tell_the_model_server() -> None:
    rows = features.matrix(problem.records())
    told = online.declaration(KNOWN, VIEW, features.names(), rows)
    found = declared.read(json.dumps(told))
    assert (online.FILE, [each.name for each in found.columns]) == (declared.FILE, features.names())
    assert found.undefined == () and found.columns[0].default == 50.0
    views = (Path("problems") / "tabular" / "views" / "tabular.yaml").read_text()
    known = json.loads(json.dumps(feast.known(definitions.read({"tabular.yaml": views}))))
    assert list(declared.misfits(found, known)) == []


def test_what_the_store_did_not_know_the_question_has_to_bring() -> None:
    rows = features.matrix(problem.records()[:3])
    names = features.names()
    assert online.declaration(KNOWN | {"source": "the records"}, VIEW, names, rows) is None
    assert online.declaration(KNOWN | {"names": names[1:]}, VIEW, names, rows) is None
    # One text made of two features.
    texts, view = {"source": online.TOLD_BY, "view": "text", "names": ["desk", "subject", "body"]}, store.View("text")
    assert online.declaration(texts, view, ["subject", "body"], [["a\nb"]]) is None
    told = online.declaration(texts, view, ["body"], [["b"]])
    assert told and told["columns"] == [{"name": "body", "feature": "text:body", "type": "string"}]


def test_records_that_are_in_the_store_are_asked_for_by_the_first_step() -> None:
    kept = Features("feast.platform.svc:9443", "feast-client-problems", "site-ca", "prepare")
    *_, found = cluster.objects("machines", replace(HOUSE, features=kept))
    steps = {each["name"]: each["container"] for each in found["spec"]["templates"] if "container" in each}
    assert [name for name, each in steps.items() if any(m["name"] == "login" for m in each["volumeMounts"])] == [
        "prepare"
    ]
