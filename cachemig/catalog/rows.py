"""From a directory's listing to rows of an inventory: companions joined, strays told apart."""

from collections.abc import Iterator, Sequence
from enum import StrEnum, auto
from typing import NamedTuple, Protocol

from cachemig.core.names import Classified, FileKind, ObjectName, classify
from cachemig.core.quoting import escape_path

_LARGEST = 2**63 - 1
_EARLIEST_NS, _LATEST_NS = -(2**63), _LARGEST


class RowKind(StrEnum):
    """What one row of an inventory stands for."""

    OBJECT = auto()
    SIGNATURE = auto()
    STRAY = auto()
    LINK = auto()
    DIRECTORY = auto()


class ListedFile(Protocol):
    """One file of a listing."""

    @property
    def name(self) -> str:
        """Its base name."""

    @property
    def type(self) -> str:
        """``f`` for a regular file, ``l`` for a link, ``o`` for anything else."""

    @property
    def size_bytes(self) -> int:
        """Its size, or its target's; -1 for a link that leads nowhere we may follow."""

    @property
    def mtime_ns(self) -> int:
        """Its modification time, or its target's."""

    @property
    def target(self) -> str:
        """What a link says; empty for a file."""


class Listing(Protocol):
    """One directory as a store lists it."""

    @property
    def path(self) -> str:
        """The directory, relative to the server's root."""

    @property
    def mtime_ns(self) -> int:
        """Its modification time."""

    @property
    def unchanged(self) -> bool:
        """Whether it is as the caller knew it, and so was not read."""

    @property
    def entries(self) -> Sequence[ListedFile]:
        """The files in it."""


class InventoryRow(NamedTuple):
    """One row as it is written; the meaning of every column is in docs/formats.md.

    `directory`, `name` and `target` are escaped by `escape_path`.
    """

    server: str
    cache: str
    directory: str
    name: str
    kind: RowKind
    stray_kind: str = ""
    pn: str = ""
    task: str = ""
    hash: str = ""
    arch: str = ""
    version: str = ""
    slot: str = ""
    native: str = ""
    size_bytes: int | None = None
    mtime_ns: int | None = None
    siginfo_size_bytes: int | None = None
    siginfo_mtime_ns: int | None = None
    sig_size_bytes: int | None = None
    sig_mtime_ns: int | None = None
    resolved: bool = False
    target: str = ""
    misplaced: bool = False
    damage: str = ""


class CachePlace(NamedTuple):
    """One cache on one server; `folder` is below the server's root, empty for the root."""

    server: str
    cache: str
    folder: str

    def directory(self, path: str) -> str:
        """Name a directory below the root as the cache knows it."""
        return path[len(self.folder) :].lstrip("/") if self.folder else path

    def path(self, directory: str) -> str:
        """Name a directory of the cache as the server's root knows it."""
        if self.folder and directory:
            return f"{self.folder}/{directory}"
        return self.folder or directory


class _Group:
    """The files of one object in one directory."""

    __slots__ = ("archive", "classified", "sig", "siginfo")

    def __init__(self, classified: Classified) -> None:
        self.classified = classified
        self.archive: ListedFile | None = None
        self.siginfo: ListedFile | None = None
        self.sig: ListedFile | None = None

    def add(self, kind: FileKind, entry: ListedFile) -> None:
        if kind is FileKind.ARCHIVE:
            self.archive = entry
        elif kind is FileKind.SIGINFO:
            self.siginfo = entry
        else:
            self.sig = entry


def rows_of(place: CachePlace, listing: Listing) -> Iterator[InventoryRow]:
    """Give a row for each object, signature, stray and link of one directory."""
    directory = place.directory(listing.path)
    groups: dict[str, _Group] = {}
    row = InventoryRow(place.server, place.cache, escape_path(directory), "", RowKind.STRAY)
    prefix = f"{directory}/" if directory else ""
    for entry in listing.entries:
        found = classify(prefix + entry.name)
        if "/" in entry.name or _is_no_size(entry):
            yield _stray(row, entry, FileKind.REJECTED)
            continue
        if found.name is None or entry.type == "o":
            yield _stray(row, entry, FileKind.OTHER if found.name else found.kind)
            continue
        group = groups.setdefault(found.name.file_name, _Group(found))
        group.add(found.kind, entry)
    for name, group in groups.items():
        yield from _rows_of_group(row, name, group)


