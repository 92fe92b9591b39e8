"""Names of files on such a disk: a name, too, is on the disk only once it was synced.

The disk is a folder with two parts. `tree` is what a machine would find after its power came back:
ordinary files and folders, nothing to decode. `unnamed` holds what exists and has no durable name;
it is emptied when the disk is opened. All access is by one thread.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from errno import EEXIST, EISDIR, ENOENT, ENOTDIR, ENOTEMPTY
from pathlib import Path
from typing import TypeVar

from validate.suites.durability.pages import FileContent


@dataclass(eq=False)
class Inode:
    """A file or a symbolic link: its inode is `anchor`, to which durable names are hard links."""

    anchor: Path
    at: set[tuple[Folder, str]] = field(default_factory=set)  # its names now
    content: FileContent | None = None  # None: a symbolic link
    opened: int = 0

    @property
    def path(self) -> Path:
        return self.anchor


@dataclass(eq=False)
class Folder:
    """`names` is now, `disk` what survives; `home` is where the folder itself survives."""

    anchor: Path
    names: dict[str, Inode | Folder] = field(default_factory=dict)
    disk: dict[str, Inode | Folder] = field(default_factory=dict)
    at: set[tuple[Folder, str]] = field(default_factory=set)
    home: tuple[Folder, str] | None = None
    came_from: dict[str, tuple[Folder, str]] = field(default_factory=dict)  # renames, not synced

    @property
    def path(self) -> Path:
        return self.home[0].path / self.home[1] if self.home else self.anchor


Entry = Inode | Folder
E = TypeVar("E", Inode, Folder)


class DiskTree:
    def __init__(self, disk: Path) -> None:
        self._unnamed = disk / "unnamed"
        shutil.rmtree(self._unnamed, ignore_errors=True)
        self._unnamed.mkdir(parents=True)
        (disk / "tree").mkdir(exist_ok=True)
        self._count = 0
        self.root = Folder(disk / "tree")
        self._load(self.root)

    def find(self, path: str) -> Entry:
        found: Entry = self.root
        for name in path.split("/"):
            if name:
                if not isinstance(found, Folder):
                    raise OSError(ENOTDIR, path)
                if name not in found.names:
                    raise OSError(ENOENT, path)
                found = found.names[name]
        return found

    def folder(self, path: str) -> Folder:
        found = self.find(path)
        if not isinstance(found, Folder):
            raise OSError(ENOTDIR, path)
        return found

    def place(self, path: str) -> tuple[Folder, str]:
        """The folder and the name of a path that may not exist yet."""
        parent, _, name = path.rpartition("/")
        return self.folder(parent), name

    def create(self, path: str, mode: int, owner: tuple[int, int]) -> Inode:
        place = self._free(path)
        anchor = self._new_anchor()
        os.close(os.open(anchor, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        return self._dress(Inode(anchor, content=FileContent(anchor)), place, mode, owner)

    def symlink(self, path: str, target: str, owner: tuple[int, int]) -> None:
        place = self._free(path)
        anchor = self._new_anchor()
        anchor.symlink_to(target)
        self._dress(Inode(anchor), place, None, owner)

    def mkdir(self, path: str, mode: int, owner: tuple[int, int]) -> None:
        place = self._free(path)
        anchor = self._new_anchor()
        anchor.mkdir()
        self._dress(Folder(anchor), place, mode, owner)

    def link(self, old: str, new: str) -> None:
        node = self.find(old)
        if isinstance(node, Folder):
            raise OSError(EISDIR, old)
        self._name(node, self._free(new))

    def rename(self, old: str, new: str) -> None:
        source, target = self.place(old), self.place(new)
        entry = self.find(old)
        there = target[0].names.get(target[1])
        if there is entry:
            return
        if there is not None:
            self._unname(there, target)
        origin = source[0].came_from.get(source[1], source)  # renamed twice: where it still is
        self._unname(entry, source, moves=True)
        self._name(entry, target)
        target[0].came_from[target[1]] = origin

    def unlink(self, path: str) -> None:
        node = self.find(path)
        if isinstance(node, Folder):
            raise OSError(EISDIR, path)
        self._unname(node, self.place(path))

    def rmdir(self, path: str) -> None:
        self._unname(self.folder(path), self.place(path))

    def close(self, node: Inode) -> None:
        node.opened -= 1
        self._forget_if_gone(node)

    def sync_names(self, folder: Folder) -> None:
        """fsync of a folder: its names as they are now."""
        for name, entry in list(folder.disk.items()):
            if folder.names.get(name) is not entry and folder.disk.get(name) is entry:
                self._drop_durable(folder, name)
        for name in folder.names:
            self._put_durable(folder, name)
        folder.came_from.clear()

    def sync_way_to(self, entry: Entry) -> None:
        """The entry's own names, and those of the folders above it."""
        for folder, name in entry.at:
            self._put_durable(folder, name)
            self.sync_way_to(folder)

    def commit(self) -> None:
        """All names as they are now."""
        for folder in list(self._folders()):
            self.sync_names(folder)

    def files(self) -> Iterator[FileContent]:
        for folder in self._folders():
            for entry in folder.names.values():
                if isinstance(entry, Inode) and entry.content is not None:
                    yield entry.content

    def _folders(self) -> Iterator[Folder]:
        """Each before those in it."""
        waiting = [self.root]
        while waiting:
            folder = waiting.pop()
            yield folder
            waiting += [entry for entry in folder.names.values() if isinstance(entry, Folder)]

    def _load(self, folder: Folder) -> None:
        for found in os.scandir(folder.path):
            entry: Entry
            if found.is_dir(follow_symlinks=False):
                entry = Folder(Path(found.path), home=(folder, found.name))
                self._load(entry)
            else:
                anchor = self._new_anchor()
                os.link(found.path, anchor, follow_symlinks=False)
                entry = Inode(anchor, content=None if found.is_symlink() else FileContent(anchor))
            self._name(entry, (folder, found.name))
            folder.disk[found.name] = entry

    def _new_anchor(self) -> Path:
        self._count += 1
        return self._unnamed / str(self._count)

    def _free(self, path: str) -> tuple[Folder, str]:
        folder, name = self.place(path)
        if name in folder.names:
            raise OSError(EEXIST, path)
        return folder, name

    def _dress(self, entry: E, place: tuple[Folder, str], mode: int | None, owner: tuple[int, int]) -> E:
        os.chown(entry.anchor, *owner, follow_symlinks=False)
        if mode is not None:
            entry.anchor.chmod(mode & 0o7777)
        self._name(entry, place)
        return entry

    def _name(self, entry: Entry, place: tuple[Folder, str]) -> None:
        place[0].names[place[1]] = entry
        entry.at.add(place)

    def _unname(self, entry: Entry, place: tuple[Folder, str], *, moves: bool = False) -> None:
        if isinstance(entry, Folder) and entry.names and not moves:
            raise OSError(ENOTEMPTY, place[1])
        del place[0].names[place[1]]
        place[0].came_from.pop(place[1], None)
        entry.at.discard(place)
        if isinstance(entry, Inode) and not moves:
            self._forget_if_gone(entry)

    def _forget_if_gone(self, node: Inode) -> None:
        """Its durable names, if any, keep the bytes; nobody can write to it any more."""
        if not node.at and node.opened == 0:
            if node.content is not None:
                node.content.drop()
            node.anchor.unlink()

    def _put_durable(self, folder: Folder, name: str) -> None:
        entry, there = folder.names[name], folder.disk.get(name)
        if there is entry:
            return
        if there is not None and (isinstance(there, Folder) or there.at):
            self._drop_durable(folder, name)
        target = folder.path / name
        if isinstance(entry, Folder):
            entry.path.rename(target)
            if entry.home is not None:
                del entry.home[0].disk[entry.home[1]]
            entry.home = (folder, name)
        else:
            fresh = self._new_anchor()
            os.link(entry.anchor, fresh, follow_symlinks=False)
            fresh.rename(target)  # in one step where something else had that name
        folder.disk[name] = entry
        source = folder.came_from.pop(name, None)
        if source is not None and source[0].names.get(source[1]) is not entry:
            self._forget_durable(entry, source)

    def _forget_durable(self, entry: Entry, source: tuple[Folder, str]) -> None:
        """The old name of what was renamed: a journal never shows it under both."""
        folder, name = source
        if folder.disk.get(name) is entry and isinstance(entry, Inode):
            (folder.path / name).unlink()
            del folder.disk[name]

    def _drop_durable(self, folder: Folder, name: str) -> None:
        entry = folder.disk[name]
        for new_folder, new_name in list(entry.at):
            if new_folder.came_from.get(new_name) == (folder, name):
                # Renamed, not removed: it goes to its new name, never into nothing.
                self._put_durable(new_folder, new_name)
                return
        if isinstance(entry, Inode):
            (folder.path / name).unlink()
        else:
            for child in list(entry.disk):
                self._drop_durable(entry, child)
            entry.path.rmdir()
        del folder.disk[name]
