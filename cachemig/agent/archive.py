"""Tells a whole archive from a cut or broken one by its structure, without unpacking it.

A zstd archive is a row of frames, a frame a row of blocks, and every block says how long
it is. So a walk over the headers finds each end that is missing, at the price of a few
bytes per 128 KiB. What it can not find: flipped bits inside a block, and a file of
several frames that was cut exactly between two of them.

Source: RFC 8878 (zstd), sections 3.1.1 and 3.1.2; RFC 1952 (gzip).
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Generator
from typing import NamedTuple, Protocol

from .frames import Buffer

EMPTY = "empty"
NOT_ZSTD = "not a zstd archive"
NOT_GZIP = "not a gzip archive"
IN_FRAME_HEADER = "ends inside a frame header"
IN_BLOCK = "ends inside a block"
IN_CHECKSUM = "ends inside a checksum"
IN_SKIPPABLE = "ends inside a skippable frame"
BEFORE_BLOCK = "ends before the last block"
BAD_FRAME_HEADER = "a frame header that can not be"
BAD_BLOCK = "a block that can not be"
NO_DATA_FRAME = "holds no data frame"
TRAILING = "bytes after the last frame"
IN_MEMBER = "ends inside a gzip member"
BROKEN_MEMBER = "a gzip member that does not unpack"

ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_SKIPPABLE_MAGIC = 0x184D2A50
_SKIPPABLE_MASK = 0xFFFFFFF0
_BLOCK_BYTES_MAX = 128 * 1024
_RLE = 1
_COMPRESSED = 2
_RESERVED = 3
_COMPRESSED_BYTES_MIN = 2
_DICTIONARY_ID_BYTES = (0, 1, 2, 4)
_CONTENT_SIZE_BYTES = (0, 2, 4, 8)

_GZIP_FORMAT = 31
_GZIP_MAGIC = b"\x1f\x8b"
_INPUT_PIECE_BYTES = 16 * 1024
_OUTPUT_PIECE_BYTES = 256 * 1024
_READ_BYTES = 256 * 1024


class _Step(NamedTuple):
    """What a walk wants next: `length` bytes, handed over only if `wanted`.

    Attributes:
        length: in bytes; 0 is allowed.
        wanted: the bytes themselves are needed, not just that they are there.
        if_cut: what to say of an archive that ends before or inside these bytes.
        may_end: an archive that ends right before these bytes is whole.
    """

    length: int
    wanted: bool
    if_cut: str
    may_end: bool = False


_Walk = Generator[_Step, bytes, str]


class Checker(Protocol):
    """Follows one archive as its bytes come by."""

    def feed(self, data: Buffer) -> None:
        """Take the next bytes of the file, however many."""

    def finish(self) -> str:
        """Say what is wrong with the archive that ends here; empty for a whole one."""


class ZstdChecker:
    """Follows frame and block headers; the bodies between them are passed over unread."""

    def __init__(self) -> None:
        self._walk = _zstd_walk()
        self._step = next(self._walk)
        self._missing = self._step.length
        self._kept = bytearray()
        self._damage = ""
        self._fed = False

    def feed(self, data: Buffer) -> None:
        """Take the next bytes of the file, however many."""
        at = 0
        self._fed = self._fed or bool(data)
        while at < len(data) and not self._damage:
            taken = min(self._missing, len(data) - at)
            if self._step.wanted:
                self._kept += data[at : at + taken]
            self._missing -= taken
            at += taken
            self._advance()

    def finish(self) -> str:
        """Say what is wrong with the archive that ends here; empty for a whole one."""
        if self._damage:
            return self._damage
        if not self._fed:
            return EMPTY
        if self._step.may_end and not self._kept:
            return ""
        return self._step.if_cut

    def _advance(self) -> None:
        while not self._missing and not self._damage:
            try:
                self._step = self._walk.send(bytes(self._kept))
            except StopIteration as end:
                self._damage = end.value
            self._missing = self._step.length
            self._kept.clear()


class GzipChecker:
    """Unpacks to nowhere, in bounded pieces: gzip tells its end and its CRC in no other way."""

    def __init__(self) -> None:
        self._inflate = zlib.decompressobj(_GZIP_FORMAT)
        self._head = b""
        self._members = 0
        self._inside = False
        self._damage = ""

    def feed(self, data: Buffer) -> None:
        """Take the next bytes of the file, however many."""
        for at in range(0, len(data), _INPUT_PIECE_BYTES):
            piece = bytes(data[at : at + _INPUT_PIECE_BYTES])
            while piece and not self._damage:
                piece = self._consume(piece) if self._inside else self._begin_member(piece)

    def finish(self) -> str:
        """Say what is wrong with the archive that ends here; empty for a whole one."""
        if self._damage or self._inside:
            return self._damage or IN_MEMBER
        if self._head:
            return TRAILING if self._members else NOT_GZIP
        return "" if self._members else EMPTY

    def _begin_member(self, piece: bytes) -> bytes:
        self._head += piece
        if not _GZIP_MAGIC.startswith(self._head[:2]):
            self._damage = TRAILING if self._members else NOT_GZIP
            return b""
        if len(self._head) < len(_GZIP_MAGIC):
            return b""
        rest, self._head, self._inside = self._head, b"", True
        return rest

    def _consume(self, piece: bytes) -> bytes:
        """Unpack one piece; return what follows the member when it ends here."""
        try:
            while piece and not self._inflate.eof:
                self._inflate.decompress(piece, _OUTPUT_PIECE_BYTES)
                piece = self._inflate.unconsumed_tail
        except zlib.error as problem:
            self._damage = f"{BROKEN_MEMBER}: {problem}"
            return b""
        if not self._inflate.eof:
            return b""
        rest = self._inflate.unused_data
        self._inflate = zlib.decompressobj(_GZIP_FORMAT)
        self._members += 1
        self._inside = False
        return rest


_CHECKERS: tuple[tuple[str, Callable[[], Checker]], ...] = (
    (".tar.zst", ZstdChecker),
    (".tgz", GzipChecker),
)


def checker(file_name: str) -> Checker | None:
    """Make the checker for an archive's name; None for a file that is no archive."""
    for ending, kind in _CHECKERS:
        if file_name.endswith(ending):
            return kind()
    return None


