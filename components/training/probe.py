"""The operators as an API server sees them. Standard library and kit only.

A probe has no right to make a TrainJob, so it asks every operator's webhook what an API server would ask, by the same
AdmissionReview. That workers come of it is not shown by this.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from components.kit.asking import places, required
from components.kit.probing import Check, Target, attempt
from components.kit.reviewing import Json, Webhooks, ask

HOOKS = Webhooks("trainer.kubeflow.org", "v1alpha1", "TrainJob", "operators")


#: Words of each runtime that the operators say themselves.
OWN_WORDS = {"xgboost": "DMLC_TASK_ID", "torch": "PET_NODE_RANK"}


def runtimes(target: Target) -> list[str]:
    """Those of the house."""
    return str(required(target, "runtimes")).split(",")


def wish(target: Target, name: str, named: str = "") -> Json:
    """For two workers of a runtime of the house; left out: of its first one."""
    runtime = {"apiGroup": HOOKS.group, "kind": "TrainingRuntime", "name": named or runtimes(target)[0]}
    return {
        "apiVersion": f"{HOOKS.group}/{HOOKS.version}",
        "kind": HOOKS.kind,
        "metadata": {"name": name, "namespace": required(target, "work")},
        "spec": {"runtimeRef": runtime, "trainer": {"numNodes": 2}},
    }


def wrong_wishes(target: Target) -> Iterator[Json]:
    """For a runtime that is not there; with words that the operators say themselves."""
    yield wish(target, "probe", "no-such-runtime")
    for runtime in runtimes(target):
        own = wish(target, "probe", runtime)
        own["spec"]["trainer"]["env"] = [{"name": OWN_WORDS[runtime], "value": "7"}]
        yield own


def smoke(target: Target) -> Iterator[Check]:
    """Each operator as webhook, and who leads."""
    for runtime in runtimes(target):
        asked = partial(HOOKS.admits, target, wish(target, "probe", runtime))
        yield attempt(f"training: every webhook takes a right wish for {runtime}", asked)
    yield attempt("training: every webhook refuses wrong ones", lambda: HOOKS.refuses(target, wrong_wishes(target)))
    yield attempt("training: one operator leads", lambda: HOOKS.one_leads(target))


def bad_requests(target: Target) -> Iterator[tuple[str, Callable[[], object]]]:
    """What is no question at all."""
    place = places(target, "webhook")[0]
    yield "no JSON", partial(ask, target, place, HOOKS.validate, b"{")
    right = HOOKS.review(wish(target, "probe"))
    yield "a path that nobody serves", partial(ask, target, place, "/validate-nothing", right)


def primary(target: Target) -> str | None:
    """None: every operator answers as webhook."""
    del target
    return None


def whole(target: Target) -> Check:
    """All operators answer."""
    return attempt("training: whole", lambda: HOOKS.admits(target, wish(target, "probe")))
