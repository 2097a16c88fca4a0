"""Bring a batch of files under their final names, so that no reader ever sees half of one.

Temps with short names of our own in the destination directory -> digest compared with
the sender's -> data durable -> hard links, companions before archives, never over
anything -> directories durable -> receipt. BitBake publishes by hard link too
(openembedded-core 35a2c6ed79, meta/classes-global/sstate.bbclass,
sstate_create_and_sign_package), so the file systems it writes to allow that.
"""

from __future__ import annotations

import ctypes
import errno
import hashlib
import os
import stat
from typing import Any, NamedTuple

from . import archive
from .frames import Buffer
from .protocol import Outcome
from .root import temp_prefix
from .tree import BadPath, Tree

FILE_MODE = 0o664
_TEMP = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_RENAME_EXCHANGE = 2
_CAN_NOT_EXCHANGE = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)
_COMPANIONS = (".siginfo", ".sig")
_SPOIL_ARCHIVE = (Outcome.FAILED, Outcome.CHANGED)
_libc = ctypes.CDLL(None, use_errno=True)


class Result(NamedTuple):
    """What became of one file; `number` is the errno when the disk refused it."""

    outcome: Outcome
    cause: str = ""
    number: int = 0


class Incoming:
    """One file on its way in: a temp that grows, and its digest."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.directory = path.rpartition("/")[0]
        self.temp = ""
        self.fd = -1
        self.size_bytes = 0
        self.mtime_ns = 0
        self.digest = hashlib.sha256()
        self.result: Result | None = None

    @property
    def temp_path(self) -> str:
        """The temp's path below the root."""
        return f"{self.directory}/{self.temp}" if self.directory else self.temp

    def receipt(self) -> list[Any]:
        """The row of a reply: outcome, size, digest, mtime, cause, errno."""
        result = self.result or Result(Outcome.FAILED, "it was never finished")
        whole = result.outcome is Outcome.PUBLISHED
        sha256 = self.digest.hexdigest() if whole else ""
        return [result.outcome.value, self.size_bytes, sha256, self.mtime_ns, *result[1:]]


class Batch(NamedTuple):
    """The files of one request, in the order in which they are to be linked."""

    request: int
    files: list[Incoming]

    def unsettled(self) -> list[Incoming]:
        """Files that go well so far: to be linked, or linked and not yet known to be durable."""
        return [file for file in self.files if file.result is None]

    def directories(self) -> set[str]:
        """The directories of the unsettled files, and every one above them up to the root."""
        found = {""}
        for file in self.unsettled():
            path = file.directory
            while path and path not in found:
                found.add(path)
                path = path.rpartition("/")[0]
        return found


class Receiver:
    """Writes what arrives into temps; one thread uses it, with a tree of its own."""

    def __init__(self, tree: Tree, writer: str, gid: int | None) -> None:
        self._tree = tree
        self._prefix = temp_prefix(writer)
        self._gid = gid
        self._made = 0

    def receive(self, file: Incoming, data: Buffer) -> None:
        """Append bytes to the file's temp; trouble becomes its result."""
        if file.result is not None or (not len(data) and file.temp):
            return
        try:
            if not file.temp:
                self._create(file)
            view = memoryview(data)
            while view:
                view = view[os.write(file.fd, view) :]
            file.digest.update(data)
            file.size_bytes += len(data)
        except BadPath:
            file.result = Result(Outcome.REJECTED, "the name could lead outside the root")
        except OSError as error:
            give_up(self._tree, file, refused(error))

    def complete(self, file: Incoming, size_bytes: int, mtime_ns: int, sha256: bytes) -> None:
        """Compare what arrived with what the sender read, and set mode, group and time."""
        file.mtime_ns = mtime_ns
        if file.result is not None:
            return
        if file.size_bytes != size_bytes or file.digest.digest() != sha256:
            give_up(self._tree, file, Result(Outcome.FAILED, "other bytes arrived than were sent"))
            return
        try:
            if self._gid is not None:
                os.fchown(file.fd, -1, self._gid)
            os.utime(file.fd, ns=(mtime_ns, mtime_ns))
            fd, file.fd = file.fd, -1
            os.close(fd)
        except (OSError, OverflowError) as error:
            give_up(self._tree, file, refused(error))

    def give_up(self, file: Incoming, result: Result) -> None:
        """Remove the temp; the result says why. A first result is kept."""
        give_up(self._tree, file, result)

    def _create(self, file: Incoming) -> None:
        try:
            parent, _ = self._tree.split(file.path, create=True)
            file.fd = self._open_temp(file, parent)
        except FileNotFoundError:
            self._tree.forget(file.directory)
            parent, _ = self._tree.split(file.path, create=True)
            file.fd = self._open_temp(file, parent)

    def _open_temp(self, file: Incoming, parent: int) -> int:
        self._made += 1
        temp = f"{self._prefix}{self._made:x}"
        fd = os.open(temp, _TEMP, FILE_MODE, dir_fd=parent)
        file.temp = temp
        return fd


