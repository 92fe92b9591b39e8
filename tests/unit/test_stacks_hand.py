"""Which command of Pulumi runs the program; what it then does is tried in tests/rendered/test_plain_pulumi.py."""

from __future__ import annotations

import pytest

from stacks import hand


@pytest.mark.parametrize(
    ("line", "verb"),
    [
        ("pulumi up --stack lab-data --config-file /x/Pulumi.lab-data.yaml", "up"),
        ("/a/bin/pulumi --non-interactive --stack lab-data destroy --yes", "destroy"),
        ("pulumi -C stacks down", "down"),
        ("pulumi dn -y", "dn"),
        ("pulumi up --message destroy", "up"),
        ("pulumi refresh", "refresh"),
        ("python -m pytest", ""),
        ("", ""),
    ],
)
def test_the_command_is_read_from_the_engines_line(line: str, verb: str) -> None:
    engine = hand.Engine(1, tuple(line.split()))
    assert engine.verb == verb
    assert (engine.verb in hand.ENDING) is (verb in {"destroy", "down", "dn"})


def test_where_no_pulumi_is_above_us_who_started_us_is_the_engine() -> None:
    assert hand.found().words == ()
