"""Makes the place Pulumi runs in, from the bundle: programs, plug-in, backend, settings.

eval "$(python -m stacks.home lab)"                    # the environment for `pulumi` and `kubectl`
config=$(python -m stacks.home lab --stack lab-data)   # makes the stack if it is new
pulumi up --stack lab-data --config-file "$config"
"""

from __future__ import annotations

import argparse
import os
import secrets
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

from common import files
from common.errors import Refusal
from common.places import REPOSITORY, Places
from components.kit import surroundings
from stacks.names import StackName

PROJECT = "apadana"
PROGRAMS = ("pulumi", "pulumi-language-python", "pulumi-language-python-exec", "pulumi-resource-pulumi-python")
PROVIDER = "pulumi-resource-kubernetes"
KUBERNETES = "kubernetes"  # one program for all of Kubernetes' commands: its name chooses


class HomeError(Refusal):
    """Pulumi's place cannot be made."""


def prepare_pulumi_home(binaries: Path, places: Places) -> dict[str, str]:
    """Fill `<state>/pulumi-home` from the bundle's bin folder; returns the environment to run in.

    The plug-in goes into the plug-in folder, because one on PATH makes every run warn.
    """
    needed = (*PROGRAMS, PROVIDER, KUBERNETES)
    missing = [name for name in needed if not (binaries / name).is_file()]
    if missing:
        raise HomeError(f"{binaries} lacks {', '.join(missing)}; build the bundle again")
    plugin = places.home / "plugins" / f"resource-kubernetes-v{version('pulumi-kubernetes')}"
    for name in PROGRAMS:
        _place(binaries / name, places.home / "bin" / name)
    _place(binaries / PROVIDER, plugin / PROVIDER)
    _place(binaries / KUBERNETES, places.kubectl)
    _keep_no_log(places.home / "logs")
    places.backend.mkdir(parents=True, exist_ok=True, mode=0o700)
    _ensure_secret(places.passphrase, places)
    _ensure_secret(places.root_secret, places)
    return environment(places)


def _keep_no_log(logs: Path) -> None:
    """A file where Pulumi would make a folder: it then goes on without a log of its own.

    Pulumi 3.259 writes every property of every object into one at each run and has no switch for
    it. Of a stack with big CustomResourceDefinitions that was two thirds of its processor time.
    """
    if logs.is_dir():
        shutil.rmtree(logs)
    logs.touch()


def environment(places: Places) -> dict[str, str]:
    """Variables for the plain `pulumi` command; nothing secret, only the passphrase's place."""
    python = Path(sys.prefix) / "bin"  # the language host takes python3 from PATH
    return {
        "PULUMI_HOME": str(places.home),
        "PULUMI_BACKEND_URL": f"file://{places.backend}",
        "PULUMI_CONFIG_PASSPHRASE_FILE": str(places.passphrase),
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        "PULUMI_RUN_PROGRAM": "true",  # with destroy and refresh, too: it takes the site's lock (stacks.hand)
        "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
        "PATH": f"{python}:{places.home / 'bin'}:{os.environ.get('PATH', os.defpath)}",
    }


def without_proxy(site: str, given: Mapping[str, str]) -> str:
    """What a shell reaches without its proxy, and the site's own addresses."""
    file = REPOSITORY / "inventories" / site / "group_vars" / "all" / "main.yml"
    found = yaml.safe_load(file.read_text(encoding="utf-8")) if file.is_file() else {}
    names = ("site_network", "site_service_cidr", "site_pod_cidr", "site_api_name")
    said = [found.get(name) for name in (*names, "site_web_domain")]
    before = given.get("NO_PROXY") or given.get("no_proxy") or ""
    return ",".join(dict.fromkeys([*before.split(","), *map(str, filter(None, said))])).strip(",")


