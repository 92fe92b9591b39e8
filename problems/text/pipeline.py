"""Which step follows which. `pipeline.step(NAME)` is one pod; `a >> b`: b after a."""

from __future__ import annotations

from hera.workflows import DAG, WorkflowTemplate

from problems.pipeline import Pipeline


def template(pipeline: Pipeline) -> WorkflowTemplate:
    """Nothing is trained on records that failed; both judgements go on side by side."""
    with pipeline.template() as made, DAG(name="main"):
        prepare, validate, train = (pipeline.step(name) for name in ("prepare", "validate", "train"))
        evaluate, fairness, register = (pipeline.step(name) for name in ("evaluate", "fairness", "register"))
        prepare >> validate
        validate >> train
        train >> [evaluate, fairness]
        evaluate >> register
        fairness >> register
    return made
