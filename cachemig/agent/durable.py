"""Make files and directories survive a power loss before anyone is told about them."""

from __future__ import annotations

import ctypes
import fcntl
import os
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from .tree import Tree

_NETWORK_TYPES = ("nfs", "nfs4", "cifs", "smb3", "9p", "ceph", "glusterfs", "lustre")
_SLOW_SYNC_S = 2.0
_FSYNC_THREADS = 8
_libc = ctypes.CDLL(None, use_errno=True)


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


class Durability:
    """One syncfs for a whole batch, or an fsync for each file where that can not be trusted.

    syncfs reports write errors only since Linux 5.8, does nothing useful on a network
    mount, and costs more than it saves when others keep the disk busy (over 2 s).
    """

    def __init__(self, tree: Tree, lock_fd: int) -> None:
        self._tree = tree
        self._lock_fd = lock_fd
        self._by_file = is_network(file_system_type(tree.fd)) or _kernel() < (5, 8)
        self._pool: ThreadPoolExecutor | None = None

    @property
    def by_file(self) -> bool:
        """Whether each file and directory is synced on its own."""
        return self._by_file

    def settle(self, files: Iterable[str], directories: Iterable[str]) -> None:
        """Return when the files' data and the directories' entries are on stable storage.

        Raises:
            OSError: the disk refused; nothing of this may be acknowledged.
        """
        if self._by_file:
            self._sync_each([*files, *directories])
            return
        started = time.monotonic()
        parents = {path.rpartition("/")[0] for path in files}
        for fd in self._one_per_device(parents | set(directories)):
            self._sync_file_system(fd)
        if time.monotonic() - started > _SLOW_SYNC_S:
            self._by_file = True

    def _one_per_device(self, directories: Iterable[str]) -> list[int]:
        """A cache's slots may be mounts of their own, so one descriptor for each device."""
        tops = {"/".join(path.split("/")[:-1]) for path in directories}
        devices = {}
        for top in tops | {""}:
            fd = self._tree.directory(top)
            device = os.fstat(fd).st_dev
            if device not in devices:
                devices[device] = os.dup(fd)
        return list(devices.values())

    def _sync_file_system(self, fd: int) -> None:
        try:
            fcntl.flock(self._lock_fd, fcntl.LOCK_EX)
            if _libc.syncfs(fd) != 0:
                number = ctypes.get_errno()
                raise OSError(number, os.strerror(number))
        finally:
            fcntl.flock(self._lock_fd, fcntl.LOCK_UN)
            os.close(fd)

    def _sync_each(self, paths: list[str]) -> None:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(_FSYNC_THREADS, thread_name_prefix="fsync")
        opened = []
        try:
            for path in dict.fromkeys(paths):
                if not path:
                    opened.append(os.dup(self._tree.fd))
                    continue
                parent, name = self._tree.split(path)
                opened.append(os.open(name, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=parent))
            list(self._pool.map(os.fsync, opened))
        finally:
            for fd in opened:
                os.close(fd)


def _kernel() -> tuple[int, int]:
    major, minor = os.uname().release.split(".")[:2]
    return int(major), int("".join(c for c in minor if c.isdigit()) or 0)