def prepare_stack(stack: StackName, places: Places) -> Path:
    """Make the stack if it is new; returns the file for `pulumi --config-file`.

    Pulumi writes the salt of the passphrase into the settings file it finds. Each site, and each
    new lab, has a passphrase of its own, so the committed settings are joined with the site's salt
    in a file of the site's state, and the repository stays as it is.
    """
    source = REPOSITORY / "stacks" / f"Pulumi.{stack}.yaml"
    target = places.stack_config(str(stack))
    if not source.is_file():
        known = sorted(f.stem.removeprefix("Pulumi.") for f in source.parent.glob("Pulumi.*.yaml"))
        raise HomeError(f"no stack {stack}: {source} is missing (there are: {', '.join(known)})")
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not _checkpoint(stack, places).exists():
        target.unlink(missing_ok=True)  # a salt of an older passphrase would be refused
        init_stack(stack, places, target.parent)
    kept = yaml.safe_load(target.read_text(encoding="utf-8")) if target.exists() else {}
    wanted = joined(yaml.safe_load(source.read_text(encoding="utf-8")) or {}, kept or {})
    if wanted != kept:
        target.write_text(yaml.safe_dump(wanted, sort_keys=False), encoding="utf-8")
    return target


def joined(committed: dict[str, Any], kept: dict[str, Any]) -> dict[str, Any]:
    """The committed settings with the site's salt."""
    salt = {key: kept[key] for key in ("encryptionsalt",) if key in kept}
    return {**salt, **committed}


def _checkpoint(stack: StackName, places: Places) -> Path:
    return places.backend / ".pulumi" / "stacks" / PROJECT / f"{stack}.json"


def init_stack(stack: StackName, places: Places, folder: Path) -> None:
    """In a project folder of the site's state, because `stack init` knows no --config-file."""
    project = f"name: {PROJECT}\nruntime: python\n"
    (folder / "Pulumi.yaml").write_text(project, encoding="utf-8")
    command = [str(places.home / "bin" / "pulumi"), "stack", "init", str(stack), "--no-select"]
    done = subprocess.run(
        [*command, "--non-interactive"],
        cwd=folder,
        env={**surroundings.built(), **environment(places)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if done.returncode != 0:
        raise HomeError(f"stack {stack} could not be made: {done.stderr.strip()}")


def _place(source: Path, target: Path) -> None:
    """A hard link where possible (the provider has 170 MB), else a copy; nothing when current."""
    if target.exists():
        have, want = target.stat(), source.stat()
        if target.samefile(source) or (have.st_size, have.st_mtime_ns) == (want.st_size, want.st_mtime_ns):
            return
    files.link(source, target)
    if not os.access(target, os.X_OK):
        target.chmod(0o755)


def _ensure_secret(path: Path, places: Places) -> None:
    """Made once per site. Beside existing state a new one would be a lock-out: refused."""
    if path.exists():
        return
    if any((places.backend / ".pulumi" / "stacks").glob("**/*.json")):
        raise HomeError(
            f"{path} is missing though the site has stacks in {places.backend}; "
            "restore it from the escrow (a new one could not read them)"
        )
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="ascii") as file:
        file.write(secrets.token_hex(32) + "\n")


def main(argv: list[str] | None = None) -> int:
    """Prepare, then print the environment for a shell, or the settings file of one stack."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("site")
    parser.add_argument("--bin", type=Path, help="default: bin/ of the bundle")
    parser.add_argument("--stack", type=StackName.parse, help="make this stack, print its settings")
    arguments = parser.parse_args(argv)
    try:
        places = Places.of(arguments.site)
        variables = prepare_pulumi_home(arguments.bin or places.bundle / "bin", places)
        if arguments.stack:
            sys.stdout.write(f"{prepare_stack(arguments.stack, places)}\n")
            return 0
    except Refusal as error:
        sys.stderr.write(f"{error}\n")
        return 1
    # Only for people: a program that meant another cluster must not find this one by itself.
    variables["KUBECONFIG"] = str(places.kubeconfig)
    variables["NO_PROXY"] = without_proxy(arguments.site, os.environ)
    # Each of these would win over what is said here, without a word.
    sys.stdout.write(f"unset {' '.join(surroundings.MISLEADING)} no_proxy\n")
    for name, value in variables.items():
        sys.stdout.write(f"export {name}={shlex.quote(value)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
