"""What a site has for the runs of problems, and what its objects are called. Pure, and quick to import: Hera is not
needed for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from components.workflows import runs

CODE_FILE = "code.zip"
PROBLEM = runs.PROBLEM
#: What a run is called, in Argo's words; one that a schedule begins has no name but its workflow's.
TIMED_NAME = "-timed"  # a template's name ends so where its runs are called as their workflows
ASKING_NAME = "-when-told"  # and so where it asks first whether an alert is told of its model
GIVEN, TIMED = "{{workflow.parameters.run}}", "{{workflow.name}}"
#: The one step of a workflow that has a version's figures once more.
AGAIN = "reproduce"
#: Of a template that asks: the model's name in service, and the hours between two runs.
MODEL, REST = "model", "rest-hours"


@dataclass(frozen=True)
class Features:
    """The feature store."""

    address: str  # host:port
    secret: str  # with username and password
    ca: str  # ConfigMap with ca.crt; "": the system's own authorities
    step: str = "features"  # the one that asks it


@dataclass(frozen=True)
class Studies:
    """The database that keeps the trials of a search."""

    address: str  # host:port[,host:port]
    database: str
    secret: str  # with username and password
    ca: str  # ConfigMap with ca.crt; "": the system's own authorities
    external: bool = False  # the client's own, at an address that no policy can name


@dataclass(frozen=True)
class Alerts:
    """Who knows which alerts fire."""

    addresses: str  # host:port[,host:port]
    secret: str  # with username and password
    ca: str  # ConfigMap with ca.crt; "": the system's own authorities
    uses: Mapping[str, str]  # labels by which it lets a step in


@dataclass(frozen=True)
class House:
    """What the platform gives to a pipeline."""

    namespace: str
    image: str  # with Python and scikit-learn
    mlflow: str  # host:port
    mlflow_ca: str  # ConfigMap with ca.crt; "": the system's own authorities
    uses: Mapping[str, str]  # labels by which the platform's rooms let a step in
    features: Features | None = None  # None: this site's feature store is off, or does not know the problem
    studies: Studies | None = None  # None: a search is one worker's, and is lost with it
    alerts: Alerts | None = None  # None: nobody here knows which alerts fire
