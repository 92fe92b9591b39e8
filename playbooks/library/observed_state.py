#!/usr/bin/python3
"""What a host is, against what its roles want: packages, files, links, settings, mounts, units.

One task reads it all. `report` only tells the differences, so that a matching host is left alone; `present` mends
them and names the running units whose files changed, for handlers to restart; `absent` takes away what the roles own.
Standard library only: it runs on bare hosts.
"""

from __future__ import annotations

import re
import shutil
import stat
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ansible.module_utils import effects, kernel, kubelet, oci_layout, plane, wayback
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.host import (
    UNIT_FOLDER,
    Difference,
    StateError,
    alone,
    digest,
    file_seen,
    file_wanted,
    install_packages,
    make_disk,
    make_folders,
    mount_told,
    mount_unit,
    mounted,
    package_states,
    remove_path,
    rises,
    run,
    unit_states,
    wiped,
    write_file,
)

DOCUMENTATION = """
module: observed_state
short_description: Observed state of a host against the wanted one
description: The action plugin of the same name renders `wanted` from the roles' state.yml.
options:
  state: {type: str, choices: [report, present, absent], default: report, description: What to do}
  wanted: {type: dict, required: true, description: Wanted state by role}
"""


class Role:
    """What one role wants, observed and mended."""

    def __init__(self, name: str, wanted: dict[str, Any]) -> None:
        self.name, self.wanted = name, dict(wanted)
        self.restart: set[str] = set()
        owner = str(self.wanted.get("volumes_of"))
        self.mounts = [mount_unit(volume, owner) for volume in self.wants("volumes")]
        units = [{"name": mount["unit"]} for mount in self.mounts]
        files = [{"path": UNIT_FOLDER + m["unit"], "content": m["text"]} for m in self.mounts]
        self.wanted["files"] = self.wants("files") + files
        self.wanted["units"] = self.wants("units") + units

    def wants(self, kind: str) -> list[Any]:
        return list(self.wanted.get(kind) or [])

    def observe(self, shared: dict[str, Any]) -> list[Difference]:
        return [
            *self.observe_packages(shared["packages"]),
            *self.observe_files(),
            *self.observe_links(),
            *self.observe_absent(),
            *(self.tell(*seen) for seen in kernel.differences(self.wanted)),
            *self.observe_mounts(shared["mounts"]),
            *self.observe_copies(),
            *self.observe_images(),
            *self.observe_applied(),
            *self.observe_units(shared["units"]),
            *(self.tell(*seen) for seen in effects.differences(self.wanted)),
        ]

    def tell(self, kind: str, name: str, wanted: str, seen: str) -> Difference:
        return Difference(self.name, kind, name, wanted, seen)

    def observe_packages(self, states: dict[str, str]) -> list[Difference]:
        """Held back counts as a difference: the next bundle's version would not get in."""
        seen = {name: states.get(name, "absent") for name in self.wants("packages")}
        wanted = "install ok installed"
        return [self.tell("package", n, wanted, is_) for n, is_ in seen.items() if is_ != wanted]

    def observe_files(self) -> list[Difference]:
        found = []
        for file in self.wants("files"):
            path = Path(file["path"])
            if not file.get("force", True) and path.exists():
                continue  # the owner's own; only that there is one is wanted
            want, seen = file_wanted(file), file_seen(path)
            if seen != want:
                found.append(self.tell("file", file["path"], want, seen))
        for file in self.wants("contains"):
            path = Path(file["path"])
            if path.exists() and file["text"] not in path.read_text():
                found.append(self.tell("text", file["path"], file["text"], "another"))
        return found

    def observe_links(self) -> list[Difference]:
        found = []
        for link in self.wants("links"):
            path = Path(link["path"])
            seen = str(path.readlink()) if path.is_symlink() else "no link"
            if seen != link["target"]:
                found.append(self.tell("link", link["path"], link["target"], seen))
        return found

    def observe_copies(self) -> list[Difference]:
        """Big files by size and time: a copy keeps the time of its source."""
        found = []
        for copy in self.wants("copies"):
            want, path = Path(copy["from"]).stat(), Path(copy["path"])
            seen = path.stat() if path.exists() else None
            if not seen or (seen.st_size, seen.st_mtime_ns) != (want.st_size, want.st_mtime_ns):
                words = f"{seen.st_size} bytes" if seen else "absent"
                found.append(self.tell("copy", copy["path"], f"{want.st_size} bytes", words))
        return found

    def observe_images(self) -> list[Difference]:
        found = []
        if boot := self.wanted.get("boot_images"):
            lacking = oci_layout.missing_images(Path(boot["layout"]), boot["names"])
            found += [self.tell("image", ref, *both) for ref, both in lacking.items()]
        if tree := self.wanted.get("registry_tree"):
            wanted = oci_layout.layout_digest(Path(tree["layout"]))
            seen = oci_layout.tree_digest(Path(tree["root"]))
            if seen != wanted:
                found.append(self.tell("tree", tree["root"], wanted[:12], seen[:12]))
        return found

    def observe_applied(self) -> list[Difference]:
        """Manifests by the digest of what was last applied whole."""
        if not (applied := self.wanted.get("applied")):
            return []
        mark, want = Path(applied["folder"]) / ".applied", self.manifests_digest()
        seen = mark.read_text().strip() if mark.exists() else "nothing"
        return [] if seen == want else [self.tell("applied", applied["folder"], want, seen)]

    def manifests_digest(self) -> str:
        return str(digest("".join(file["content"] for file in self.wants("files")).encode()))

    def observe_expected(self) -> list[Difference]:
        """What another step of the playbook makes (membership): told here, mended there."""
        lacking = [item for item in self.wants("expects") if not Path(item["path"]).exists()]
        found = [self.tell("step", item["what"], "done", "not done") for item in lacking]
        found += [self.tell(*told) for told in (*plane.differences(self.wanted), *kubelet.differences(self.wanted))]
        closed = effects.closed(self.wanted)
        return found + ([self.tell("services", "kube-proxy", "open", closed)] if closed else [])

    def observe_absent(self) -> list[Difference]:
        root = Path("/")
        patterns = [pattern.lstrip("/") for pattern in self.wants("absent")]
        hits = [str(hit) for pattern in patterns for hit in sorted(root.glob(pattern))]
        return [self.tell("path", hit, "absent", "present") for hit in hits]

    def observe_mounts(self, mounts: set[str]) -> list[Difference]:
        return [self.tell(*told) for mount in self.mounts for told in mount_told(mount, mounts)]

    def observe_units(self, states: dict[str, tuple[str, str]]) -> list[Difference]:
        found = []
        for unit in self.wants("units"):
            enabled, active = states.get(unit["name"], ("", ""))
            if unit.get("idle"):
                off = f"{enabled}, {active}"
                found += [self.tell("unit", unit["name"], "off", off)] if rises(enabled, active) else []
                continue
            if unit.get("enabled", True) and enabled not in ("enabled", "static", "generated"):
                found.append(self.tell("unit", unit["name"], "enabled", enabled or "absent"))
            if self.runs(unit) and active != "active":
                found.append(self.tell("unit", unit["name"], "active", active or "absent"))
        return found

    @staticmethod
    def runs(unit: dict[str, Any]) -> bool:
        """A unit that `needs` a file (the kubelet: its configuration) runs once that is there."""
        return bool(unit.get("running", True)) and Path(unit.get("needs", "/")).exists()

    def mend(self, seen: list[Difference], active: set[str]) -> None:
        """Mends this role's differences, in the order in which they stand on each other."""
        kinds = {(item.kind, item.name) for item in seen}
        bare = [mount for mount in self.mounts if ("mount", mount["path"]) in kinds]
        for mount in bare:  # before their units: whoever finds a unit knows that a disk was made
            make_disk(mount)
        for path in (Path(name) for kind, name in kinds if kind == "path"):
            remove_path(path)
        written = self.mend_files(kinds, active)
        if packages := {item.name: item.seen for item in seen if item.kind == "package"}:
            held = [name for name, words in packages.items() if words.startswith("hold ")]
            unsafe = bool(self.wanted.get("packages_unsafe_io"))
            install_packages(list(packages), held, unsafe_io=unsafe)
        self.mend_links(kinds)
        kernel.mend(self.wanted, kinds)
        self.mend_copies(kinds, active)
        self.mend_texts(kinds, active)
        self.mend_tree(kinds)
        self.mend_units(seen, written)
        make_folders(self.mounts)
        effects.mend(self.wanted, kinds)
        if refs := sorted(item.name for item in seen if item.kind == "image"):
            oci_layout.load_images(Path(self.wanted["boot_images"]["layout"]), refs)
        if applied := self.wanted.get("applied"):
            self.mend_applied(applied)

    def mend_files(self, kinds: set[tuple[str, str]], active: set[str]) -> list[str]:
        """The paths that were written."""
        written = [file for file in self.wants("files") if ("file", file["path"]) in kinds]
        for file in written:
            path = Path(file["path"])
            mode = int(file.get("mode", "0644"), 8)
            write_file(path, file["content"].encode(), mode, file.get("group"))
            self.restart |= set(file.get("restart") or []) & active
        return [file["path"] for file in written]

    def mend_links(self, kinds: set[tuple[str, str]]) -> None:
        for link in self.wants("links"):
            if ("link", link["path"]) in kinds:
                path = Path(link["path"])
                path.parent.mkdir(parents=True, exist_ok=True)
                path.unlink(missing_ok=True)
                path.symlink_to(link["target"])

    def mend_copies(self, kinds: set[tuple[str, str]], active: set[str]) -> None:
        for copy in self.wants("copies"):
            if ("copy", copy["path"]) in kinds:
                path = Path(copy["path"])
                path.parent.mkdir(parents=True, exist_ok=True)
                fresh = path.with_name(f".{path.name}.new")
                shutil.copy2(copy["from"], fresh)
                fresh.chmod(0o755)
                # A running binary cannot be written to; a rename leaves its processes the old one.
                fresh.replace(path)
                self.restart |= set(copy.get("restart") or []) & active

    def mend_tree(self, kinds: set[tuple[str, str]]) -> None:
        tree = self.wanted.get("registry_tree")
        if tree and ("tree", tree["root"]) in kinds:
            oci_layout.make_tree(Path(tree["layout"]), Path(tree["root"]))

    def mend_texts(self, kinds: set[tuple[str, str]], active: set[str]) -> None:
        """Lines that a tool of others writes (kubelet.conf) and that must say one thing."""
        for file in self.wants("contains"):
            if ("text", file["path"]) in kinds:
                path = Path(file["path"])
                text = re.sub(file["instead_of"], file["text"], path.read_text())
                write_file(path, text.encode(), stat.S_IMODE(path.stat().st_mode))
                self.restart |= set(file.get("restart") or []) & active

    def mend_units(self, seen: list[Difference], written: list[str]) -> None:
        if any(path.startswith(UNIT_FOLDER) for path in written):
            run("systemctl", "daemon-reload")
        named, bare = ({item.name for item in seen if item.kind == kind} for kind in ("unit", "mount"))
        named |= {mount["unit"] for mount in self.mounts if mount["path"] in bare}
        on = [unit for unit in self.wants("units") if not unit.get("idle")]
        units = [unit for unit in on if unit["name"] in named]
        enable = [unit["name"] for unit in units if unit.get("enabled", True)]
        start = [unit["name"] for unit in units if self.runs(unit)]
        masked = [item.name for item in seen if item.kind == "unit" and "masked" in item.seen]
        if masked:
            run("systemctl", "unmask", "--quiet", *masked)
        if enable:
            run("systemctl", "enable", "--quiet", *enable)
        if start:
            run("systemctl", "start", *start, deadline=120)  # systemd itself gives up on a device after 90 s
        # A package may have brought them only just now, so none of them was seen before.
        off = unit_states([unit["name"] for unit in self.wants("units") if unit.get("idle")])
        if unwanted := [name for name, state in off.items() if rises(*state)]:
            run("systemctl", "disable", "--now", "--quiet", *unwanted, deadline=90)

    def open_services(self) -> list[Difference]:
        closed = effects.closed(self.wanted)
        opened = closed and effects.open_services(self.wanted["services"])
        return [self.tell("services", "kube-proxy", "open", closed)] if opened else []

    def mend_applied(self, applied: dict[str, Any]) -> None:
        folder = Path(applied["folder"])
        command = ["kubectl", "--kubeconfig", applied["kubeconfig"], "apply", "--server-side"]
        manifests = [f"--filename={file['path']}" for file in self.wants("files")]
        run(*command, "--force-conflicts", "--field-manager=apadana", *manifests, deadline=120)
        write_file(folder / ".applied", f"{self.manifests_digest()}\n".encode(), 0o644)

    def remove(self) -> list[str]:
        """Takes away what the role owns; packages stay, they hold nothing of the site."""
        did = []
        states = unit_states([unit["name"] for unit in self.wants("units")])
        known = [name for name, (enabled, active) in states.items() if enabled or active == "active"]
        keep = set(self.wants("keep"))
        if stop := [name for name in known if name not in keep]:
            # Not `disable --now`: of a reset that was cut short a unit may run whose file is gone.
            run("systemctl", "stop", "--quiet", *stop, deadline=120)
            if enabled := [name for name in stop if states[name][0]]:
                run("systemctl", "disable", "--quiet", *enabled)
            did += [f"stopped {name}" for name in stop]
        # Programs last: what could not be removed may need them in the next run.
        did += [f"wiped {mount['volume']['device']}" for mount in self.mounts if wiped(mount)]
        paths = self.wants("owned") + [mount["image"] for mount in self.mounts if mount["image"]]
        paths += [item["path"] for kind in ("files", "links") for item in self.wants(kind)]
        for path in (Path(path) for path in paths if path not in keep):
            if path.exists() or path.is_symlink():
                # A mount point (a disk of its own, for the kubelet) is emptied and stays.
                emptied = path.is_dir() and str(path) in mounted()
                for entry in path.iterdir() if emptied else [path]:
                    remove_path(entry)
                did.append(f"removed {path}")
        return did


