"""The template that the probe runs, and an example of how one is written. Pure."""

from __future__ import annotations

from typing import Any

from components.kit.manifests import Manifest, labels, manifest
from components.kit.settings import SiteFacts
from components.workflows.names import PROBE, ROOM
from components.workflows.settings import Settings

ROWS, DATA = "/tmp/rows", "/tmp/data"  # noqa: S108  of the step's own container
WRITE = f"""from pathlib import Path
Path("{ROWS}").write_text("3")
Path("{DATA}").write_text("a b c")
"""
READ = f"""import sys
from pathlib import Path
sys.exit(len(Path("{DATA}").read_text().split()) != int(sys.argv[1]))
"""


def template(settings: Settings, site: SiteFacts) -> Manifest:
    """Two steps: a file goes by S3 and a number by the engine; the second compares them."""
    made = "{{tasks.write.outputs.%s}}"
    given = {
        "parameters": [{"name": "rows", "value": made % "parameters.rows"}],
        "artifacts": [{"name": "data", "from": made % "artifacts.data"}],
    }
    tasks = [
        {"name": "write", "template": "write"},
        {"name": "read", "template": "read", "dependencies": ["write"], "arguments": given},
    ]
    write = {
        "name": "write",
        "container": _python(site, WRITE),
        "outputs": {
            "parameters": [{"name": "rows", "valueFrom": {"path": ROWS}}],
            "artifacts": [{"name": "data", "path": DATA}],
        },
    }
    read = {
        "name": "read",
        "inputs": {"parameters": [{"name": "rows"}], "artifacts": [{"name": "data", "path": DATA}]},
        "container": _python(site, READ, "{{inputs.parameters.rows}}"),
    }
    spec = {
        "entrypoint": "main",
        "activeDeadlineSeconds": 300,
        "templates": [{"name": "main", "dag": {"tasks": tasks}}, write, read],
    }
    return manifest(
        "argoproj.io/v1alpha1",
        "WorkflowTemplate",
        PROBE,
        namespace=settings.steps_in(site),
        marks=labels(ROOM),
        spec=spec,
    )


def _python(site: SiteFacts, code: str, *arguments: str) -> dict[str, Any]:
    """A container of a step. Its command is said: the engine would ask a registry for it."""
    return {
        "image": site.image("clients"),
        "imagePullPolicy": "IfNotPresent",
        "command": ["python3", "-c", code],
        "args": list(arguments),
        "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"cpu": "500m", "memory": "64Mi"}},
    }
