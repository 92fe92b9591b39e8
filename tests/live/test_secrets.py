"""No password, key or token of the platform stands where it could be read in passing.

The values are the real ones, read from the cluster and from the site's state. Process lists are
looked at again and again while smoke and a preview run; a program that lives for less than the time
between two looks is not seen. tests/unit/test_secret_scan.py shows that the scanner can find.
"""

from __future__ import annotations

import base64
import subprocess
import tarfile
from pathlib import Path

import pytest
import yaml

from tests import lab
from tests.secret_scan import Finding, Scanner, files_under
from tests.smoked import Smoked, processes_watched

pytestmark = pytest.mark.live
# Keys of Secrets that say who or where, and nothing that opens a door.
PUBLIC = {
    "ca.crt",
    "tls.crt",
    "username",
    "root-user",
    "admin-user",
    "service_name",
    "database",
    "bucket",
    "host",
    "port",
    "expected",
    "namespace",
}
HOST_LOGS = "/var/log/pods /var/log/kubernetes"
# The command lines of a host, one a line.
CMDLINES = """python3 - <<'END'
import pathlib
for file in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
    try:
        print(file.read_bytes().replace(b"\\0", b" ").decode(errors="replace"))
    except OSError:
        pass
END
"""


class Hidden(dict[str, bytes]):
    """Values by name, which no traceback of a failing test prints."""

    def __repr__(self) -> str:
        return f"<{len(self)} secrets>"


def of_the_cluster() -> dict[str, bytes]:
    """Every value of the platform's Secrets, and the tokens with which hosts may join."""
    cluster, namespace = lab.cluster(), lab.found().platform.namespace
    items = cluster.json("-n", namespace, "get", "secrets")["items"]
    bootstrap = "type=bootstrap.kubernetes.io/token"
    joining = cluster.json("-n", "kube-system", "get", "secrets", "--field-selector", bootstrap)
    wanted = {"token-secret"}
    return {
        f"{item['metadata']['name']}/{key}": base64.b64decode(value)
        for item, keys in [(i, None) for i in items] + [(i, wanted) for i in joining["items"]]
        for key, value in (item.get("data") or {}).items()
        if value and (key in keys if keys else key not in PUBLIC)  # "": there is none yet
    }


def of_the_site() -> dict[str, bytes]:
    """Keys, root secret, passphrase, and what the kubeconfigs carry."""
    state = lab.STATE
    files = [state / "root.secret", state / "pulumi.passphrase", state / "ssh" / "id_ed25519"]
    files += [*(state / "pki").glob("*.key"), lab.STATE_ROOT / "keys" / "bundle.key"]
    found = {str(file): file.read_bytes() for file in files}
    for file in (state / "kubeconfig", state / "installer.kubeconfig"):
        for user in yaml.safe_load(file.read_text())["users"]:
            for key in ("token", "client-key-data"):
                value = user["user"].get(key, "").encode()
                if value:
                    decoded = base64.b64decode(value) if key.endswith("data") else value
                    found[f"{file} {key}"] = decoded
    return found


@pytest.fixture(scope="module")
def scanner() -> Scanner:
    cluster, site = Hidden(of_the_cluster()), Hidden(of_the_site())
    assert len(cluster) >= 20, sorted(cluster)
    assert len(site) >= 8, sorted(site)
    return Scanner(Hidden({**cluster, **site}))


def none(found: list[Finding]) -> None:
    assert not found, "\n  ".join(["secrets stand in plain sight:", *map(str, found)])


def test_the_scanner_finds_a_real_value_that_is_planted(scanner: Scanner, tmp_path: Path) -> None:
    planted = next(iter(of_the_site().values()))
    (tmp_path / "data.log").write_bytes(b"$ pulumi up\n" + base64.b64encode(b"x:" + planted) + b"\n")
    found = scanner.files(files_under(tmp_path))
    assert found and "base64" in found[0].form


def test_no_log_of_the_road_has_a_secret(scanner: Scanner) -> None:
    logs = files_under(lab.LOGS)
    assert len(logs) >= 5
    none(scanner.files(logs))


def test_no_report_and_no_contract_has_a_secret(scanner: Scanner) -> None:
    files = files_under(lab.REPORTS)
    assert files
    none(scanner.files([*files, lab.STATE / "platform.json"]))


def test_the_state_of_the_stacks_holds_secrets_encrypted_only(scanner: Scanner) -> None:
    files = files_under(lab.STATE / "pulumi", lab.STATE / "pulumi-config")
    assert any(file.name == f"{lab.SITE}-data.json" for file in files)
    none(scanner.files(files))


@pytest.mark.parametrize("layer", ["cluster", "data"])
def test_outputs_of_the_stacks_have_no_secret(scanner: Scanner, layer: str) -> None:
    stack = lab.Stack(layer)
    done = stack("stack", "output", "--json")
    assert done.returncode == 0, lab.told(done)
    none(scanner.data("pulumi stack output", f"{done.stdout}{done.stderr}".encode()))


def test_no_process_list_and_no_difference_shows_a_secret(scanner: Scanner, smoke: Smoked) -> None:
    stack = lab.Stack("data")
    with processes_watched() as seen:
        preview = stack("preview", "--diff", *stack.on_settings)
    assert preview.returncode == 0, lab.told(preview)
    assert any(b"validate" in line for line in smoke.seen)
    none(scanner.data("process list of the machine", b"\n".join(sorted(seen | smoke.seen))))
    shown = f"{preview.stdout}{preview.stderr}{smoke.done.stdout}{smoke.done.stderr}"
    none(scanner.data("preview and smoke on the terminal", shown.encode()))


def test_no_process_list_of_a_host_shows_a_secret(scanner: Scanner) -> None:
    for host in lab.hosts():
        listed = lab.on_host(host, CMDLINES)
        assert "kubelet" in listed, host
        none(scanner.data(f"process list of {host}", listed.encode()))


def test_no_log_of_pods_and_of_the_api_has_a_secret(scanner: Scanner) -> None:
    for host in lab.hosts():
        command = ["podman", "exec", lab.container(host), "sh", "-c"]
        pack = f"cd / && tar --ignore-failed-read --warning=none -cf - {HOST_LOGS} 2>/dev/null"
        count = 0
        with subprocess.Popen([*command, pack], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            with tarfile.open(fileobj=process.stdout, mode="r|") as archive:
                for member in archive:
                    source = archive.extractfile(member) if member.isfile() else None
                    if source is not None:
                        count += 1
                        none(scanner.stream(f"{host}:/{member.name}", source))
        assert count > 5, f"{host}: only {count} log files were read"


def test_no_journal_of_a_host_has_a_secret(scanner: Scanner) -> None:
    for host in lab.hosts():
        command = ["podman", "exec", lab.container(host), "journalctl", "--no-pager", "-o", "cat"]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            none(scanner.stream(f"journal of {host}", process.stdout))
        assert process.returncode == 0, host