class Linker:
    """Gives whole files their final names; one thread uses it, with a tree of its own."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree

    def link(self, batch: Batch) -> None:
        """Give each file its final name unless something has it; remove the temps."""
        broken: dict[str, Result] = {}
        for file in batch.files:
            stem = _archive_path(file.path)
            if file.result is None and file.path == stem and stem in broken:
                first = broken[stem]
                why = f"its companion {first.outcome.value}: {first.cause}"
                give_up(self._tree, file, first._replace(cause=why))
            if file.result is None:
                self._link(file)
            if file.result is not None and file.result.outcome in _SPOIL_ARCHIVE:
                broken[stem] = file.result

    def give_up(self, file: Incoming, result: Result) -> None:
        """Remove the temp; the result says why. A first result is kept."""
        give_up(self._tree, file, result)

    def _link(self, file: Incoming) -> None:
        try:
            try:
                file.result = self._give_name(file)
            except FileNotFoundError:  # a cleaner removed the directory that is held open here
                self._tree.forget(file.directory)
                file.result = self._give_name(file)
            _unlink(self._tree, file)
        except OSError as error:
            give_up(self._tree, file, refused(error))

    def _give_name(self, file: Incoming) -> Result | None:
        fd, name = self._tree.split(file.path)
        try:
            os.link(file.temp, name, src_dir_fd=fd, dst_dir_fd=fd, follow_symlinks=False)
        except FileExistsError:
            return self._met(fd, file, name)
        return None

    def _met(self, parent: int, file: Incoming, name: str) -> Result | None:
        """Something has the name: ourselves after a lost reply, a link, or another's file."""
        there = os.stat(name, dir_fd=parent, follow_symlinks=False)
        ours = os.stat(file.temp, dir_fd=parent, follow_symlinks=False)
        if (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino):
            return None
        if stat.S_ISLNK(there.st_mode) and _replace_link(parent, file.temp, name):
            return None
        return self._compare(file)

    def _compare(self, file: Incoming) -> Result:
        """Say what has the name: the same by size, another's whole file, or a broken one."""
        fd = self._tree.open_file(file.path)
        try:
            found_bytes = os.fstat(fd).st_size
            if found_bytes == file.size_bytes:
                return Result(Outcome.PRESENT)
            damage = archive.check_file(fd, found_bytes, file.path)
        finally:
            os.close(fd)
        return Result(Outcome.DAMAGED, f"there: {damage}") if damage else Result(Outcome.FOREIGN)


def refused(error: Exception) -> Result:
    """The result of a file that the disk would not take."""
    number = getattr(error, "errno", None) or errno.EIO
    return Result(Outcome.FAILED, getattr(error, "strerror", None) or str(error), number)


def give_up(tree: Tree, file: Incoming, result: Result) -> None:
    """Remove the temp; the result says why. A first result is kept."""
    if file.result is None:
        file.result = result
    if file.fd >= 0:
        os.close(file.fd)
        file.fd = -1
    if file.temp:
        _unlink(tree, file)


def _unlink(tree: Tree, file: Incoming) -> None:
    """Remove the temp; one that the disk does not let go stays the file's, to be swept later."""
    try:
        os.unlink(file.temp, dir_fd=tree.directory(file.directory))
    except FileNotFoundError:
        pass
    except OSError:
        return
    file.temp = ""


def _archive_path(path: str) -> str:
    for suffix in _COMPANIONS:
        if path.endswith(suffix):
            return path[: -len(suffix)]
    return path


def _replace_link(parent: int, temp: str, name: str) -> bool:
    """Put the temp where a link is, in one step; False if it is no link any more.

    The two are exchanged, and changed back should a file have taken the link's place in
    between. A file system that can not exchange (NFS) gets a plain rename.

    Raises:
        FileNotFoundError: the link is gone, so the name is free.
        OSError: the disk refused.
    """
    number = _exchange(parent, temp, name)
    if number in _CAN_NOT_EXCHANGE:
        os.rename(temp, name, src_dir_fd=parent, dst_dir_fd=parent)
        return True
    if number:
        raise OSError(number, os.strerror(number), name)
    if stat.S_ISLNK(os.stat(temp, dir_fd=parent, follow_symlinks=False).st_mode):
        return True
    _exchange(parent, temp, name)
    return False


def _exchange(parent: int, one: str, other: str) -> int:
    """Let two names change places in one step; the errno, or 0."""
    if not hasattr(_libc, "renameat2"):
        return errno.ENOSYS
    names = (parent, os.fsencode(one), parent, os.fsencode(other))
    return ctypes.get_errno() if _libc.renameat2(*names, _RENAME_EXCHANGE) else 0
