"""The disk that loses what was not synced: bytes and names, against a model of each."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from validate.suites.durability.pages import PAGE, FileContent
from validate.suites.durability.tree import DiskTree, Folder, Inode

MINE = (os.getuid(), os.getgid())
places = st.integers(0, 3 * PAGE)
steps = st.one_of(
    st.tuples(st.just("write"), places, st.binary(min_size=1, max_size=2 * PAGE)),
    st.tuples(st.just("resize"), places),
    st.tuples(st.just("sync")),
    st.tuples(st.just("early"), st.integers(0, 5)),
)


def apply(content: FileContent, now: bytearray, step: tuple[object, ...]) -> None:
    match step:
        case ("write", int(at), bytes(data)):
            content.write(at, data)
            now.extend(bytes(max(0, at + len(data) - len(now))))
            now[at : at + len(data)] = data
        case ("resize", int(size)):
            content.resize(size)
            now.extend(bytes(max(0, size - len(now))))
            del now[size:]
        case ("sync",):
            content.sync()
        case ("early", int(page)):
            content.store_early(page)


@settings(max_examples=150)
@given(st.binary(max_size=2 * PAGE), st.lists(steps, max_size=12), st.data())
def test_reads_see_all_and_the_disk_has_what_was_synced(
    begin: bytes, plan: list[tuple[object, ...]], data: st.DataObject
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        disk = Path(folder) / "disk"
        disk.write_bytes(begin)
        content, now, durable, early = FileContent(disk), bytearray(begin), bytes(begin), False
        for step in plan:
            apply(content, now, step)
            early = (early or step[0] == "early") and step[0] != "sync"
            if step[0] == "sync":
                durable = bytes(now)
            at = data.draw(places)
            assert content.read(at, PAGE) == bytes(now[at : at + PAGE])
            assert content.size == len(now)
            if not early:
                assert disk.read_bytes() == durable
        content.sync()
        assert disk.read_bytes() == bytes(now) and content.unsynced == 0
        content.drop()


@pytest.mark.parametrize(
    ("before", "early", "after"),
    [
        ("xx", 1, "xb"),  # in place: alone
        ("xx", 0, "ax"),
        ("", 1, "ab"),  # beyond the end: a file grows in order
        ("x", 1, "xb"),
        ("xx", 7, "xx"),
    ],
)
def test_what_is_on_the_disk_when_a_page_came_early(before: str, early: int, after: str, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.write_bytes(b"".join(c.encode() * PAGE for c in before))
    content = FileContent(disk)
    content.write(0, b"a" * PAGE + b"b" * PAGE)
    content.store_early(early)
    assert disk.read_bytes() == b"".join(c.encode() * PAGE for c in after)


def survivors(disk: Path) -> dict[str, str]:
    """What is found when the disk is opened again: path -> content."""
    found = DiskTree(disk)
    paths: dict[str, str] = {}

    def walk(folder: Folder, front: str) -> None:
        for name, entry in folder.names.items():
            if isinstance(entry, Folder):
                paths[f"{front}{name}/"] = ""
                walk(entry, f"{front}{name}/")
            elif entry.content is not None:
                paths[front + name] = entry.content.read(0, 100).decode()

    walk(found.root, "")
    return paths


def put(tree: DiskTree, path: str, text: str, *, sync: bool = True) -> Inode:
    node = tree.create(path, 0o600, MINE)
    assert node.content is not None
    node.content.write(0, text.encode())
    if sync:
        node.content.sync()
    return node


def fsync_folder(tree: DiskTree, path: str) -> None:
    folder = tree.folder(path)
    tree.sync_names(folder)
    tree.sync_way_to(folder)


def start(disk: Path) -> DiskTree:
    """a = "one", d/b = "two", all of it durable."""
    (disk / "tree" / "d").mkdir(parents=True)
    (disk / "tree" / "a").write_text("one")
    (disk / "tree" / "d" / "b").write_text("two")
    return DiskTree(disk)


AS_BEFORE = {"a": "one", "d/": "", "d/b": "two"}


def case_nothing_synced(tree: DiskTree) -> dict[str, str]:
    put(tree, "/new", "x")
    tree.unlink("/a")
    tree.rename("/d/b", "/d/c")
    tree.mkdir("/e", 0o700, MINE)
    return AS_BEFORE


def case_names_without_bytes(tree: DiskTree) -> dict[str, str]:
    put(tree, "/new", "x", sync=False)
    fsync_folder(tree, "/")
    return {**AS_BEFORE, "new": ""}


def case_renamed_over_another(tree: DiskTree) -> dict[str, str]:
    put(tree, "/temporary", "three")
    tree.rename("/temporary", "/a")
    fsync_folder(tree, "/")
    return {**AS_BEFORE, "a": "three"}


def case_renamed_and_the_old_folder_synced(tree: DiskTree) -> dict[str, str]:
    tree.rename("/d/b", "/moved")
    fsync_folder(tree, "/d")
    return {"a": "one", "d/": "", "moved": "two"}


def case_renamed_and_the_new_folder_synced(tree: DiskTree) -> dict[str, str]:
    tree.rename("/d/b", "/moved")
    fsync_folder(tree, "/")
    return {"a": "one", "d/": "", "moved": "two"}


def case_rotated(tree: DiskTree) -> dict[str, str]:
    tree.rename("/a", "/a.1")
    put(tree, "/a", "fresh")
    fsync_folder(tree, "/")
    return {**AS_BEFORE, "a": "fresh", "a.1": "one"}


def case_rotated_and_only_the_new_file_synced(tree: DiskTree) -> dict[str, str]:
    tree.rename("/a", "/a.1")
    tree.sync_way_to(put(tree, "/a", "fresh"))
    return {**AS_BEFORE, "a": "fresh", "a.1": "one"}


def case_renamed_twice(tree: DiskTree) -> dict[str, str]:
    tree.rename("/a", "/b")
    tree.rename("/b", "/d/c")
    fsync_folder(tree, "/d")
    return {"d/": "", "d/b": "two", "d/c": "one"}


def case_a_file_in_a_new_folder(tree: DiskTree) -> dict[str, str]:
    tree.mkdir("/e", 0o700, MINE)
    tree.sync_way_to(put(tree, "/e/f", "x"))
    put(tree, "/e/g", "y")
    return {**AS_BEFORE, "e/": "", "e/f": "x"}


def case_a_folder_moved(tree: DiskTree) -> dict[str, str]:
    tree.mkdir("/e", 0o700, MINE)
    tree.rename("/d", "/e/d")
    fsync_folder(tree, "/")
    return {"a": "one", "e/": "", "e/d/": "", "e/d/b": "two"}


def case_a_folder_removed(tree: DiskTree) -> dict[str, str]:
    tree.unlink("/d/b")
    tree.rmdir("/d")
    fsync_folder(tree, "/")
    return {"a": "one"}


def case_linked(tree: DiskTree) -> dict[str, str]:
    tree.link("/a", "/d/same")
    tree.unlink("/a")
    fsync_folder(tree, "/d")
    fsync_folder(tree, "/")
    return {"d/": "", "d/b": "two", "d/same": "one"}


def case_removed_while_open(tree: DiskTree) -> dict[str, str]:
    node = tree.find("/a")
    assert isinstance(node, Inode) and node.content is not None
    node.opened += 1
    tree.unlink("/a")
    node.content.write(0, b"changed")
    assert node.content.read(0, 9) == b"changed"
    tree.close(node)
    return AS_BEFORE


CASES = [value for name, value in sorted(globals().items()) if name.startswith("case_")]


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.__name__.removeprefix("case_"))
def test_names_survive_when_they_were_synced(case, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    wanted = case(start(tmp_path))
    assert survivors(tmp_path) == wanted
    assert survivors(tmp_path) == wanted  # opening it changes nothing


def test_strict_names_need_their_folder(tmp_path: Path) -> None:
    tree = start(tmp_path)
    put(tree, "/new", "x")
    assert survivors(tmp_path) == AS_BEFORE


@pytest.mark.parametrize(
    ("act", "code"),
    [
        (lambda t: t.find("/nowhere"), "ENOENT"),
        (lambda t: t.find("/a/below"), "ENOTDIR"),
        (lambda t: t.mkdir("/a", 0o700, MINE), "EEXIST"),
        (lambda t: t.rmdir("/d"), "ENOTEMPTY"),
        (lambda t: t.unlink("/d"), "EISDIR"),
    ],
)
def test_what_can_not_be_done_says_why(act, code: str, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    import errno

    with pytest.raises(OSError) as caught:
        act(start(tmp_path))
    assert caught.value.errno == getattr(errno, code)
