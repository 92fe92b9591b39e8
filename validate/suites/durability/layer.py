"""A file system that keeps what was written in memory until it is synced. Its death is a power cut.

    python -m validate.suites.durability.layer DISK MOUNT [--early 0.3 --seed 7] [--strict-names]
                                        [--names-every 5]

What is modelled
- Bytes reach the disk by fsync, fdatasync, msync, or a file opened with O_SYNC or O_DSYNC; not by
  close, not with time. A disk that is told to sync and has not done so does not exist here.
- Names (create, rename, link, unlink, mkdir, rmdir) reach it by fsync of their folder, and, as on
  ext4 and XFS, by fsync of the file itself; with --strict-names by the folder's alone (POSIX). A
  rename is never seen halfway. With --names-every all names are committed unasked that often, as a
  journalling file system does (ext4: commit=5), for stores that count on it.
- With --early some pages reach the disk unasked, as the kernel's writeback may do it: those that
  replace others out of order, so that a mixture survives; those that a file grows by in order.
What is not: modes, owners and times of files (they are kept at once), sync(2) and syncfs(2) (the
kernel does not hand them to FUSE file systems), torn sectors, a drive that lies about its cache.

Killing this process with SIGKILL is the cut: nothing that it held in memory can be had again, and
DISK/tree is what a machine finds when its power is back. LazyFS (dsrhaslab) is the like in C++.
"""

from __future__ import annotations

import argparse
import errno
import os
import random
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from validate.suites.durability.pages import FileContent
from validate.suites.durability.tree import DiskTree, Folder, Inode

UNSYNCED = "user.apadana.unsynced_bytes"  # of the mount's root
Caller = Callable[[], tuple[int, int, int]]  # uid, gid, pid


