"""Prove the files of one server: digests and structure, computed where the files lie."""

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from enum import StrEnum, auto
from typing import TYPE_CHECKING, NamedTuple

import zstandard

from cachemig.agent import deep
from cachemig.agent.protocol import Outcome
from cachemig.catalog.receipts import AuditedFile
from cachemig.errors import IncompleteError
from cachemig.stores.base import ArchiveVerdict, FileDigest
from cachemig.stores.remote import RemoteStore

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_WINDOW_BYTES_MAX = 128 * 1024 * 1024  # as tar allows zstd in a build
_PIECE_BYTES = 256 * 1024


class FileState(StrEnum):
    """How one file stands. Only DIFFERS and DAMAGED say that bytes are wrong.

    STRUCTURE_ONLY is an archive of others: its structure is whole, nothing more is known.
    UNPROVED is a companion of others, of which nothing can be said.
    """

    WHOLE = auto()
    STRUCTURE_ONLY = auto()
    UNPROVED = auto()
    DIFFERS = auto()
    DAMAGED = auto()
    MISSING = auto()
    UNREADABLE = auto()


class Finding(NamedTuple):
    """What was found of one file; the path is below the server's root."""

    server: str
    path: str
    state: FileState
    size_bytes: int
    cause: str = ""


class Prover:
    """Proves batches of files through one connection."""

    def __init__(self, store: RemoteStore, *, deep: bool, no_zstd: Callable[[str], None]) -> None:
        self._store = store
        self._deep = deep
        self._no_zstd = no_zstd

    def prove(self, files: Sequence[AuditedFile]) -> Iterator[Finding]:
        """Give the finding of every file, in an order of its own.

        Raises:
            AccessError: the connection was lost; ask for the batch again.
        """
        there = [file for file in files if file.size_bytes is not None]
        yield from (self._unseen(file) for file in files if not _can_be_proved(file))
        digested = {found.path: found for found in self._digests(there)}
        to_open = [file for file in there if self._must_be_opened(file, digested)]
        opened = {found.path: found for found in self._structures(to_open)}
        yield from (digested | opened).values()

    def _unseen(self, file: AuditedFile) -> Finding:
        """Judge a file that is gone, or of which nothing can be said."""
        if file.size_bytes is None:
            return Finding(self._store.server, file.path, FileState.MISSING, 0, "it is gone")
        return Finding(self._store.server, file.path, FileState.UNPROVED, 0)

    def _digests(self, files: Sequence[AuditedFile]) -> Iterator[Finding]:
        receipted = [file for file in files if file.sha256]
        digests = self._store.digest([file.path for file in receipted])
        for file, digest in zip(receipted, digests, strict=True):
            yield self._by_digest(file, digest)

    def _must_be_opened(self, file: AuditedFile, digested: Mapping[str, Finding]) -> bool:
        """An archive that no digest speaks for; with `deep`, also one whose digest is right."""
        if not file.is_archive or not file.sha256:
            return file.is_archive
        return self._deep and digested[file.path].state is FileState.WHOLE

    def _structures(self, files: Sequence[AuditedFile]) -> Iterator[Finding]:
        verdicts = list(self._store.check([file.path for file in files], deep=self._deep))
        for file, verdict in zip(files, verdicts, strict=True):
            yield self._by_structure(file, verdict)

    def _by_digest(self, file: AuditedFile, digest: FileDigest) -> Finding:
        found = Finding(self._store.server, file.path, FileState.WHOLE, digest.size_bytes)
        if digest.problem:
            gone = digest.problem.startswith(Outcome.VANISHED.value)
            state = FileState.MISSING if gone else FileState.UNREADABLE
            return found._replace(state=state, cause=digest.problem)
        if digest.sha256 != file.sha256:
            cause = f"{it_reads(digest.sha256)}, our receipt says {file.sha256}"
            return found._replace(state=FileState.DIFFERS, cause=cause)
        return found

    def _by_structure(self, file: AuditedFile, verdict: ArchiveVerdict) -> Finding:
        whole = FileState.WHOLE if file.sha256 else FileState.STRUCTURE_ONLY
        found = Finding(self._store.server, file.path, whole, verdict.size_bytes)
        if verdict.problem:
            return found._replace(state=FileState.UNREADABLE, cause=verdict.problem)
        damage = verdict.damage
        if damage == deep.NO_ZSTD:
            self._no_zstd(self._store.server)
            try:
                with closing(self._store.read_file(file.path, verdict.size_bytes)) as packed:
                    damage = unpack_here(packed, verdict.size_bytes)
            except IncompleteError as error:
                return found._replace(state=FileState.UNREADABLE, cause=error.cause)
        return found._replace(state=FileState.DAMAGED, cause=damage) if damage else found


def it_reads(sha256: str) -> str:
    """Tell what the digest of a file is, at the beginning of why it is not ours any more."""
    return f"sha256 is {sha256}"


def _can_be_proved(file: AuditedFile) -> bool:
    return file.size_bytes is not None and (file.is_archive or bool(file.sha256))


def unpack_here(packed: Iterator[bytes], size_bytes: int) -> str:
    """Look inside a zstd archive that is streamed here; empty for a whole one."""
    reader = zstandard.ZstdDecompressor(max_window_size=_WINDOW_BYTES_MAX).stream_reader(
        io.BufferedReader(_Packed(packed), _PIECE_BYTES), read_across_frames=True
    )
    pieces = iter(lambda: reader.read(_PIECE_BYTES), b"")
    try:
        return deep.list_tar(pieces, size_bytes)
    except zstandard.ZstdError as error:
        return f"zstd: {error}"


class _Packed(io.RawIOBase):
    """An iterator of pieces as a file."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        super().__init__()
        self._pieces = pieces
        self._left = memoryview(b"")

    def readable(self) -> bool:
        """Say that it can be read."""
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int:
        """Fill the start of a buffer; nothing is left when it stays empty."""
        while not self._left:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._left = memoryview(piece)
        room = memoryview(buffer)
        size_bytes = min(len(room), len(self._left))
        room[:size_bytes] = self._left[:size_bytes]
        self._left = self._left[size_bytes:]
        return size_bytes
