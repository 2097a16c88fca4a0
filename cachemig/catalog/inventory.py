"""What was where, and when: one Parquet file per site, asked through DuckDB."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum, auto
from pathlib import Path
from typing import Any, NamedTuple

import duckdb

from cachemig import __version__
from cachemig.catalog.database import (
    connect,
    fetched,
    parquet_view,
    pinned,
    query,
    read_metadata,
    scratch,
)
from cachemig.catalog.refusals import is_there
from cachemig.catalog.rows import RowKind
from cachemig.core.quoting import printable, unescape_path
from cachemig.errors import FormatError

FORMAT_VERSION = 1


class Dimension(StrEnum):
    """What the totals of an inventory can be split by."""

    SERVER = auto()
    CACHE = auto()
    SLOT = auto()
    PN = auto()
    TASK = auto()
    STRAY = auto()


class Oddity(StrEnum):
    """What in an inventory an operator may want to see one by one."""

    STRAYS = auto()
    MISPLACED = auto()
    DAMAGED = auto()
    LINKS = auto()


class Total(NamedTuple):
    """How much there is of one server, cache, slot, PN, task or kind of stray.

    `files` and `size_bytes` count archives and companions; a resolved link as its target.
    """

    name: str
    objects: int
    signatures: int
    links: int
    strays: int
    misplaced: int
    damaged: int
    files: int
    size_bytes: int


class Entry(NamedTuple):
    """One stray, link, misplaced or damaged object; directories are relative to the cache."""

    server: str
    cache: str
    directory: str
    name: str
    kind: RowKind
    stray_kind: str
    size_bytes: int | None
    mtime_ns: int | None
    resolved: bool
    target: str
    damage: str


@dataclass(frozen=True, slots=True)
class InventoryMetadata:
    """What an inventory says of itself; times are aware and in UTC.

    Attributes:
        folders: the folder of each cache that was looked for; empty when not known.
        absent: the caches whose folder no server had, unless that was said to be right.
    """

    site: str
    servers: tuple[str, ...]
    scanned_at: datetime
    full_scan_at: datetime
    folders: Mapping[str, str] = field(default_factory=dict)
    absent: tuple[str, ...] = ()
    tool_version: str = __version__

    def as_pairs(self) -> dict[str, str]:
        """Give the key-value metadata of the Parquet file."""
        return {
            "format_version": str(FORMAT_VERSION),
            "content": "inventory",
            "site": self.site,
            "servers": json.dumps(self.servers),
            "scanned_at": self.scanned_at.isoformat(),
            "full_scan_at": self.full_scan_at.isoformat(),
            "caches": json.dumps(dict(self.folders)),
            "absent_caches": json.dumps(self.absent),
            "tool_version": self.tool_version,
        }


@dataclass(frozen=True, slots=True)
class Inventory:
    """An inventory on disk. Every question reads the file anew; nothing is kept in memory."""

    path: Path
    metadata: InventoryMetadata

    def age(self, now: datetime) -> timedelta:
        """Tell how long ago the scan began; never negative."""
        return max(now - self.metadata.scanned_at, timedelta(0))

    def totals(self, by: Dimension) -> list[Total]:
        """Count and sum, one line per server, cache, slot, PN, task or kind of stray."""
        with self.session() as connection:
            rows = connection.execute(query("totals"), {"by": by.value}).fetchall()
        return [Total(*row) for row in rows]

    def entries(self, which: Oddity) -> Iterator[Entry]:
        """Give strays, links, misplaced or damaged objects one by one, in order of path."""
        with self.session() as connection:
            connection.execute(query("entries"), {"which": which.value})
            for row in fetched(connection):
                yield _entry(row)

    @contextmanager
    def session(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """Open a database in which this inventory is the table `inventory`."""
        with (
            pinned(self.path) as path,
            scratch(self.path.parent, may_be_elsewhere=True) as place,
            connect(place) as connection,
        ):
            parquet_view(connection, "inventory", path)
            yield connection


def open_inventory(path: Path) -> Inventory:
    """Open an inventory that a scan wrote.

    Raises:
        FormatError: there is none, it is damaged, or a newer cachemig wrote it.
    """
    if not is_there(path):
        raise FormatError(
            "there is no inventory of this site yet",
            path=str(path),
            next_step=f"run `cachemig scan {path.stem}` while the site answers",
        )
    pairs = read_metadata(path, "the inventory", FORMAT_VERSION)
    try:
        metadata = InventoryMetadata(
            site=pairs["site"],
            servers=tuple(json.loads(pairs["servers"])),
            scanned_at=datetime.fromisoformat(pairs["scanned_at"]).astimezone(UTC),
            full_scan_at=datetime.fromisoformat(pairs["full_scan_at"]).astimezone(UTC),
            folders=dict(json.loads(pairs.get("caches", "{}"))),
            absent=tuple(json.loads(pairs.get("absent_caches", "[]"))),
            tool_version=pairs["tool_version"],
        )
    except (KeyError, TypeError, ValueError) as error:
        raise FormatError(
            "the inventory is damaged",
            path=str(path),
            cause=f"its metadata lacks or garbles {error}",
            next_step=f"move it away, then run `cachemig scan {path.stem}`",
        ) from error
    if metadata.site != path.stem:
        raise FormatError(
            f"this is the inventory of site {printable(metadata.site)}",
            path=str(path),
            next_step=f"move it away, then run `cachemig scan {path.stem}`",
        )
    return Inventory(path, metadata)


def inventory_path(state_dir: Path, site: str) -> Path:
    """Name the file of a site's inventory."""
    return state_dir / "inventories" / f"{site}.parquet"


def _entry(row: tuple[Any, ...]) -> Entry:
    entry = Entry(*row)
    return entry._replace(
        directory=unescape_path(entry.directory),
        name=unescape_path(entry.name),
        kind=RowKind(entry.kind),
        target=unescape_path(entry.target),
    )
