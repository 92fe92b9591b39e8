"""Settings of a kubelet that stands: what its file was made of, what it runs with, and what others are given that join.

kubeadm makes the file, of the cluster's settings and of what it sees on the host; a mark beside it says of which
settings it was made, and what came out. Standard library only: it runs on bare hosts.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ansible.module_utils.host import StateError, digest, run, write_file

KUBELET = Path("/var/lib/kubelet")
CONFIG, MARK = KUBELET / "config.yaml", KUBELET / ".apadana-settings"
INSTANCE = "instance-config.yaml"  # what kubeadm keeps of this very host
UNIT = "kubelet.service"
#: On a tmpfs: what kubeadm would write is written here, looked at, and put in place in one step.
DRY = Path("/run/apadana/kubelet")
PATCH = "kubeletconfiguration+merge.json"
OFFER, KEY = "kubelet-config", "kubelet"
UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}


def differences(wanted: Mapping[str, Any]) -> Iterator[tuple[str, str, str, str]]:
    """(kind, name, wanted, seen) of what a role wants of the kubelet, where the host is a member."""
    for entry in wanted.get("settings") or []:
        if Path(entry["needs"]).exists():
            for is_wanted, is_seen in seen(json.loads(entry["content"])):
                yield "settings", str(CONFIG), is_wanted, is_seen


def seen(settings: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(wanted, seen) of each difference of the file, and of a kubelet that does not run with it yet."""
    if mark := read_mark():
        yield from _since(mark, settings)
    else:
        yield "as site.yml has them", "as they were when the host joined"
    if late():
        yield f"read by {UNIT}", "written after its start"


def _since(mark: Mapping[str, Any], settings: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for key in sorted({*settings, *mark["wanted"]}):
        ours, its = (each.get(key, "absent") for each in (settings, mark["wanted"]))
        if ours != its:
            yield f"{key} {_text(ours)}", _text(its)
    if (now := made()) != mark.get("made"):
        yield f"what kubeadm made ({mark.get('made')})", f"edited since ({now})"


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def read_mark() -> dict[str, Any]:
    """Nothing where there is none, or none that can be read."""
    try:
        told = json.loads(MARK.read_text())
        return told if isinstance(told, dict) and isinstance(told.get("wanted"), dict) else {}
    except (FileNotFoundError, ValueError):
        return {}


def mark(settings: Mapping[str, Any]) -> None:
    """Says that the file is what kubeadm made of these settings."""
    text = json.dumps({"wanted": settings, "made": made()}, sort_keys=True)
    write_file(MARK, f"{text}\n".encode(), 0o644)


def made() -> str:
    return digest(CONFIG.read_bytes()) if CONFIG.exists() else "absent"


def late() -> bool:
    """Whether the kubelet runs since before its file was written; both times are the host's clock's of then."""
    told = run("systemctl", "show", "--timestamp=us+utc", "--property=ExecMainStartTimestamp", UNIT, deadline=30)
    moment = told.strip().partition("=")[2]
    if not moment or not CONFIG.exists():
        return False
    begun = datetime.strptime(moment, "%a %Y-%m-%d %H:%M:%S.%f UTC").replace(tzinfo=UTC).timestamp()
    return CONFIG.stat().st_mtime > begun


def offered(settings: Mapping[str, Any]) -> str:
    """As they stand in the cluster, for those who join."""
    return json.dumps(settings, indent=2, sort_keys=True) + "\n"


def offer(kubeconfig: str, settings: Mapping[str, Any], *, only_look: bool = False) -> bool:
    """Puts the settings into the cluster, where kubeadm looks for them; whether there were others.

    Not by kubeadm's own upload: what that makes of them could not be told from a change by hand.
    """
    if offered_now(kubeconfig) == offered(settings):
        return False
    if only_look:
        return True
    metadata = {"name": OFFER, "namespace": "kube-system"}
    document = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {KEY: offered(settings)}}
    apply = ("apply", "--server-side", "--force-conflicts", "--field-manager=apadana", "--filename=-")
    run("kubectl", f"--kubeconfig={kubeconfig}", "--request-timeout=20s", *apply, stdin=json.dumps(document))
    return True


def offered_now(kubeconfig: str) -> str:
    """The text in the cluster; "" where there is none."""
    ask = ("--request-timeout=20s", "--namespace=kube-system", "get", "--ignore-not-found", f"configmap/{OFFER}")
    told = run("kubectl", f"--kubeconfig={kubeconfig}", *ask, "--output=json", deadline=60)
    return str(json.loads(told)["data"].get(KEY, "")) if told.strip() else ""


def make(kubeconfig: str, settings: Mapping[str, Any]) -> bytes:
    """What kubeadm makes of the cluster's settings on this host; its own, where it has other ones, stand above them."""
    own = offered_now(kubeconfig) != offered(settings)
    shutil.rmtree(DRY, ignore_errors=True)
    (DRY / "patches").mkdir(mode=0o700, parents=True)
    try:
        if (KUBELET / INSTANCE).exists():
            shutil.copy2(KUBELET / INSTANCE, DRY / INSTANCE)
        if own:
            (DRY / "patches" / PATCH).write_text(offered(settings))
        phase = ("upgrade", "node", "phase", "kubelet-config", "--dry-run", f"--patches={DRY}/patches")
        env = {"KUBEADM_UPGRADE_DRYRUN_DIR": str(DRY)}
        run("kubeadm", *phase, f"--kubeconfig={kubeconfig}", deadline=120, env=env)
        return (DRY / CONFIG.name).read_bytes()
    except FileNotFoundError:
        raise StateError(f"kubeadm made no {CONFIG.name} for this host") from None
    finally:
        shutil.rmtree(DRY, ignore_errors=True)


def put(text: bytes) -> None:
    """In one step; what is there already keeps its time."""
    if not CONFIG.exists() or CONFIG.read_bytes() != text:
        write_file(CONFIG, text, 0o644)
        os.sync()


def apart(wanted: Any, is_seen: Any, name: str = "") -> Iterator[str]:
    """What of the wanted settings a kubelet does not run with. It tells more than is wanted, and leaves out a 0."""
    if isinstance(wanted, Mapping):
        for key, value in wanted.items():
            inner = is_seen.get(key) if isinstance(is_seen, Mapping) else None
            yield from apart(value, inner, f"{name}.{key}" if name else str(key))
    elif plain(wanted) != plain(is_seen) and (is_seen is not None or plain(wanted) not in (0, "", [])):
        yield f"{name}: wanted {_text(wanted)}, runs with {'nothing' if is_seen is None else _text(is_seen)}"


def plain(value: Any) -> Any:
    """A duration as its seconds, however it is written; a truth as a number."""
    text = str(value) if isinstance(value, str) else ""
    parts = re.findall(r"(\d+(?:\.\d+)?)(h|ms|us|ns|m|s)", text)
    if parts and "".join(number + unit for number, unit in parts) == text:
        return sum(float(number) * UNITS[unit] for number, unit in parts)
    return value
