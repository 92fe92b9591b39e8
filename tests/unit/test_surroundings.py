"""What a child sees of the shell that started us, and from which places nothing is started."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from common.places import Places
from road import __main__ as road
from road import kubectl, pulumi, running, status, steps, strange
from road.place import Place, RoadError, place
from road.work import Work
from stacks import home, installer
from stacks.names import StackName

REPOSITORY = Path(__file__).parents[2]
#: What a shell may have, and what a child does with it if it sees it.
HOSTILE = {
    "HTTP_PROXY": "http://127.0.0.1:9",
    "HTTPS_PROXY": "http://127.0.0.1:9",
    "http_proxy": "http://127.0.0.1:9",
    "https_proxy": "http://127.0.0.1:9",
    "ALL_PROXY": "socks5://127.0.0.1:9",
    "KUBECONFIG": "/elsewhere/config",
    "HELM_NAMESPACE": "elsewhere",
    "HELM_KUBECONTEXT": "elsewhere",
    "PULUMI_CONFIG_PASSPHRASE": "of the shell",
    "PULUMI_STACK": "elsewhere",
    "PULUMI_HOME": "/elsewhere",
    "PULUMI_BACKEND_URL": "https://elsewhere.example",
    "PULUMI_ACCESS_TOKEN": "elsewhere",
    "ANSIBLE_CONFIG": "/elsewhere/ansible.cfg",
    "ANSIBLE_INVENTORY": "/elsewhere",
    "ANSIBLE_REMOTE_USER": "nobody",
    "PYTHONPATH": "/elsewhere",
    "PYTHONHOME": "/elsewhere",
    "BASH_ENV": "/elsewhere",
    "LC_CTYPE": "POSIX",
    "LANGUAGE": "de",
    "CONTAINER_HOST": "ssh://elsewhere",
    "DOCKER_HOST": "ssh://elsewhere",
    "GIT_DIR": "/elsewhere",
    "CDPATH": "/elsewhere",
}
SEES = "import json, os; print(json.dumps([dict(os.environ), os.umask(0)]))"


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in HOSTILE.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("LC_ALL", "C")
    monkeypatch.setenv("LANG", "de_DE.ISO-8859-1")


@pytest.fixture
def where(tmp_path: Path) -> Place:
    return place("lab", {"APADANA_STATE": str(tmp_path), "APADANA_CACHE": str(tmp_path / "cache")})


def seen(text: str) -> dict[str, str]:
    found: dict[str, str] = json.loads(text.strip().splitlines()[-1])[0]
    return found


def assert_clean(environment: dict[str, str]) -> None:
    assert {name: environment[name] for name in HOSTILE if name in environment} == {}
    assert environment["LC_ALL"] == environment["LANG"] == "C.UTF-8"
    assert environment["PATH"] and environment["HOME"] == os.environ["HOME"]


@pytest.mark.usefixtures("shell")
def test_a_step_sees_what_was_built_for_it(where: Place) -> None:
    work = Work(where, "test", "token")
    environment = seen(work.call("python", "-c", SEES))
    assert_clean(environment)
    assert environment["APADANA_STATE"] == str(where.state_root)
    assert environment["APADANA_ROAD_TOKEN"] == "token"


@pytest.mark.usefixtures("shell")
def test_what_fetches_packages_keeps_the_way_to_them(where: Place) -> None:
    command = running.Command(("/usr/bin/env",), {}, REPOSITORY, reaches_out=True)
    lines = running.run(command, where.logs / "x.log", "token").text.splitlines()
    assert f"HTTPS_PROXY={HOSTILE['HTTPS_PROXY']}" in lines
    assert "LC_ALL=C.UTF-8" in lines


@pytest.mark.parametrize("step", ["prerequisites", "bundle", "lab", "hosts", "smoke"])
def test_only_builders_reach_out(step: str, where: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[running.Command] = []

    def run(command: running.Command, *_: object, **__: object) -> running.Outcome:
        asked.append(command)
        return running.Outcome(0, "")

    monkeypatch.setattr(running, "run", run)
    (found,) = [each for each in steps.up_steps(where) if each.name == step]
    found.do(Work(where, step, "token"))
    builds = {command.argv[-1]: command.reaches_out for command in asked}
    wanted = {"prerequisites": {"all": True, "go": True}, "bundle": {"build": True, "verify": False}}
    assert builds == wanted.get(step, dict.fromkeys(builds, False)) and builds


def recorded(monkeypatch: pytest.MonkeyPatch, module: object) -> list[dict[str, str]]:
    """The environments that a module's children are given; none of them is started."""
    found: list[dict[str, str]] = []

    def run(command: list[str], **options: object) -> subprocess.CompletedProcess[str]:
        found.append(options["env"])  # type: ignore[arg-type]
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(module, "subprocess", type("S", (), {"run": run, **ERRORS}))
    return found


ERRORS = {
    name: getattr(subprocess, name) for name in ("DEVNULL", "CalledProcessError", "TimeoutExpired", "SubprocessError")
}


