"""Below a root nothing is resolved by name twice, so a link that is swapped in leads nowhere."""

import ctypes
import os
import stat
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachemig.agent.source import digest_of
from cachemig.agent.tree import NAME_BYTES, BadPath, Tree, parts_of
from cachemig.agent.walk import Links, WalkFailed, walk

SWAPS = 10_000
LIMIT_S = 60.0
_EXCHANGE = 2

plain = st.text(
    st.characters(blacklist_characters="/\0", blacklist_categories=["Cs"]), min_size=1, max_size=20
).filter(lambda part: part not in (".", ".."))
anything = st.text(max_size=40) | st.lists(st.sampled_from(["", ".", "..", "a", "\0"])).map(
    "/".join
)


@given(parts=st.lists(plain, min_size=1, max_size=8))
def test_plain_paths_are_taken_apart(parts):
    """Any name that a file can have."""
    assert parts_of("/".join(parts)) == parts


@given(path=anything)
def test_no_accepted_path_leads_outside(path):
    """Whatever is accepted lies below the root, by the rules of path names; nothing crashes."""
    try:
        parts = parts_of(path)
    except BadPath:
        return
    joined = os.path.normpath(os.path.join("/root/of/cache", path))  # noqa: PTH118
    assert joined == "/root/of/cache/" + "/".join(parts)
    assert all(len(os.fsencode(part)) <= NAME_BYTES for part in parts)


@pytest.mark.parametrize(
    "path",
    [
        *("", "/", "/a", "a/", "a//b", ".", "a/.", "..", "../a", "a/../b", "a\0"),
        *("é" * 128, "\ud800", "a/" * 5000 + "a"),
    ],
)
def test_a_path_that_no_file_can_have_is_refused_everywhere(tmp_path: Path, path: str):
    """As a BadPath, at every door."""
    tree = Tree(str(tmp_path))
    for door in (tree.split, tree.open_file, tree.lstat):
        with pytest.raises(BadPath):
            door(path)
    if path:
        with pytest.raises(BadPath):
            tree.directory(path, create=True)
    assert not list(tmp_path.iterdir())


