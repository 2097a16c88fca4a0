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
_ROOT = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_OPEN_ABOVE_MAX = 288  # the 256 of a cache's first level, which every path passes, and some
_OPEN_BELOW_MAX = 32  # the last ones, since an object's files lie together
DIRECTORY_MODE = 0o2775
NAME_BYTES = 255
_PARTS_MAX = 64
_NETWORK_TYPES = ("nfs", "nfs4", "cifs", "smb3", "9p", "ceph", "glusterfs", "lustre")
_NO_NAMES = frozenset({"", ".", ".."})


class BadPath(Exception):
    """A path that could lead outside its root, or that no file can have."""


def parts_of(path: str) -> list[str]:
    """Split a relative path and refuse every part that is not a plain name."""
    parts = path.split("/")
    if len(parts) > _PARTS_MAX or not _NO_NAMES.isdisjoint(parts) or "\0" in path:
        raise BadPath(path)
    if max(map(len, parts)) > NAME_BYTES or not (path.isascii() or _all_short(parts)):
        raise BadPath(path)
    return parts


def _all_short(parts: list[str]) -> bool:
    try:
        return all(len(os.fsencode(part)) <= NAME_BYTES for part in parts)
    except UnicodeEncodeError:  # half a surrogate pair: it stands for no bytes
        return False


def spare_descriptors(wanted: int) -> int:
    """How many of the wanted descriptors may be held open, where their number is limited."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return wanted if limit == resource.RLIM_INFINITY else min(wanted, limit // 4)


def file_system_type(fd: int) -> str:
    """The mount's type as the kernel names it; empty when it can not be told."""
    device = os.fstat(fd).st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
            for line in file:
                before, _, after = line.partition(" - ")
                if before.split()[2] == wanted:
                    return after.split()[0]
    except OSError:
        pass
    return ""


def is_network(fs_type: str) -> bool:
    """Whether a file system lives on another machine (or in a program we know nothing of)."""
    return fs_type in _NETWORK_TYPES or fs_type.startswith("fuse") or not fs_type


class _OpenDirectories:
    """The last used directories, open; the one unused for longest is closed for a new one."""

    def __init__(self, limit: int) -> None:
        self._limit = max(1, limit)
        self._open: OrderedDict[str, int] = OrderedDict()

    def get(self, path: str) -> int | None:
        fd = self._open.get(path)
        if fd is not None:
            self._open.move_to_end(path)
        return fd

    def keep(self, path: str, fd: int) -> None:
        self._open[path] = fd
        while len(self._open) > self._limit:
            os.close(self._open.popitem(last=False)[1])

    def forget(self, path: str) -> None:
        for known in list(self._open):
            if f"{known}/".startswith(f"{path}/") or f"{path}/".startswith(f"{known}/"):
                os.close(self._open.pop(known))


class Tree:
    """A directory tree that is never left; keeps its last used directories open."""

    def __init__(self, path: str, gid: int | None = None, fd: int | None = None) -> None:
        self.path = os.path.realpath(path) if fd is None else path
        self.fd = os.open(path, _ROOT) if fd is None else fd
        self._gid = gid
        spare = spare_descriptors(_OPEN_ABOVE_MAX + _OPEN_BELOW_MAX)
        below = min(_OPEN_BELOW_MAX, spare // 2)
        self._above = _OpenDirectories(spare - below)
        self._below = _OpenDirectories(below)

    def twin(self) -> Tree:
        """The same tree for another thread, with descriptors that nobody else closes."""
        return Tree(self.path, self._gid, os.open(".", _ROOT, dir_fd=self.fd))

    def directory(self, path: str, *, create: bool = False) -> int:
        """A descriptor of the directory; it belongs to the tree and stays valid for a while.

        Raises:
            BadPath: the path is not a plain relative one.
            OSError: a part is missing, is a link (ELOOP or ENOTDIR), or is forbidden.
        """
        if path:
            parts_of(path)
        return self._directory(path, self._below, create=create)

    def split(self, path: str, *, create: bool = False) -> tuple[int, str]:
        """The directory descriptor and the base name of a path."""
        parts_of(path)
        parent, _, name = path.rpartition("/")
        return self._directory(parent, self._below, create=create), name

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
        self._above.forget(path)
        self._below.forget(path)

    def _directory(self, path: str, kept: _OpenDirectories, *, create: bool) -> int:
        if not path:
            return self.fd
        fd = kept.get(path)
        if fd is None:
            parent, _, name = path.rpartition("/")
            above = self._directory(parent, self._above, create=create)
            fd = self._enter(above, name, create=create)
            kept.keep(path, fd)
        return fd

    def _enter(self, parent: int, name: str, *, create: bool) -> int:
        if not create:
            return os.open(name, _DIRECTORY, dir_fd=parent)
        try:
            os.mkdir(name, 0o775, dir_fd=parent)
        except FileExistsError:
            return os.open(name, _DIRECTORY, dir_fd=parent)
        fd = os.open(name, _DIRECTORY, dir_fd=parent)
        if self._gid is not None:
            os.chown(fd, -1, self._gid)
        os.chmod(fd, DIRECTORY_MODE)
        return fd
