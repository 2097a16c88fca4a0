"""Unpacks an archive to nowhere and lists the tar inside: the check that finds flipped bits.

zstd runs as a process of its own, with the memory limit that tar gives it in a build;
what it writes is bounded in size and time, since 60 kB can unpack to 2 GB.
"""

import gzip
import io
import os
import select
import shutil
import subprocess
import tarfile
import time
import zlib
from collections.abc import Generator, Iterator
from contextlib import closing
from typing import Optional

from . import archive

NO_ZSTD = "no zstd on the server"

_PIECE_BYTES = 256 * 1024
_RATIO_MAX = 1000
_OUTPUT_BYTES_MIN = 64 * 1024 * 1024
_TIME_LIMIT_S = 60.0
_SLOWEST_BYTES_PER_S = 1024 * 1024

_TAR_END_BYTES = 1024
_TAR_RECORD_BYTES = 10240
_COMPLAINT_BYTES = 2000
_NOISE = " \t\n:\\/"


class _DamageError(Exception):
    """What is wrong with the archive, in words."""


class _Unpacked(io.RawIOBase):
    """The unpacked bytes as a file for tarfile: counted, limited, never held.

    Attributes:
        size_bytes: how much was unpacked so far.
        last_used: offset behind the last byte that is not NUL.
    """

    def __init__(self, pieces: Iterator[bytes], limit_bytes: int) -> None:
        super().__init__()
        self.size_bytes = 0
        self.last_used = 0
        self._pieces = pieces
        self._limit_bytes = limit_bytes
        self._left = memoryview(b"")

    def readable(self) -> bool:
        """Say that it can be read."""
        return True

    def read(self, size_bytes: int = -1) -> bytes:
        """Return some bytes; none only at the end."""
        if not self._left:
            self._left = memoryview(self._next_piece())
        part = self._left[:size_bytes] if size_bytes >= 0 else self._left
        self._left = self._left[len(part) :]
        return bytes(part)

    def begins_with_nul(self) -> bool:
        """Look at the first byte without taking it."""
        self._left = self._left or memoryview(self._next_piece())
        return bytes(self._left[:1]) == b"\0"

    def drain(self) -> None:
        """Read to the end."""
        while self.read():
            pass

    def _next_piece(self) -> bytes:
        piece = next(self._pieces, b"")
        used = len(piece.rstrip(b"\0"))
        if used:
            self.last_used = self.size_bytes + used
        self.size_bytes += len(piece)
        if self.size_bytes > self._limit_bytes:
            raise _DamageError(f"unpacks to more than {self._limit_bytes} bytes")
        return piece


def check_file(fd: int, size_bytes: int, file_name: str, path: Optional[str] = None) -> str:
    """Say what is wrong inside an open archive; empty for a whole one, or for no archive.

    The answer `NO_ZSTD` says that this machine can not look inside. The file offset is
    moved.

    Args:
        fd: the archive, open for reading and seekable.
        size_bytes: of the archive.
        file_name: its ending tells the kind.
        path: where to look for zstd, as in PATH; that of the environment by default.

    Raises:
        OSError: the file could not be read, or zstd not be started.
    """
    damage = archive.check_file(fd, size_bytes, file_name)
    if damage or archive.checker(file_name) is None:
        return damage
    if file_name.endswith(".tgz"):
        pieces = _gunzip(fd)
    else:
        program = shutil.which("zstd", path=path)
        if not program:
            return NO_ZSTD
        pieces = _unzstd(program, fd, _TIME_LIMIT_S + size_bytes / _SLOWEST_BYTES_PER_S)
    os.lseek(fd, 0, os.SEEK_SET)
    with closing(pieces):
        return list_tar(pieces, size_bytes)


def list_tar(pieces: Iterator[bytes], packed_bytes: int) -> str:
    """Say what is wrong with the unpacked bytes of an archive; empty for a whole tar."""
    limit_bytes = max(_OUTPUT_BYTES_MIN, _RATIO_MAX * packed_bytes)
    try:
        _walk_tar(_Unpacked(pieces, limit_bytes))
    except _DamageError as found:
        return str(found)
    return ""


def _walk_tar(unpacked: _Unpacked) -> None:
    """Walk every header of the tar, and make sure that nothing but padding follows."""
    if unpacked.begins_with_nul():
        _expect_empty_tar(unpacked)
        return
    try:
        with tarfile.open(fileobj=unpacked, mode="r|") as tar:
            _pass_over_entries(tar)
            end = tar.offset
    except tarfile.TarError as problem:
        unpacked.drain()
        raise _DamageError(f"a broken tar inside: {problem}") from None
    unpacked.drain()
    if unpacked.last_used > end:
        raise _DamageError(f"a broken tar inside: no header at byte {end}")
    if unpacked.size_bytes - end < _TAR_END_BYTES:
        raise _DamageError("a broken tar inside: it has no end mark")


def _expect_empty_tar(unpacked: _Unpacked) -> None:
    """Accept one record of NUL: what bitbake packs for a task without files.

    Source: openembedded-core, sstate.bbclass, ``tar --files-from=/dev/null``. Older
    versions of tarfile can not read it from a stream.
    """
    unpacked.drain()
    if unpacked.last_used or unpacked.size_bytes > _TAR_RECORD_BYTES:
        raise _DamageError("NUL bytes instead of a tar inside")
    if unpacked.size_bytes < _TAR_END_BYTES:
        raise _DamageError("a broken tar inside: it has no end mark")


def _pass_over_entries(tar: tarfile.TarFile) -> None:
    while tar.next():
        tar.members.clear()  # type: ignore[attr-defined]  # or every header stays in memory


def _gunzip(fd: int) -> Generator[bytes, None, None]:
    try:
        with os.fdopen(os.dup(fd), "rb") as packed, gzip.GzipFile(fileobj=packed) as file:
            while piece := file.read(_PIECE_BYTES):
                yield piece
    except (EOFError, gzip.BadGzipFile, zlib.error) as problem:
        raise _DamageError(f"gzip: {problem}") from None


def _unzstd(program: str, fd: int, limit_s: float) -> Generator[bytes, None, None]:
    process = subprocess.Popen(
        (program, "-q", "-d", "-c", "--memory=128MB"),
        stdin=fd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={"LC_ALL": "C"},
    )
    with process:
        try:
            yield from _pieces(process, time.monotonic() + limit_s)
        finally:
            process.kill()


def _pieces(process: subprocess.Popen[bytes], deadline_s: float) -> Iterator[bytes]:
    """Pass on what zstd writes, then judge how it ended."""
    output, complaint = process.stdout, process.stderr
    if output is None or complaint is None:
        return
    while select.select([output], [], [], max(0.0, deadline_s - time.monotonic()))[0]:
        piece = os.read(output.fileno(), _PIECE_BYTES)
        if piece:
            yield piece
            continue
        text = complaint.read(_COMPLAINT_BYTES).decode("utf-8", "replace")
        if process.wait():
            raise _DamageError(f"zstd: {text.rpartition('stdin*')[2].strip(_NOISE) or 'failed'}")
        return
    raise _DamageError("unpacking takes too long")
