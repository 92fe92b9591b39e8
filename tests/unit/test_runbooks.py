"""What a runbook tells to do can be typed: it is read by the shell, and what it names is there."""

from __future__ import annotations

import importlib.util
import inspect
import re

import pytest

from common.places import REPOSITORY
from tests import runbooks
from tests.campaign import test_runbooks as campaign
from tests.runbooks import PLAIN, VALUED, Kubectl, parsed

TEXTS = runbooks.runbooks()
STEPS = [step for room, text in TEXTS.items() for step in runbooks.steps(room, text)]
TARGETS = set(re.findall(r"^([a-z][a-z-]*):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
VERBS = {
    "get",
    "describe",
    "logs",
    "exec",
    "patch",
    "delete",
    "wait",
    "create",
    "scale",
    "rollout",
    "drain",
    "uncordon",
}
#: Of patronictl: without --force it asks, and `kubectl exec` without a terminal gives no answer.
ASKING = {"edit-config", "failover", "reinit", "restart", "switchover"}


@pytest.mark.parametrize("step", STEPS, ids=str)
def test_a_step_can_be_typed(step: runbooks.Step) -> None:
    assert runbooks.refused(step.text) == ""
    assert step.unset() == set(), f"{step} uses what nobody has set"


def test_names_of_steps_are_told_apart() -> None:
    names = [str(step) for step in STEPS]
    assert len(names) == len(set(names)) > 10
    for room, text in TEXTS.items():
        fences = re.findall(r"^```sh\b.*$", text, re.MULTILINE)
        assert len(fences) == len(runbooks.steps(room, text)), f"{room}: a block without a name is never run"


@pytest.mark.parametrize("room", TEXTS)
def test_what_a_runbook_names_is_in_the_repository(room: str) -> None:
    text = TEXTS[room]
    assert set(runbooks.mentioned(text, r"^make ([a-z-]+)")) <= TARGETS
    for playbook in runbooks.mentioned(text, r"\bplaybooks/[a-z_-]+\.yml"):
        assert runbooks.exists(playbook), playbook
    for module in runbooks.mentioned(text, r"python -m ([a-z][a-z_.]*)"):
        assert importlib.util.find_spec(module), module
    for call in runbooks.mentioned(text, r"python -m validate \w+.*"):
        assert "--stack " in call, f"`{call}` does not say which stack"
    for named, other in re.findall(r"step(?:s)? `([a-z-]+)`(?: of \[[^]]*\]\(\.\./(\w+))?", text):
        everywhere = {step.name for step in STEPS if step.room in (other or room, "storage")}
        assert named in everywhere, f"{room} speaks of a step {named}"


CALLS = [(room, call) for room, text in TEXTS.items() for call in runbooks.kubectls(text)]


@pytest.mark.parametrize(("room", "call"), CALLS, ids=lambda each: getattr(each, "text", each))
def test_kubectl_is_called_as_it_can_be(room: str, call: Kubectl) -> None:
    if not (call.words or call.flags):
        return  # spoken of, not called: `kubectl exec`
    assert call.verb in VERBS
    assert set(call.flags) <= VALUED | PLAIN
    assert not (call.verb == "exec" and not call.inside), "what is to run stands after `--`"
    if call.inside[:1] == ("patronictl",):
        assert call.inside[1] not in ASKING or "--force" in call.inside
        assert call.inside[1] not in ASKING or call.inside[2] == "postgres", "the name of the cluster"


@pytest.mark.parametrize("room", TEXTS)
def test_what_runs_in_a_container_says_in_which(room: str) -> None:
    for snippet in runbooks.snippets(TEXTS[room]):
        first, *more = snippet.split(maxsplit=2)
        assert first not in ("patronictl", "psql", "valkey-cli") or len(more) < 2, f"`{snippet}`: in which pod?"


def test_a_call_is_taken_apart() -> None:
    call = parsed("""kubectl -n a exec b-0 -c d -- sh -c '. x; y $Z' | wc -l""")
    assert (call.verb, call.words, call.namespace, call.container) == ("exec", ("b-0",), "a", "d")
    assert call.inside == ("sh", "-c", ". x; y $Z")
    inner = parsed("""kubectl get pv "$V" -o jsonpath='{.a[0]}')""")
    assert (inner.words, inner.flags) == (("pv", "$V"), {"-o": "jsonpath={.a[0]}"})


@pytest.mark.parametrize(
    ("text", "left"), [("A=1\necho $A $SITE", set()), ("echo $B", {"B"}), ("echo ${FOLDER:?} '$C' \\$(x)", {"FOLDER"})]
)
def test_variables_that_nobody_sets_are_seen(text: str, left: set[str]) -> None:
    assert runbooks.Step("a", "b", text).unset() == left


def test_every_step_is_run_by_a_test() -> None:
    named = {pair for pairs in campaign.EXECUTED.values() for pair in pairs}
    assert named == {(step.room, step.name) for step in STEPS}
    for test, pairs in campaign.EXECUTED.items():
        source = inspect.getsource(getattr(campaign, test)) + inspect.getsource(campaign.alone)
        for room, name in pairs:
            assert f'"{name}"' in source, f"{test} does not run {room}: {name}"