def shared_observation(roles: list[Role]) -> dict[str, Any]:
    """What is read once for all roles."""
    units = [unit["name"] for role in roles for unit in role.wants("units")]
    return {"packages": package_states(), "mounts": mounted(), "units": unit_states(list(dict.fromkeys(units)))}


def reconcile(roles: list[Role], *, mend: bool) -> dict[str, Any]:
    """The differences of all roles; mended, and read again, when that is wanted."""
    shared = shared_observation(roles)
    active = {name for name, (_, state) in shared["units"].items() if state == "active"}
    found: list[Difference] = []
    way_back = 0
    for role in roles:
        seen = role.observe(shared) + ([] if mend else role.observe_expected())
        found += seen
        if mend and wayback.needed(role.wanted, {(item.kind, item.name) for item in seen}):
            wayback.arm(role.wanted)
            way_back = wayback.SECONDS
        if mend and seen:
            role.mend(seen, active)
        found += role.open_services() if mend else []
    if mend and found:
        after = shared_observation(roles)
        left = [item for role in roles for item in role.observe(after)]
        if left:
            words = "; ".join(f"{i.kind} {i.name}: wanted {i.wanted}, is {i.seen}" for i in left)
            raise StateError(f"still not as wanted after mending: {words}")
    return {
        "changed": bool(found) and mend,
        "differences": [asdict(item) for item in found],
        "way_back": way_back,
        "roles": sorted({item.role for item in found}),
        "restart": sorted({unit for role in roles for unit in role.restart}),
    }


class QuietModule(AnsibleModule):
    """What is wanted holds the contents of files, and some of them are keys: no call is logged."""

    def _log_invocation(self) -> None:
        return


def main() -> None:
    module = QuietModule(
        argument_spec={
            "state": {"choices": ["report", "present", "absent"], "default": "report"},
            "wanted": {"type": "dict", "required": True},
        },
        supports_check_mode=True,
    )
    roles = [Role(name, wanted) for name, wanted in module.params["wanted"].items()]
    state = "report" if module.check_mode else module.params["state"]
    try:
        if state == "report":
            module.exit_json(**reconcile(roles, mend=False))
        with alone():
            if state == "present":
                module.exit_json(**reconcile(roles, mend=True))
            did = [line for role in reversed(roles) for line in role.remove()]
            run("systemctl", "daemon-reload")
        module.exit_json(changed=bool(did), did=did)
    except (StateError, oci_layout.LayoutError, OSError) as error:
        module.fail_json(msg=f"{', '.join(role.name for role in roles)}: {error}")


if __name__ == "__main__":
    main()
