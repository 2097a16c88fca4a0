"""Paths below a root, walked part by part through directory descriptors.

No string path is resolved by the kernel after the root was opened, so a link that is
swapped in at any moment leads nowhere.
"""

from __future__ import annotations

import errno
import os
import resource
import stat
from collections import OrderedDict

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_OPEN_DIRECTORIES_MAX = 320  # the 256 of a cache's first level, and some below them
DIRECTORY_MODE = 0o2775
NAME_BYTES = 255
_PARTS_MAX = 64


class BadPath(Exception):
    """A path that could lead outside its root, or that no file can have."""


def parts_of(path: str) -> list[str]:
    """Split a relative path and refuse every part that is not a plain name."""
    parts = path.split("/")
    if len(parts) > _PARTS_MAX or not all(map(_is_plain, parts)):
        raise BadPath(path)
    return parts


def _is_plain(part: str) -> bool:
    try:
        size_bytes = len(os.fsencode(part))
    except UnicodeEncodeError:  # half a surrogate pair: it stands for no bytes
        return False
    return part not in ("", ".", "..") and "\0" not in part and size_bytes <= NAME_BYTES


def spare_descriptors(wanted: int) -> int:
    """How many of the wanted descriptors may be held open, where their number is limited."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return wanted if limit == resource.RLIM_INFINITY else min(wanted, limit // 4)


class Tree:
    """A directory tree that is never left; keeps its last used directories open."""

    def __init__(self, path: str, gid: int | None = None) -> None:
        self.path = os.path.realpath(path)
        self.fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._gid = gid
        self._most_open = spare_descriptors(_OPEN_DIRECTORIES_MAX)
        self._open: OrderedDict[str, int] = OrderedDict()

    def directory(self, path: str, *, create: bool = False) -> int:
        """A descriptor of the directory; it belongs to the tree and stays valid for a while.

        Raises:
            BadPath: the path is not a plain relative one.
            OSError: a part is missing, is a link (ELOOP or ENOTDIR), or is forbidden.
        """
        if not path:
            return self.fd
        fd = self._open.get(path)
        if fd is not None:
            self._open.move_to_end(path)
            return fd
        parts_of(path)
        parent, _, name = path.rpartition("/")
        fd = self._enter(self.directory(parent, create=create), name, create=create)
        self._open[path] = fd
        while len(self._open) > self._most_open:
            os.close(self._open.popitem(last=False)[1])
        return fd

    def split(self, path: str, *, create: bool = False) -> tuple[int, str]:
        """The directory descriptor and the base name of a path."""
        parts_of(path)
        parent, _, name = path.rpartition("/")
        return self.directory(parent, create=create), name

    def open_file(self, path: str) -> int:
        """Open a regular file for reading; links, pipes and devices are refused with ELOOP."""
        parent, name = self.split(path)
        fd = os.open(name, _FILE, dir_fd=parent)
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise OSError(errno.ELOOP, "not a regular file", path)
        return fd

    def open_any(self, path: str) -> int:
        """Open a file or directory, to sync it; links are refused with ELOOP."""
        parent, name = self.split(path)
        return os.open(name, _FILE, dir_fd=parent)

    def lstat(self, path: str) -> os.stat_result:
        """The status of a path itself, not of what a link there leads to."""
        parent, name = self.split(path)
        return os.stat(name, dir_fd=parent, follow_symlinks=False)

    def forget(self, path: str) -> None:
        """Close a directory that may have been removed meanwhile, so that it is looked up anew.

        Those above and below it may be gone with it.
        """
        for known in list(self._open):
            if f"{known}/".startswith(f"{path}/") or f"{path}/".startswith(f"{known}/"):
                os.close(self._open.pop(known))

    def _enter(self, parent: int, name: str, *, create: bool) -> int:
        try:
            return os.open(name, _DIRECTORY, dir_fd=parent)
        except FileNotFoundError:
            if not create:
                raise
        try:
            os.mkdir(name, 0o775, dir_fd=parent)
        except FileExistsError:
            return os.open(name, _DIRECTORY, dir_fd=parent)
        fd = os.open(name, _DIRECTORY, dir_fd=parent)
        if self._gid is not None:
            os.chown(fd, -1, self._gid)
        os.chmod(fd, DIRECTORY_MODE)
        return fd
