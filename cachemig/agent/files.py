"""What can be asked of single files below a root, and the one thing that moves their times."""

from __future__ import annotations

import os
import stat
import time
from typing import Any

from . import archive
from .source import Unreadable, digest_of, open_source
from .tree import Tree
from .walk import Links

_NOTHING_FOLLOWED = Links([])


def look(tree: Tree, path: str) -> list[int] | None:
    """Size (-1: no regular file) and time of what has the name; None for nothing, or a link."""
    try:
        status = tree.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    if stat.S_ISLNK(status.st_mode):
        return None
    return [status.st_size if stat.S_ISREG(status.st_mode) else -1, status.st_mtime_ns]


def digest(tree: Tree, path: str) -> list[Any]:
    """Path, size, SHA-256 in hex, and why it could not be read."""
    try:
        fd = open_source(tree, _NOTHING_FOLLOWED, path)
    except Unreadable as trouble:
        return [path, 0, "", f"{trouble.outcome.value}: {trouble.why}"]
    try:
        size_bytes = os.fstat(fd).st_size
        return [path, size_bytes, digest_of(fd, size_bytes).hex(), ""]
    except OSError as error:
        return [path, 0, "", error.strerror or "unreadable"]
    finally:
        os.close(fd)


def check(tree: Tree, links: Links, path: str, *, deep_check: bool) -> list[Any]:
    """Path, size, what is wrong with the archive, and why it could not be looked at."""
    inspect = archive.check_file
    if deep_check:
        from . import deep  # noqa: PLC0415 - no other agent needs tarfile and all behind it

        inspect = deep.check_file
    try:
        fd = open_source(tree, links, path)
    except Unreadable as trouble:
        return [path, 0, "", trouble.why]
    try:
        size_bytes = os.fstat(fd).st_size
        return [path, size_bytes, inspect(fd, size_bytes, path), ""]
    except OSError as error:
        return [path, 0, "", error.strerror or "unreadable"]
    finally:
        os.close(fd)


def touch(tree: Tree, path: str, mtime_ns: int) -> bool:
    """Move a file's time forward to the given one; False when it is there already, or gone.

    A file of another account that we may write to can only be given the present time; for
    cleaners that is as good.
    """
    try:
        fd = tree.open_file(path)
    except OSError:
        return False
    try:
        status = os.fstat(fd)
        if status.st_mtime_ns >= mtime_ns:
            return False
        try:
            os.utime(fd, ns=(max(status.st_atime_ns, mtime_ns), mtime_ns))
        except PermissionError:
            if time.time_ns() < mtime_ns:
                return False
            os.utime(fd)
    except (OSError, OverflowError):
        return False
    else:
        return True
    finally:
        os.close(fd)


def space(tree: Tree) -> list[int]:
    """Free bytes, all bytes, and free inodes (-1 where a file system does not count them)."""
    found = os.fstatvfs(tree.fd)
    free_inodes = found.f_favail if found.f_files else -1
    return [found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize, free_inodes]
