"""The steps of `make up`, in order. Each is a few commands of the other rooms."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

from components.kit import layers
from road import pulumi, reading, retire
from road.place import Place, RoadError
from road.work import Step, StepFailed, Work


def prerequisites(work: Work) -> int:
    script = str(work.place.repository / "road" / "prerequisites.sh")
    return sum(work.call(script, part, reaches_out=True).count("installing") for part in ("all", "go"))


def bundle(work: Work) -> int:
    manifest = work.place.bundle / "manifest.json"
    before = digest(manifest)
    work.call("python", "-m", "bundle", "build", reaches_out=True)
    work.call("python", "-m", "bundle", "verify")
    return int(digest(manifest) != before)


def lab(work: Work) -> int:
    return reading.changes(playbook(work, "lab"))


def hosts(work: Work) -> int:
    return reading.changes(playbook(work, "site"))


def stack(layer: str) -> Callable[[Work], int]:
    def do(work: Work) -> int:
        return pulumi.up(work, layer)

    return do


def contract(work: Work) -> int:
    for layer in work.place.layers:
        pulumi.export_contract(work, layer)
    joined = work.call("python", "-m", "stacks.contract", work.place.site)
    return int(joined.split()[-1] == "written")


def smoke(work: Work) -> int:
    work.call("python", "-m", "validate", "smoke", "--stack", work.place.site)
    return 0


def playbook(work: Work, name: str, *more: str) -> str:
    environment = {"ANSIBLE_CONFIG": str(work.place.repository / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"}
    inventory = str((work.place.inventory / "hosts.yml").relative_to(work.place.repository))
    return work.call("ansible-playbook", "-i", inventory, f"playbooks/{name}.yml", *more, environment=environment)


def digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else "absent"


def up_steps(place: Place) -> list[Step]:
    """The whole road of a site. Machines that exist already need no lab."""
    if not place.inventory.is_dir():
        known = sorted(entry.name for entry in place.inventory.parent.glob("*") if entry.is_dir())
        raise RoadError(
            f"there is no site '{place.site}': inventories/{place.site} is missing. "
            f"Known: {', '.join(known) or 'none'}. It is set by --site (make: SITE=name)."
        )
    site, state = place.site, place.state
    kubectl = f"{place.kubectl} --kubeconfig {place.kubeconfig}"
    steps = [
        Step("prerequisites", "programs of this machine", prerequisites, "road/prerequisites.sh all"),
        Step("bundle", "build and verify the bundle", bundle, "python -m bundle build"),
        Step("lab", "machines on a network with no way out", lab, "podman ps --all"),
        Step(
            "hosts",
            "machines become an HA Kubernetes cluster",
            hosts,
            f"ansible-playbook -v -i inventories/{site}/hosts.yml playbooks/site.yml",
        ),
        Step("retired", "take off layers whose stack file is gone", retire.retire, "ls stacks"),
        *(Step(layer, layers.ABOUT[layer], stack(layer), f"{kubectl} {look(layer)}") for layer in place.layers),
        Step("contract", "write the platform contract", contract, f"less {state}/platform.json"),
        Step("smoke", "prove each component as a client", smoke, f"python -m validate smoke --stack {site}"),
    ]
    return [step for step in steps if step.name != "lab" or place.is_lab]


def look(layer: str) -> str:
    """What shows more when a layer failed."""
    if layer == layers.CLUSTER:
        return "get nodes,pv,storageclass"
    return "get pods,events -n platform"


def down_lab(work: Work) -> int:
    """Takes the machines of a lab away; a site's machines are not ours to destroy."""
    if not work.place.is_lab:
        raise StepFailed(
            [
                f"site '{work.place.site}' is no lab: its machines were not made here, so they are not removed here.",
                "To take the platform off them: "
                f"ansible-playbook -i inventories/{work.place.site}/hosts.yml playbooks/reset.yml",
            ]
        )
    return reading.changes(playbook(work, "lab", "-e", "state=absent"))