class Operations:
    """What libfuse calls, by the names that mfusepy looks for; one thread."""

    use_ns = True

    def __init__(
        self, disk: Path, caller: Caller, *, early: float, seed: int, strict: bool, names_every: float = 0.0
    ) -> None:
        self._disk, self._caller = disk, caller
        self._tree = DiskTree(disk)
        self._early, self._draw, self._strict = early, random.Random(seed), strict
        self._names_every, self._committed = names_every, time.monotonic()
        self._open: dict[int, tuple[Inode, bool]] = {}
        self._count = 0

    def getattr(self, path: str | None, fh: int | None = None) -> dict[str, int]:
        entry = self._open[fh][0] if path is None and fh is not None else self._find(path)
        found = entry.path.lstat()
        size = found.st_size
        if isinstance(entry, Inode) and entry.content is not None:
            size = entry.content.size
        return {
            "st_mode": found.st_mode,
            "st_uid": found.st_uid,
            "st_gid": found.st_gid,
            "st_nlink": 2 if isinstance(entry, Folder) else len(entry.at),
            "st_size": size,
            "st_atime": found.st_atime_ns,
            "st_mtime": found.st_mtime_ns,
            "st_ctime": found.st_ctime_ns,
            "st_blocks": -(-size // 512),
        }

    def readdir(self, path: str, fh: int) -> list[str]:
        return [".", "..", *self._tree.folder(path).names]

    def opendir(self, path: str) -> int:
        self._tree.folder(path)
        return 0

    def create(self, path: str, mode: int, flags: int) -> int:
        self._commit_if_due()
        return self._handle(self._tree.create(path, mode, self._owner()), flags)

    def open(self, path: str, flags: int) -> int:
        node = self._find(path)
        if not isinstance(node, Inode):
            raise OSError(errno.EISDIR, path)
        if flags & os.O_TRUNC:
            _content(node).resize(0)
        return self._handle(node, flags)

    def read(self, path: str | None, size: int, offset: int, fh: int) -> bytes:
        return _content(self._open[fh][0]).read(offset, size)

    def write(self, path: str | None, data: bytes, offset: int, fh: int) -> int:
        node, synced = self._open[fh]
        content = _content(node)
        touched = content.write(offset, data)
        if synced:
            self._sync(node)
        elif self._early:
            for page in touched:
                if self._draw.random() < self._early:
                    content.store_early(page)
        return len(data)

    def truncate(self, path: str | None, length: int, fh: int | None = None) -> int:
        node = self._open[fh][0] if fh is not None else self._find(path)
        if not isinstance(node, Inode):
            raise OSError(errno.EISDIR, path)
        _content(node).resize(length)
        return 0

    def fallocate(self, path: str | None, mode: int, offset: int, size: int, fh: int) -> int:
        if mode:
            raise OSError(errno.EOPNOTSUPP, "fallocate with a mode")
        content = _content(self._open[fh][0])
        content.resize(max(content.size, offset + size))
        return 0

    def fsync(self, path: str | None, datasync: int, fh: int) -> int:
        self._sync(self._open[fh][0])
        return 0

    def fsyncdir(self, path: str, datasync: int, fh: int) -> int:
        folder = self._tree.folder(path)
        self._tree.sync_names(folder)
        if not self._strict:
            self._tree.sync_way_to(folder)
        return 0

    def flush(self, path: str | None, fh: int) -> int:
        return 0  # close is no sync

    def release(self, path: str | None, fh: int) -> int:
        self._tree.close(self._open.pop(fh)[0])
        return 0

    def rename(self, old: str, new: str) -> int:
        self._commit_if_due()
        self._tree.rename(old, new)
        return 0

    def unlink(self, path: str) -> int:
        self._tree.unlink(path)
        return 0

    def mkdir(self, path: str, mode: int) -> int:
        self._tree.mkdir(path, mode, self._owner())
        return 0

    def rmdir(self, path: str) -> int:
        self._tree.rmdir(path)
        return 0

    def symlink(self, target: str, source: str) -> int:
        self._tree.symlink(target, source, self._owner())
        return 0

    def link(self, target: str, source: str) -> int:
        self._tree.link(source, target)
        return 0

    def readlink(self, path: str) -> str:
        return str(self._find(path).path.readlink())

    def chmod(self, path: str, mode: int) -> int:
        self._find(path).path.chmod(mode & 0o7777)
        return 0

    def chown(self, path: str, uid: int, gid: int) -> int:
        os.chown(self._find(path).path, uid, gid, follow_symlinks=False)
        return 0

    def utimens(self, path: str, times: tuple[int, int] | None = None) -> int:
        now = time.time_ns()
        os.utime(self._find(path).path, ns=times or (now, now), follow_symlinks=False)
        return 0

    def statfs(self, path: str) -> dict[str, int]:
        found = os.statvfs(self._disk)
        names = (
            "f_bsize",
            "f_frsize",
            "f_blocks",
            "f_bfree",
            "f_bavail",
            "f_files",
            "f_ffree",
            "f_favail",
            "f_namemax",
        )
        return {name: getattr(found, name) for name in names}

    def getxattr(self, path: str, name: str, position: int = 0) -> bytes:
        if path == "/" and name == UNSYNCED:
            return str(sum(content.unsynced for content in self._tree.files())).encode()
        raise OSError(errno.ENODATA, name)

    def _find(self, path: str | None) -> Inode | Folder:
        if path is None:
            raise OSError(errno.ENOENT, "a file without a name")
        return self._tree.find(path)

    def _owner(self) -> tuple[int, int]:
        uid, gid, _ = self._caller()
        return uid, gid

    def _handle(self, node: Inode, flags: int) -> int:
        self._count += 1
        node.opened += 1
        self._open[self._count] = (node, bool(flags & (os.O_SYNC | os.O_DSYNC)))
        return self._count

    def _commit_if_due(self) -> None:
        """The journal's own commit, seen to before names change: before that nothing waits."""
        now = time.monotonic()
        if self._names_every and now - self._committed >= self._names_every:
            self._tree.commit()
            self._committed = now

    def _sync(self, node: Inode) -> None:
        _content(node).sync()
        if not self._strict:
            self._tree.sync_way_to(node)


def _content(node: Inode) -> FileContent:
    if node.content is None:
        raise OSError(errno.EINVAL, "a symbolic link has no content")
    return node.content


def main() -> None:
    parser = argparse.ArgumentParser(prog="validate.suites.durability.layer")
    parser.add_argument("disk", type=Path)
    parser.add_argument("mount", type=Path)
    parser.add_argument("--early", type=float, default=0.0, help="share of pages, 0 to 1")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--strict-names", action="store_true")
    parser.add_argument("--names-every", type=float, default=0.0, help="seconds; 0: never")
    args = parser.parse_args()
    try:
        import mfusepy
    except OSError as error:
        sys.exit(f"libfuse is not on this machine ({error}): apt-get install fuse3")
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # one descriptor a file
    caller: Any = mfusepy.fuse_get_context
    operations = Operations(
        args.disk, caller, early=args.early, seed=args.seed, strict=args.strict_names, names_every=args.names_every
    )
    # hard_remove: an open file that is unlinked is not kept under a hidden name.
    mfusepy.FUSE(
        operations,
        str(args.mount),
        foreground=True,
        nothreads=True,
        allow_other=True,
        default_permissions=True,
        hard_remove=True,
        fsname="unsynced",
    )


if __name__ == "__main__":
    main()
