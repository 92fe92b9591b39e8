"""What the road reads out of the output of the other rooms."""

from __future__ import annotations

from road import reading

RECAP = """
PLAY RECAP *********************************************************************
cp1                        : ok=12   changed=3    unreachable=0    failed=0    skipped=1
gpu1                       : ok=9    changed=0    unreachable=0    failed=0    skipped=1
"""


def test_changes_adds_up_the_hosts_of_a_play() -> None:
    assert reading.changes(RECAP) == 3


def test_changes_counts_resources_and_not_the_unchanged_ones() -> None:
    text = "Resources:\n    + 5 created\n    ~ 2 updated\n    31 unchanged\n"
    assert reading.changes(text) == 7
    assert reading.changes("Resources:\n    38 unchanged\n") == 0


def test_cause_of_a_play_is_its_fatal_line_not_its_recap() -> None:
    text = (
        "TASK [containerd : Install]\n"
        'fatal: [cp2]: FAILED! => {"msg": "no space left on device"}\n'
        "NO MORE HOSTS LEFT ****\n" + RECAP
    )
    assert reading.cause(text) == ['fatal: [cp2]: FAILED! => {"msg": "no space left on device"}']


def test_cause_shows_the_message_of_a_task_that_did_much_before_it_failed() -> None:
    did = [f"    - made the host cp{number}" for number in range(9)]
    lines = ["fatal: [localhost]: FAILED! =>", "    changed: false", "    did:", *did]
    lines.append("    msg: 'lab lab: `podman run` failed: no such container'")
    assert reading.cause("\n".join(lines)) == [lines[0], lines[-1]]


def test_cause_keeps_a_run_of_hosts_together_and_drops_earlier_mended_errors() -> None:
    lines = ["fatal: [a]: old, rescued", *(f"ok: [host{n}]" for n in range(5))]
    lines += ["fatal: [cp1]: UNREACHABLE!", "fatal: [cp2]: UNREACHABLE!"]
    assert reading.cause("\n".join(lines)) == lines[-2:]


def test_cause_without_any_sign_is_the_end_of_the_log() -> None:
    lines = [f"line {n}" for n in range(20)]
    assert reading.cause("\n".join(lines)) == lines[-8:]


def test_cause_of_silence_says_so() -> None:
    assert reading.cause("\n\n") == ["it printed nothing"]


def test_cause_has_no_colours_and_no_endless_line() -> None:
    (line,) = reading.cause("\x1b[31merror: " + "x" * 1000 + "\x1b[0m")
    assert line.startswith("error: xxx")
    assert line.endswith(" [...]")
