"""Walk a cache, directory by directory, so that nothing unread is mistaken for empty."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from typing import Any, NamedTuple

from .protocol import OWN_DIRECTORY
from .tree import Tree

_SLOT_DIRECTORY = re.compile(r"[0-9a-f]{2}")
_OBJECT_PREFIX = "sstate:"
_MAX_DEPTH = 12
ENTRIES_AT_ONCE = 10_000


Entry = tuple[Any, ...]
"""Name, type (f, l or o), size, mtime, and for a link what it says: a `FileEntry`."""


class WalkFailed(Exception):
    """A directory could not be read, so the whole listing is worth nothing."""

    def __init__(self, path: str, why: str) -> None:
        super().__init__(why)
        self.path = path
        self.why = why


class Listing(NamedTuple):
    """One directory, or a part of a huge one: see `DirectoryListing` of the controlling side."""

    path: str
    mtime_ns: int
    unchanged: bool
    entries: list[Entry]


class Links:
    """Resolves links whose target lies below one of the roots that may be followed."""

    def __init__(self, trees: list[Tree]) -> None:
        self._trees = trees

    def resolve(self, tree: Tree, path: str, target: str) -> tuple[Tree, str] | None:
        """The tree and path that a link leads to; None when it leads elsewhere or nowhere."""
        start = os.path.join(tree.path, os.path.dirname(path))
        real = os.path.realpath(os.path.join(start, target))
        for candidate in self._trees:
            if real.startswith(candidate.path.rstrip("/") + "/"):
                return candidate, os.path.relpath(real, candidate.path)
        return None

    def stat(self, tree: Tree, path: str, target: str) -> os.stat_result | None:
        """The status of a link's target if that is a regular file below a followed root."""
        found = self.resolve(tree, path, target)
        if found is None:
            return None
        try:
            status = found[0].lstat(found[1])
        except OSError:
            return None
        return status if stat.S_ISREG(status.st_mode) else None


def walk(tree: Tree, links: Links, subtree: str, known: dict[str, int]) -> Iterator[Listing]:
    """List a subtree; a known leaf directory with its old time is not read.

    A huge directory comes as several listings in a row, so that each fits into a message.

    Raises:
        WalkFailed: a directory is missing, unreadable, too deep, another root, or a link in a
            slot's place.
    """
    parents = {path.rpartition("/")[0] for path in known}
    leaves = {path: mtime_ns for path, mtime_ns in known.items() if path not in parents}
    waiting = [subtree]
    while waiting:
        path = waiting.pop()
        if path.count("/") > _MAX_DEPTH:
            raise WalkFailed(path, "the directories are nested too deep for a cache")
        try:
            if path in leaves and _is_as_known(tree, path, leaves[path]):
                yield Listing(path, leaves[path], True, [])
                continue
            fd = tree.directory(path)
            mtime_ns = os.fstat(fd).st_mtime_ns
            entries, directories = _read(tree, links, path, fd)
        except FileNotFoundError as error:
            if path != subtree:
                continue
            raise WalkFailed(path, error.strerror or "missing") from None
        except OSError as error:
            raise WalkFailed(path, error.strerror or str(error)) from None
        for at in range(0, max(1, len(entries)), ENTRIES_AT_ONCE):
            yield Listing(path, mtime_ns, False, entries[at : at + ENTRIES_AT_ONCE])
        waiting += reversed(directories)


def _is_as_known(tree: Tree, path: str, mtime_ns: int) -> bool:
    status = tree.lstat(path)
    return stat.S_ISDIR(status.st_mode) and status.st_mtime_ns == mtime_ns


def _read(tree: Tree, links: Links, path: str, fd: int) -> tuple[list[Entry], list[str]]:
    entries: list[Entry] = []
    directories: list[str] = []
    prefix = path + "/" if path else ""
    with os.scandir(fd) as found:
        for entry in found:
            if entry.is_dir(follow_symlinks=False):
                if entry.name != OWN_DIRECTORY:
                    directories.append(prefix + entry.name)
                elif path:
                    raise WalkFailed(path, "another root lies inside this one: see .cachemig there")
                continue
            try:
                entries.append(_describe(tree, links, prefix, entry))
            except FileNotFoundError:
                continue
    entries.sort()
    directories.sort()
    return entries, directories


def _describe(tree: Tree, links: Links, prefix: str, entry: os.DirEntry[str]) -> Entry:
    if entry.is_symlink():
        target = os.readlink(entry.name, dir_fd=tree.directory(prefix.rstrip("/")))
        path = prefix + entry.name
        _refuse_linked_directory(tree, path, entry.name, target)
        status = links.stat(tree, path, target)
        if status is None:
            return (entry.name, "l", -1, 0, target)
        return (entry.name, "l", status.st_size, status.st_mtime_ns, target)
    status = entry.stat(follow_symlinks=False)
    kind = "f" if stat.S_ISREG(status.st_mode) else "o"
    return (entry.name, kind, status.st_size, status.st_mtime_ns)


def _refuse_linked_directory(tree: Tree, path: str, name: str, target: str) -> None:
    if name.startswith(_OBJECT_PREFIX):
        return
    start = os.path.join(tree.path, os.path.dirname(path))
    if _SLOT_DIRECTORY.fullmatch(name) or os.path.isdir(os.path.join(start, target)):
        raise WalkFailed(path, f"it is a link to {target!r}, not a directory of its own")
