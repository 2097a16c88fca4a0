"""Read files of a batch as frames, and notice when one changes under our hands."""

from __future__ import annotations

import errno
import hashlib
import os
import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from . import archive
from .frames import Buffer, PeerLost
from .protocol import PART_BYTES, Kind, Outcome
from .tree import BadPath, Tree
from .walk import Links

LAST = struct.Struct(">I12sQq32s")
PART = struct.Struct(">I")
_TOLD = {b"", *(outcome.value.encode("ascii") for outcome in Outcome)}
_UNTOLD = b"\0" * 32


class FileFrame(NamedTuple):
    """A frame that carries a part of a file, or its end."""

    kind: Kind
    head: Buffer
    data: Buffer


class FileEnd(NamedTuple):
    """The end of a file of a batch, by its number there.

    With an `outcome` the file was not read whole, and the data says why.
    """

    number: int
    outcome: Outcome | None
    size_bytes: int
    mtime_ns: int
    sha256: bytes
    data: memoryview


class Unreadable(Exception):
    """A file can not be sent; says what became of it and why."""

    def __init__(self, outcome: Outcome, why: str) -> None:
        super().__init__(why)
        self.outcome = outcome
        self.why = why


def read_batch(tree: Tree, links: Links, files: Iterable[tuple[str, int]]) -> Iterator[FileFrame]:
    """Yield the PART and LAST frames of each file, in order.

    A file is named with the most bytes that are sent of it; a larger one is told as changed.
    Head and data are apart, so that the bytes of a file are not copied about; the data of
    a frame is good until the next one is asked for. The head of a LAST frame holds the
    file's index, its outcome (empty: read whole), size, mtime and SHA-256; its data is the
    rest of the file, or why it was not read.
    """
    place = memoryview(bytearray(PART_BYTES))
    for index, (path, limit_bytes) in enumerate(files):
        try:
            fd = open_source(tree, links, path)
            try:
                _refuse_larger(fd, limit_bytes)
                yield from _read_file(fd, index, path, place)
            finally:
                os.close(fd)
        except Unreadable as trouble:
            head = LAST.pack(index, trouble.outcome.value.encode("ascii"), 0, 0, _UNTOLD)
            yield FileFrame(Kind.LAST, head, trouble.why.encode("utf-8"))


class Expected:
    """Holds file frames to what was asked for: each file in order, none beyond its limit."""

    def __init__(self, limits_bytes: Sequence[int]) -> None:
        self._limits_bytes = limits_bytes
        self._index = 0
        self._came_bytes = 0

    @property
    def all_came(self) -> bool:
        """Whether every file had its end."""
        return self._index == len(self._limits_bytes)

    def takes(self, kind: Kind, payload: Buffer) -> bool:
        """Whether a PART or LAST can be the next one; then `file_end` can read a LAST."""
        size_bytes = len(payload) - (LAST if kind is Kind.LAST else PART).size
        if self.all_came or size_bytes < 0 or PART.unpack_from(payload)[0] != self._index:
            return False
        limit_bytes = self._limits_bytes[self._index]
        if kind is Kind.PART:
            self._came_bytes += size_bytes
            return size_bytes > 0 and self._came_bytes <= limit_bytes
        told = LAST.unpack_from(payload)[1].rstrip(b"\0")
        whole_bytes = self._came_bytes + (0 if told else size_bytes)
        self._index += 1
        self._came_bytes = 0
        return told in _TOLD and whole_bytes <= limit_bytes


def file_end(payload: Buffer) -> FileEnd:
    """Read a LAST frame.

    Raises:
        PeerLost: it is none.
    """
    try:
        index, told, size_bytes, mtime_ns, sha256 = LAST.unpack_from(payload)
        outcome = Outcome(told.rstrip(b"\0").decode("ascii")) if told.strip(b"\0") else None
    except (struct.error, ValueError):
        raise PeerLost("the end of a file is none") from None
    return FileEnd(index, outcome, size_bytes, mtime_ns, sha256, memoryview(payload)[LAST.size :])


def open_source(tree: Tree, links: Links, path: str) -> int:
    """Open a file, or the target of a link that leads below a followed root.

    Raises:
        Unreadable: it vanished, is forbidden, or is not a regular file.
    """
    try:
        try:
            return tree.open_file(path)
        except OSError as error:
            if error.errno != errno.ELOOP:
                raise
        parent, name = tree.split(path)
        found = links.resolve(tree, path, os.readlink(name, dir_fd=parent))
        if found is None:
            raise Unreadable(Outcome.REJECTED, "it is a link that leads outside the known roots")
        return found[0].open_file(found[1])
    except FileNotFoundError:
        raise Unreadable(Outcome.VANISHED, "it is gone") from None
    except BadPath:
        raise Unreadable(Outcome.REJECTED, "the name could lead outside the root") from None
    except OSError as error:
        if error.errno == errno.EINVAL:  # readlink on something that is no link either
            raise Unreadable(Outcome.REJECTED, "it is not a regular file") from None
        raise Unreadable(Outcome.FAILED, error.strerror or str(error)) from None


def _refuse_larger(fd: int, limit_bytes: int) -> None:
    if os.fstat(fd).st_size > limit_bytes:
        raise Unreadable(Outcome.CHANGED, "its size is far beyond what was planned")


def _read_file(fd: int, index: int, path: str, place: memoryview) -> Iterator[FileFrame]:
    before = os.fstat(fd)
    digest = hashlib.sha256()
    checker = archive.checker(path)
    left_bytes = before.st_size
    while True:
        data = _read(fd, place[:left_bytes])
        left_bytes -= len(data)
        digest.update(data)
        if checker is not None:
            checker.feed(data)
        if not left_bytes or not data:
            break
        yield FileFrame(Kind.PART, PART.pack(index), data)
    size_bytes = before.st_size - left_bytes
    mtime_ns = _settled_mtime_ns(fd, before, size_bytes, digest.digest())
    damage = checker.finish() if checker is not None else ""
    if damage:
        raise Unreadable(Outcome.DAMAGED, damage)
    head = LAST.pack(index, b"", size_bytes, mtime_ns, digest.digest())
    yield FileFrame(Kind.LAST, head, data)


def _read(fd: int, place: memoryview) -> memoryview:
    try:
        return place[: os.readv(fd, [place])]
    except OSError as error:
        raise Unreadable(Outcome.FAILED, error.strerror or str(error)) from None


def _settled_mtime_ns(fd: int, before: os.stat_result, size_bytes: int, sha256: bytes) -> int:
    """The file's mtime, if what was read is what it held all the while.

    BitBake touches an object on every hit, so new times alone are no reason to give up:
    the file is digested once more.
    """
    after = os.fstat(fd)
    if after.st_size != before.st_size or size_bytes != before.st_size:
        raise Unreadable(Outcome.CHANGED, "its size changed while it was read")
    times_moved = (after.st_mtime_ns, after.st_ctime_ns) != (before.st_mtime_ns, before.st_ctime_ns)
    if times_moved and digest_of(fd, size_bytes) != sha256:
        raise Unreadable(Outcome.CHANGED, "its content changed while it was read")
    return after.st_mtime_ns


def digest_of(fd: int, size_bytes: int) -> bytes:
    """SHA-256 of an open file's first bytes, however much it grows meanwhile."""
    digest = hashlib.sha256()
    os.lseek(fd, 0, os.SEEK_SET)
    while size_bytes:
        data = os.read(fd, min(size_bytes, 1024 * 1024))
        if not data:
            break
        digest.update(data)
        size_bytes -= len(data)
    return digest.digest()
