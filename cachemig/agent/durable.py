"""Make files and directories survive a power loss before anyone is told about them."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import time
from collections.abc import Collection
from typing import TYPE_CHECKING

from .tree import Tree, file_system_type, is_network, spare_descriptors

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

_SLOW_SYNC_S = 2.0
_FSYNC_THREADS = 8
_FSYNC_AT_ONCE = 128
_TURN_INTERVAL_S = 0.005
TURN_LIMIT_S = 5.0
_libc = ctypes.CDLL(None, use_errno=True)


class Durability:
    """One syncfs for a whole batch, or an fsync for each file where that can not be trusted.

    syncfs reports write errors only since Linux 5.8, does nothing useful on a network
    mount, and costs more than it saves when others keep the disk busy (over 2 s).
    """

    def __init__(self, tree: Tree, lock_fd: int) -> None:
        self._tree = tree
        self._lock_fd = lock_fd
        self._by_file = is_network(file_system_type(tree.fd)) or _kernel() < (5, 8)
        self._local_devices: set[int] = set()
        self._pool: ThreadPoolExecutor | None = None

    def settle(self, files: Collection[str], directories: Collection[str]) -> None:
        """Return when the files' data and the directories' entries are on stable storage.

        What is gone again was removed by a cleaner, and needs no storage.

        Raises:
            OSError: the disk refused; nothing of this may be acknowledged.
        """
        paths = [*files, *directories]
        folders = {path.rpartition("/")[0] for path in files} | set(directories)
        if self._by_file or not self._sync_file_systems(folders):
            self._sync_each(paths)

    def _sync_file_systems(self, folders: set[str]) -> bool:
        """Sync all file systems that hold a folder; False when one of them is a network mount."""
        started = time.monotonic()
        with contextlib.ExitStack() as opened:
            held = self._one_per_device(folders)
            for fd in held.values():
                opened.callback(os.close, fd)
            if not all(self._is_local(device, fd) for device, fd in held.items()):
                self._by_file = True
                return False
            for fd in held.values():
                self._sync_file_system(fd)
        if time.monotonic() - started > _SLOW_SYNC_S:
            self._by_file = True
        return True

    def _one_per_device(self, folders: set[str]) -> dict[int, int]:
        """A cache's slots may be mounts of their own, so one descriptor for each device."""
        held = {os.fstat(self._tree.fd).st_dev: os.dup(self._tree.fd)}
        for parent in {folder.rpartition("/")[0] for folder in folders}:
            with contextlib.suppress(FileNotFoundError):
                fd = self._tree.directory(parent)
                device = os.fstat(fd).st_dev
                if device not in held:
                    held[device] = os.dup(fd)
        return held

    def _is_local(self, device: int, fd: int) -> bool:
        if device not in self._local_devices and not is_network(file_system_type(fd)):
            self._local_devices.add(device)
        return device in self._local_devices

    def _sync_file_system(self, fd: int) -> None:
        self._wait_for_turn()
        try:
            if _libc.syncfs(fd) != 0:
                number = ctypes.get_errno()
                raise OSError(number, os.strerror(number))
        finally:
            with contextlib.suppress(OSError):
                fcntl.flock(self._lock_fd, fcntl.LOCK_UN)

    def _wait_for_turn(self) -> None:
        """One sync at a time is quicker, but a hung process that holds the lock hangs nobody."""
        end_s = time.monotonic() + TURN_LIMIT_S
        while time.monotonic() < end_s:
            try:
                fcntl.flock(self._lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                time.sleep(_TURN_INTERVAL_S)
            except OSError:
                return
            else:
                return

    def _sync_each(self, paths: list[str]) -> None:
        if self._pool is None:
            # It takes a fifth of an agent's start, and few agents ever sync by file.
            from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415

            self._pool = ThreadPoolExecutor(_FSYNC_THREADS, thread_name_prefix="fsync")
        waiting = list(dict.fromkeys(paths))
        at_once = spare_descriptors(_FSYNC_AT_ONCE)
        while waiting:
            part, waiting = waiting[:at_once], waiting[at_once:]
            with contextlib.ExitStack() as opened:
                held = [fd for fd in map(self._open, part) if fd is not None]
                for fd in held:
                    opened.callback(os.close, fd)
                list(self._pool.map(os.fsync, held))

    def _open(self, path: str) -> int | None:
        if not path:
            return os.dup(self._tree.fd)
        try:
            return self._tree.open_any(path)
        except FileNotFoundError:
            self._tree.forget(path.rpartition("/")[0])
        try:
            return self._tree.open_any(path)
        except FileNotFoundError:
            return None


def _kernel() -> tuple[int, int]:
    major, minor = os.uname().release.split(".")[:2]
    return int(major), int("".join(c for c in minor if c.isdigit()) or 0)
