"""kubectl as it is called: by its own name, with what it is told, within its time."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from common.kubectl import Kubectl, find

SHOWS = "#!/bin/sh\necho \"$(basename \"$(tr '\\0' '\\n' </proc/$$/cmdline | head -1)\") $*\"\ncat\n"


def made(folder: Path, script: str) -> Kubectl:
    program = folder / "bin" / "kubernetes"
    program.parent.mkdir(parents=True, exist_ok=True)
    program.write_text(script)
    program.chmod(0o755)
    return Kubectl(find(folder), folder / "config", {"PATH": "/usr/bin:/bin"})


def test_the_bundles_program_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert find(tmp_path) == tmp_path / "bin" / "kubernetes"  # named in the error of whoever starts it
    on_path = tmp_path / "path" / "kubectl"
    on_path.parent.mkdir()
    on_path.write_text("#!/bin/sh\n")
    on_path.chmod(0o755)
    monkeypatch.setenv("PATH", str(on_path.parent))
    assert find(tmp_path) == on_path
    made(tmp_path, "#!/bin/sh\n")
    assert find(tmp_path) == tmp_path / "bin" / "kubernetes"


def test_a_command_of_its_own_says_and_hears_what_a_call_does(tmp_path: Path) -> None:
    kubectl = made(tmp_path, SHOWS)
    told = f"--kubeconfig={tmp_path / 'config'} get pods -n a b"
    assert kubectl.run("get", "pods", "-n", "a b", timeout=20, stdin=b"x").decode().endswith(f"{told}\nx")
    for said in (None, "", 'a "quoted" $word'):
        command = kubectl.command("get", "pods", "-n", "a b", said=said)
        done = subprocess.run(command, capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL)
        assert done.stdout.partition(" ")[2] == told + "\n" + (f"{said}\n" if said is not None else "")


def test_another_address_is_asked_under_the_clusters_name(tmp_path: Path) -> None:
    kubectl = Kubectl(tmp_path, tmp_path / "config", {}, "https://10.0.0.1:8443", "api.lab")
    assert kubectl.words("get")[2:] == ["--server=https://10.0.0.1:8443", "--tls-server-name=api.lab", "get"]


def test_what_it_said_is_in_the_error_and_its_time_is_kept(tmp_path: Path) -> None:
    fails = made(tmp_path, "#!/bin/sh\necho out; echo 'no such host' >&2; exit 3\n")
    with pytest.raises(subprocess.CalledProcessError) as error:
        fails.run("get", timeout=20)
    assert (error.value.returncode, error.value.stdout, error.value.stderr) == (3, "out\n", "no such host\n")
    assert error.value.cmd[0] == "kubectl"
    with pytest.raises(subprocess.TimeoutExpired):
        made(tmp_path, "#!/bin/sh\nexec sleep 30\n").run("get", timeout=0.3)


#: Counts its calls in `tries` beside it, and says the words given until it was called as often as wanted.
LATE = (
    '#!/bin/sh\ncd "$(dirname "$0")"; echo >>tries; [ "$(wc -l <tries)" -lt {wanted} ] || exec echo node/cp1\n{says}\n'
)
REFUSED = "echo 'The connection to the server 10.0.0.1:8443 was refused' >&2; exit 1"
FORBIDDEN = "echo 'nodes is forbidden' >&2; exit 1"


@pytest.mark.parametrize(
    ("says", "wanted", "patience", "tries", "ends"),
    [
        (REFUSED, 3, 30.0, 3, None),
        ("exec sleep 30", 2, 30.0, 2, None),
        (REFUSED, 99, 0.0, 1, subprocess.CalledProcessError),
        ("exec sleep 30", 99, 0.0, 1, subprocess.TimeoutExpired),
        (FORBIDDEN, 99, 30.0, 1, subprocess.CalledProcessError),
    ],
)
def test_it_is_asked_again_while_nobody_answers(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    says: str,
    wanted: int,
    patience: float,
    tries: int,
    ends: type[Exception] | None,
) -> None:
    monkeypatch.setattr("common.kubectl.PAUSE_SECONDS", 0.01)
    kubectl = made(tmp_path, LATE.format(wanted=wanted, says=says))
    if ends:
        with pytest.raises(ends):
            kubectl.insist("get", "nodes", timeout=3, patience=patience)
    else:
        assert kubectl.insist("get", "nodes", timeout=3, patience=patience) == b"node/cp1\n"
    assert (tmp_path / "bin" / "tries").read_text().count("\n") == tries