def directory_row(place: CachePlace, listing: Listing, *, remember: bool) -> InventoryRow:
    """Give the row that lets a later scan skip the directory, if it may be remembered."""
    return InventoryRow(
        place.server,
        place.cache,
        escape_path(place.directory(listing.path)),
        "",
        RowKind.DIRECTORY,
        mtime_ns=_time(listing.mtime_ns) if remember else None,
    )


def _stray(row: InventoryRow, entry: ListedFile, kind: FileKind) -> InventoryRow:
    return row._replace(
        name=escape_path(entry.name),
        stray_kind=kind.value,
        size_bytes=_size(entry),
        mtime_ns=_time(entry.mtime_ns),
        resolved=_is_resolved(entry),
        target=escape_path(entry.target),
    )


def _rows_of_group(row: InventoryRow, name: str, group: _Group) -> Iterator[InventoryRow]:
    object_name = group.classified.name
    main = group.archive or group.siginfo
    if object_name is None or main is None:
        if group.sig is not None:
            yield _stray(row, group.sig, FileKind.SIG)
        return
    row = _named(row, object_name, group.classified)
    for companion in (group.siginfo, group.sig):
        if companion is not None and companion is not main and _is_dangling(companion):
            yield row._replace(
                name=escape_path(companion.name),
                kind=RowKind.LINK,
                target=escape_path(companion.target),
            )
    archive, siginfo, sig = group.archive, _readable(group.siginfo), _readable(group.sig)
    is_link = main.type == "l"
    kind = RowKind.OBJECT if archive else RowKind.SIGNATURE
    size_bytes = _size(archive) if archive else None
    yield row._replace(
        name=escape_path(name),
        kind=RowKind.LINK if is_link else kind,
        size_bytes=size_bytes,
        mtime_ns=_time(archive.mtime_ns) if archive and size_bytes is not None else None,
        siginfo_size_bytes=siginfo.size_bytes if siginfo else None,
        siginfo_mtime_ns=_time(siginfo.mtime_ns) if siginfo else None,
        sig_size_bytes=sig.size_bytes if sig else None,
        sig_mtime_ns=_time(sig.mtime_ns) if sig else None,
        resolved=is_link and not _is_dangling(main),
        target=escape_path(main.target),
        damage="empty" if size_bytes == 0 else "",
    )


def _named(row: InventoryRow, name: ObjectName, classified: Classified) -> InventoryRow:
    return row._replace(
        pn=name.pn,
        task=name.task,
        hash=name.hash,
        arch=name.arch,
        version=name.version,
        slot=name.slot,
        native=classified.native,
        misplaced=classified.misplaced,
    )


def _is_no_size(entry: ListedFile) -> bool:
    """Whether no file can have the size that is told; only a server that lies tells such."""
    return entry.size_bytes > _LARGEST or (entry.type != "l" and entry.size_bytes < 0)


def _readable(companion: ListedFile | None) -> ListedFile | None:
    return None if companion is None or _is_dangling(companion) else companion


def _is_resolved(entry: ListedFile) -> bool:
    return entry.type == "l" and entry.size_bytes >= 0


def _is_dangling(entry: ListedFile) -> bool:
    return entry.type == "l" and entry.size_bytes < 0


def _size(entry: ListedFile) -> int | None:
    return entry.size_bytes if 0 <= entry.size_bytes <= _LARGEST else None


def _time(mtime_ns: int) -> int:
    """Fit a time into 64 bits: a file system may hold years that nanoseconds can not."""
    return min(max(mtime_ns, _EARLIEST_NS), _LATEST_NS)