@pytest.mark.usefixtures("shell")
def test_kubectl_ansible_and_pulumi_see_nothing_of_the_shell(
    where: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = Places("lab", tmp_path / "cache", tmp_path, tmp_path / "bundle")
    for bundle in (where.bundle, places.bundle):
        program = bundle / "bin" / "kubernetes"
        program.parent.mkdir(parents=True)
        program.write_text(f"#!{sys.executable}\n{SEES}\n")
        program.chmod(0o755)
    assert_clean(seen(kubectl.run(where, "get", "nodes")))
    assert_clean(seen(installer.token(places, "platform", "installer")))

    asked = recorded(monkeypatch, status)
    list(status.hosts(where))
    assert asked[0].pop("ANSIBLE_CONFIG") == str(REPOSITORY / "ansible.cfg")
    assert_clean(asked[0])

    asked = recorded(monkeypatch, home)
    home.init_stack(StackName("lab", "data"), places, tmp_path)
    own = home.environment(places)
    assert asked[0]["PULUMI_CONFIG_PASSPHRASE_FILE"] == str(places.passphrase)
    assert_clean({k: v for k, v in asked[0].items() if k not in own or k == "PATH"})


@pytest.mark.usefixtures("shell")
def test_a_stack_is_given_the_sites_passphrase_only(where: Place, tmp_path: Path) -> None:
    """As road.pulumi joins what stacks.home says with what a child gets."""
    told = home.environment(Places("lab", tmp_path / "cache", tmp_path, tmp_path / "bundle"))
    text = "".join(f"export {name}={value}\n" for name, value in told.items())
    command = running.Command((sys.executable, "-c", SEES), pulumi.exports(text), REPOSITORY)
    environment = seen(running.run(command, where.logs / "x.log", "t").text)
    assert "PULUMI_CONFIG_PASSPHRASE" not in environment
    assert environment["PULUMI_CONFIG_PASSPHRASE_FILE"].startswith(str(tmp_path))
    assert environment["PULUMI_BACKEND_URL"].startswith("file://")


@pytest.mark.usefixtures("shell")
def test_a_shell_of_a_person_is_told_to_forget_the_passphrase(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("APADANA_STATE", str(tmp_path))
    monkeypatch.setenv("NO_PROXY", "intranet.example")
    monkeypatch.setattr(home, "prepare_pulumi_home", lambda _, places: home.environment(places))
    assert home.main(["lab"]) == 0
    told = capsys.readouterr().out
    done = subprocess.run(["bash", "-c", f"{told}\nexec /usr/bin/env"], capture_output=True, text=True, check=True)
    got = dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)
    assert not {"PULUMI_CONFIG_PASSPHRASE", "PULUMI_STACK", "no_proxy"} & set(got)
    assert got["KUBECONFIG"] == str(tmp_path / "lab" / "kubeconfig")
    assert got["NO_PROXY"].split(",")[:2] == ["intranet.example", "10.77.0.0/24"]
    assert pulumi.exports(told)["PULUMI_HOME"] == str(tmp_path / "lab" / "pulumi-home")


def test_files_are_made_for_others_to_read(where: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = tmp_path / "made"
    monkeypatch.setattr(road, "place", lambda _: where)
    monkeypatch.setattr(strange, "refuse", lambda _: None)
    monkeypatch.setattr(status, "show", lambda _: made.touch())
    before = os.umask(0o077)
    try:
        road.main(["--site", "lab", "status"])
    finally:
        os.umask(before)
    assert made.stat().st_mode & 0o777 == 0o644


# ---- strange places


def refusal(where: Place) -> str:
    try:
        strange.refuse(where)
    except RoadError as error:
        return str(error)
    return ""


def clone(folder: Path) -> Path:
    (folder / ".git").mkdir(parents=True)
    return folder


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("apadana", ""),
        ("apadana-2_x.y@z+1", ""),
        ("my apadana", "the checkout is at"),
        ("apadana:2", "the checkout is at"),
        ("apadäna", "the checkout is at"),
        ("a'b", "the checkout is at"),
    ],
)
def test_a_strange_path_of_the_checkout_is_refused(name: str, words: str, where: Place, tmp_path: Path) -> None:
    told = refusal(replace(where, repository=clone(tmp_path / name)))
    assert words in told and bool(told) == bool(words)
    assert not words or ("Nothing was changed" in told and "clone it elsewhere" in told)


def test_all_strange_places_are_told_at_once(where: Place, tmp_path: Path) -> None:
    told = refusal(replace(where, state_root=tmp_path / "a b", cache=Path("c"), repository=tmp_path))
    for words in ("set APADANA_STATE", "set APADANA_CACHE", ".git is missing"):
        assert words in told


def test_a_checkout_of_another_user_is_refused(tmp_path: Path) -> None:
    folder = clone(tmp_path / "apadana")
    assert list(strange.checkout(folder)) == []
    (told,) = strange.checkout(folder, me=os.geteuid() + 4711)
    assert "allowed: a checkout of one's own" in told and "clone it as" in told


def test_what_git_itself_takes_is_taken(tmp_path: Path) -> None:
    folder = tmp_path / "apadana"
    subprocess.run(["git", "init", "-q", str(folder)], check=True)
    assert list(strange.checkout(folder, me=os.geteuid() + 4711)) == []


def test_this_checkout_is_no_strange_place(where: Place) -> None:
    assert refusal(where) == ""