def test_no_link_is_followed_in_any_part(tmp_path: Path):
    """Not as a directory, not as a file, and none is made beyond it."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("secret")
    root = tmp_path / "root"
    root.mkdir()
    (root / "folder").symlink_to(outside)
    (root / "file").symlink_to(outside / "file")
    tree = Tree(str(root))

    for use in (
        lambda: tree.directory("folder"),
        lambda: tree.directory("folder/new", create=True),
        lambda: tree.open_file("folder/file"),
        lambda: tree.open_file("file"),
        lambda: tree.lstat("folder/file"),
    ):
        with pytest.raises(OSError, match=r"Not a directory|Too many levels"):
            use()
    assert [entry.name for entry in outside.iterdir()] == ["file"]


def test_a_twin_is_the_same_tree_though_its_name_leads_elsewhere_by_now(tmp_path: Path):
    """Whoever swaps the root leads nobody out of it; each twin has descriptors of its own."""
    root, outside = tmp_path / "root", tmp_path / "outside"
    for folder, text in ((root / "3f", "inside"), (outside / "3f", "SECRET")):
        folder.mkdir(parents=True)
        (folder / "file").write_text(text)
    tree = Tree(str(root))
    root.rename(tmp_path / "moved")
    root.symlink_to(outside)

    twin = tree.twin()

    with os.fdopen(twin.open_file("3f/file")) as file:
        assert file.read() == "inside"
    assert (twin.path, twin.directory("3f") != tree.directory("3f")) == (tree.path, True)


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir], ids=["pipe", "directory"])
def test_only_regular_files_are_opened(tmp_path: Path, make: Callable[[Path], None]):
    """A named pipe does not hang whoever opens it."""
    make(tmp_path / "x")
    with pytest.raises(OSError, match="not a regular file"):
        Tree(str(tmp_path)).open_file("x")


def test_directories_are_made_for_everybody(tmp_path: Path):
    """2775, whatever the umask says; one that is there keeps its mode."""
    (tmp_path / "there").mkdir(0o700)
    before = os.umask(0o077)
    try:
        Tree(str(tmp_path)).directory("there/3f/a1", create=True)
    finally:
        os.umask(before)
    modes = [
        stat.S_IMODE((tmp_path / p).stat().st_mode) for p in ("there", "there/3f", "there/3f/a1")
    ]
    assert modes == [0o700, 0o2775, 0o2775]


def test_more_directories_than_descriptors(tmp_path: Path):
    """Those used last stay open; the others are opened again when they are asked for."""
    tree = Tree(str(tmp_path))
    before = len(list(Path("/proc/self/fd").iterdir()))
    for number in range(1500):
        tree.directory(f"d{number}", create=True)
    assert len(list(Path("/proc/self/fd").iterdir())) < before + 400
    for number in range(0, 1500, 100):
        assert (
            os.fstat(tree.directory(f"d{number}")).st_ino == (tmp_path / f"d{number}").stat().st_ino
        )


def test_a_forgotten_directory_is_looked_up_anew(tmp_path: Path):
    """With those above and below it: a cleaner may have removed them all."""
    tree = Tree(str(tmp_path))
    tree.directory("3f/a1", create=True)
    kept = tree.directory("3e", create=True)
    (tmp_path / "3f/a1").rmdir()
    (tmp_path / "3f").rmdir()

    tree.forget("3f/a1")

    fd = tree.directory("3f/a1", create=True)
    assert os.fstat(fd).st_ino == (tmp_path / "3f/a1").stat().st_ino
    assert tree.directory("3e") == kept


class Swapper:
    """Exchanges two names as fast as it can, so that each is the other for half the time."""

    def __init__(self, one: Path, other: Path) -> None:
        self.swaps = 0
        self._stop = threading.Event()
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._names = os.fsencode(one), os.fsencode(other)
        self._thread = threading.Thread(target=self._swap)

    def _swap(self) -> None:
        one, other = self._names
        while not self._stop.is_set():
            assert self._libc.renameat2(-100, one, -100, other, _EXCHANGE) == 0
            self.swaps += 1

    @contextmanager
    def running(self) -> Iterator["Swapper"]:
        """Swap until the end of the block."""
        self._thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            self._thread.join()

    def until_enough(self, use: Callable[[], None]) -> int:
        """Repeat a use until there were enough swaps; how often it was done."""
        end = time.monotonic() + LIMIT_S
        used = 0
        while self.swaps < SWAPS or used < 200:
            assert time.monotonic() < end, f"only {self.swaps} swaps"
            use()
            used += 1
        return used


def test_a_link_that_is_swapped_in_is_never_gone_through(tmp_path: Path):
    """While a directory turns into a link and back, nothing outside is read, listed or written."""
    root, outside = tmp_path / "root", tmp_path / "outside"
    for folder, text in ((root / "3f", "inside"), (outside, "SECRET")):
        folder.mkdir(parents=True)
        (folder / "file").write_text(text)
    (root / "swap").symlink_to(outside)
    (outside / "outside-only").touch()
    inside_digest = digest_of(Tree(str(root)).open_file("3f/file"), 6)
    before = {entry: entry.stat().st_mtime_ns for entry in [outside, *outside.iterdir()]}
    came = {"read": 0, "listed": 0, "made": 0, "refused": 0}

    def use() -> None:
        tree = Tree(str(root))  # a fresh one, or it would hold the directory open
        try:
            fd = tree.open_file("3f/file")
            assert digest_of(fd, 6) == inside_digest
            os.close(fd)
            came["read"] += 1
            os.close(os.open("new", os.O_CREAT | os.O_WRONLY, dir_fd=tree.directory("3f")))
            tree.directory("3f/made", create=True)
            came["made"] += 1
            for listing in walk(tree, Links([tree]), "3f", {}):
                assert "outside-only" not in [entry[0] for entry in listing.entries]
                came["listed"] += 1
        except (OSError, WalkFailed):
            came["refused"] += 1
        finally:
            tree.forget("3f")
            os.close(tree.fd)

    with Swapper(root / "3f", root / "swap").running() as swapper:
        swapper.until_enough(use)

    assert all(came.values()), came
    assert {entry: entry.stat().st_mtime_ns for entry in [outside, *outside.iterdir()]} == before


def test_a_file_that_is_swapped_for_a_link_is_never_read_through_it(tmp_path: Path):
    """It is opened as itself or not at all."""
    root, secret = tmp_path / "root", tmp_path / "secret"
    root.mkdir()
    secret.write_text("SECRET")
    (root / "file").write_text("inside")
    (root / "swap").symlink_to(secret)
    tree = Tree(str(root))
    came = {"read": 0, "refused": 0}

    def use() -> None:
        try:
            fd = tree.open_file("file")
        except OSError:
            came["refused"] += 1
            return
        assert os.read(fd, 10) == b"inside"
        os.close(fd)
        came["read"] += 1

    with Swapper(root / "file", root / "swap").running() as swapper:
        swapper.until_enough(use)

    assert all(came.values()), came
