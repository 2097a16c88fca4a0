"""The contract of a store: a place that holds cache files below one root.

Paths are relative to the server's root (a cache's folder is part of them), never start
with a slash, and never hold ``.``, ``..`` or an empty part. A name that is not UTF-8 is
a string with surrogate escapes, as ``os.fsdecode`` makes it. Every method may be called
again after it failed. Whatever goes wrong is raised as a `cachemig.errors` error that
names the server. An answer that comes as an iterator is read to its end, or the iterator
closed, before anything else is asked; all else is a `RuntimeError`.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Literal, NamedTuple, Protocol

from cachemig.agent.protocol import Outcome

FileType = Literal["f", "l", "o"]


class FileEntry(NamedTuple):
    """One directory entry that is not a directory.

    Attributes:
        name: base name, possibly with surrogate escapes.
        type: ``f`` regular file, ``l`` symbolic link, ``o`` anything else.
        size_bytes: of the file; of the target for a link that resolves; else -1 for a link.
        mtime_ns: likewise.
        target: what the link says; empty unless `type` is ``l``. A link whose target
            lies below a root that the store was told to follow has a size of 0 or more.
    """

    name: str
    type: FileType
    size_bytes: int
    mtime_ns: int
    target: str = ""


class DirectoryListing(NamedTuple):
    """One directory as the walk met it; entries are sorted by name.

    Attributes:
        path: the directory, relative to the server's root.
        mtime_ns: its modification time before it was read.
        unchanged: its time is the one that the caller knew; `entries` is empty then.
        entries: what lies in it, directories left out (they get listings of their own).
    """

    path: str
    mtime_ns: int
    unchanged: bool
    entries: Sequence[FileEntry]


class FileStat(NamedTuple):
    """What lies under a planned name. A link is told as absent: it may be replaced.

    `size_bytes` is -1 for what is neither a file nor a link.
    """

    size_bytes: int
    mtime_ns: int


class FileDigest(NamedTuple):
    """SHA-256 of one file as read on the far side; `sha256` is empty when `problem` is not."""

    path: str
    size_bytes: int
    sha256: str
    problem: str = ""


class ArchiveVerdict(NamedTuple):
    """Structure check of one archive.

    `damage` is empty for a whole one, and for one that could not be looked at: then
    `problem` says why.
    """

    path: str
    size_bytes: int
    damage: str = ""
    problem: str = ""


class WantedFile(NamedTuple):
    """One file of a batch: what to read at the source and how to name it at the destination."""

    source_path: str
    path: str
    size_bytes: int
    mtime_ns: int


class FileReceipt(NamedTuple):
    """What became of one file of a batch, told after it is durable (or given up).

    `errno` is that of a disk that refused the file, else 0.
    """

    path: str
    outcome: Outcome
    size_bytes: int
    sha256: str
    mtime_ns: int
    cause: str = ""
    errno: int = 0


class KeptReceipt(NamedTuple):
    """What a server keeps of one file that cachemig published there (docs/formats.md)."""

    run_id: str
    time: str
    path: str
    size_bytes: int
    sha256: str
    mtime_ns: int
    source_site: str
    source_server: str
    source_path: str


class Space(NamedTuple):
    """What a root's file system has left for us."""

    free_bytes: int
    total_bytes: int
    free_inodes: int


class Store(Protocol):
    """A place that holds cache files below one root.

    Attributes:
        server: its name in cachemig.toml.
        opened_at_ns: when the root was opened, by the server's own clock: the times of
            directories are told by that.
    """

    server: str
    opened_at_ns: int

    def list(self, subtree: str, known: Mapping[str, int]) -> Iterator[DirectoryListing]:
        """Walk a subtree, directory by directory, in an order of the store's own.

        Args:
            subtree: a cache's folder; empty for the root itself.
            known: modification time by directory of an earlier walk; a leaf directory
                that still has it is told as unchanged and not read.

        Raises:
            ScanError: a directory could not be read, a slot directory is a link, or the
                root is missing: the listing is then worthless as a whole.
        """
        ...

    def stat(self, paths: Sequence[str]) -> Sequence[FileStat | None]:
        """Say what lies under each path; None for nothing, or for a link."""
        ...

    def digest(self, paths: Sequence[str]) -> Iterator[FileDigest]:
        """Digest files where they lie; only digests travel."""
        ...

    def check(self, paths: Sequence[str], *, deep: bool = False) -> Iterator[ArchiveVerdict]:
        """Walk the structure of archives to their end; `deep` decompresses and lists them.

        A verdict whose damage is ``no zstd on the server`` says that `deep` was not possible.
        """
        ...

    def touch(self, times: Iterable[tuple[str, int]]) -> int:
        """Move modification times forward, never back; returns how many moved."""
        ...

    def space(self) -> Space:
        """Tell free bytes and inodes."""
        ...

    def sweep_temps(self) -> int:
        """Remove what dead runs left behind; only a run that holds the lock may call it."""
        ...

    def set_aside(self, paths: Sequence[str], run_id: str) -> Sequence[tuple[str, str]]:
        """Rename files out of bitbake's sight; returns (path, new path), and records it there."""
        ...

    def receipts(self) -> Iterator[KeptReceipt | None]:
        """Read the receipts that earlier runs left at this root; None for a line that is none."""
        ...

    def close(self) -> None:
        """End the connection; what was not acknowledged may or may not be there."""
        ...
