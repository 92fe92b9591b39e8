"""What the road understands of Pulumi and of the command that prepares it."""

from __future__ import annotations

import json

from road import pulumi


def test_exports_are_read_as_a_shell_reads_them() -> None:
    text = "a note\nexport PULUMI_HOME='/a place/home'\nexport PATH=/x:/y\n"
    assert pulumi.exports(text) == {"PULUMI_HOME": "/a place/home", "PATH": "/x:/y"}


def test_errors_of_a_json_preview_are_found() -> None:
    document = {
        "diagnostics": [
            {"severity": "warning", "message": "not this"},
            {"severity": "error", "message": "apadana:kafka: 'replica' is not known\n\n  allowed: replicas"},
        ]
    }
    text = "warning: before the document\n" + json.dumps(document)
    assert pulumi.diagnostics(text) == ["apadana:kafka: 'replica' is not known", "  allowed: replicas"]
    assert pulumi.diagnostics("no document") == []