def check_file(fd: int, size_bytes: int, file_name: str) -> str:
    """Say what is wrong with an open archive; empty for a whole one, or for no archive.

    Of a zstd archive only the headers are read. The file offset is left alone.

    Raises:
        OSError: the file could not be read.
    """
    follower = checker(file_name)
    if follower is None:
        return ""
    if isinstance(follower, ZstdChecker):
        return _check_zstd_headers(fd, size_bytes)
    offset = 0
    while data := os.pread(fd, min(_READ_BYTES, size_bytes - offset), offset):
        follower.feed(data)
        offset += len(data)
    return follower.finish()


def _check_zstd_headers(fd: int, size_bytes: int) -> str:
    if not size_bytes:
        return EMPTY
    walk = _zstd_walk()
    step = next(walk)
    offset = 0
    while True:
        if step.may_end and offset == size_bytes:
            return ""
        if offset + step.length > size_bytes:
            return step.if_cut
        data = os.pread(fd, step.length, offset) if step.wanted else b""
        if step.wanted and len(data) < step.length:
            return step.if_cut
        offset += step.length
        try:
            step = walk.send(data)
        except StopIteration as end:
            return str(end.value)


def _zstd_walk() -> _Walk:
    """Ask for the parts of an archive one by one; return the damage that stops the walk."""
    if_cut = NOT_ZSTD
    while True:
        magic = yield _Step(4, True, if_cut, may_end=if_cut == TRAILING)
        if magic == ZSTD_MAGIC:
            damage = yield from _data_frame()
            if_cut = TRAILING
        elif int.from_bytes(magic, "little") & _SKIPPABLE_MASK == _SKIPPABLE_MAGIC:
            length = yield _Step(4, True, IN_SKIPPABLE)
            yield _Step(int.from_bytes(length, "little"), False, IN_SKIPPABLE)
            damage = ""
            if_cut = TRAILING if if_cut == TRAILING else NO_DATA_FRAME
        else:
            return if_cut
        if damage:
            return damage


def _data_frame() -> _Walk:
    descriptor = (yield _Step(1, True, IN_FRAME_HEADER))[0]
    if descriptor & 0b1000:
        return BAD_FRAME_HEADER
    yield _Step(_frame_header_bytes(descriptor), False, IN_FRAME_HEADER)
    last = False
    while not last:
        header = int.from_bytes((yield _Step(3, True, BEFORE_BLOCK)), "little")
        last = bool(header & 1)
        kind, size_bytes = header >> 1 & 3, header >> 3
        if not _block_can_be(kind, size_bytes):
            return BAD_BLOCK
        yield _Step(1 if kind == _RLE else size_bytes, False, IN_BLOCK)
    if descriptor & 0b100:
        yield _Step(4, False, IN_CHECKSUM)
    return ""


def _frame_header_bytes(descriptor: int) -> int:
    """Add up what follows the descriptor: window, dictionary id, content size."""
    single_segment = bool(descriptor & 0b10_0000)
    content_size_flag = descriptor >> 6
    content_size_bytes = _CONTENT_SIZE_BYTES[content_size_flag]
    if single_segment and not content_size_flag:
        content_size_bytes = 1
    window_bytes = 0 if single_segment else 1
    return window_bytes + _DICTIONARY_ID_BYTES[descriptor & 3] + content_size_bytes


def _block_can_be(kind: int, size_bytes: int) -> bool:
    if kind == _RESERVED or size_bytes > _BLOCK_BYTES_MAX:
        return False
    return kind != _COMPRESSED or size_bytes >= _COMPRESSED_BYTES_MIN
