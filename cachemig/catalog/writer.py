"""Writes an inventory from the listings of a scan, without holding its rows in memory."""

import csv
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple, Self, TextIO

import duckdb

from cachemig.catalog.database import (
    connect,
    csv_view,
    fetched,
    parquet_view,
    publish,
    query,
    write_parquet,
)
from cachemig.catalog.inventory import Inventory, InventoryMetadata, open_inventory
from cachemig.catalog.rows import CachePlace, InventoryRow, Listing, directory_row, rows_of
from cachemig.core.quoting import escape_path, unescape_path

_DRAFT = "draft.parquet"
_UNCHANGED_COLUMNS = dict.fromkeys(("server", "cache", "directory"), "VARCHAR")
_VERDICT_COLUMNS = dict.fromkeys(("server", "cache", "directory", "name", "damage"), "VARCHAR")


class Emptied(NamedTuple):
    """A slot directory, or with an empty `directory` a whole cache, that lost its objects."""

    server: str
    cache: str
    directory: str
    objects: int


class Verdict(NamedTuple):
    """What a structure check said of one archive; `damage` is empty for a whole one."""

    server: str
    cache: str
    directory: str
    name: str
    damage: str


class InventoryPart:
    """Takes the listings of one server, from one thread."""

    def __init__(self, rows: TextIO, unchanged: TextIO) -> None:
        self._rows = csv.writer(rows)
        self._unchanged = csv.writer(unchanged)

    def add(self, place: CachePlace, listing: Listing, *, remember: bool) -> None:
        """Write down one directory; one that is not to be remembered is read again next time."""
        if listing.unchanged:
            directory = escape_path(place.directory(listing.path))
            self._unchanged.writerow((place.server, place.cache, directory))
            return
        self._rows.writerow(directory_row(place, listing, remember=remember))
        self._rows.writerows(rows_of(place, listing))


class InventoryWriter:
    """Collects a scan in a scratch directory, and then writes one inventory.

    First an `open_part` for each server, and its `add`; then `combine`, which joins what
    was read with what did not change since `previous`; then `emptied`, `unchecked` and
    `add_verdicts` as wanted; then `write`.
    """

    def __init__(self, scratch_dir: Path, previous: Inventory | None) -> None:
        self._scratch_dir = scratch_dir
        self._previous = previous
        self._files = ExitStack()
        self._parts = 0
        self._verdicts = self._open("verdicts.csv")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._files.close()

    def open_part(self) -> InventoryPart:
        """Begin the collection of one server's listings."""
        self._parts += 1
        rows = self._open(f"rows-{self._parts}.csv")
        return InventoryPart(rows, self._open(f"unchanged-{self._parts}.csv"))

    def known(self, place: CachePlace) -> dict[str, int]:
        """Give the directories, below the server's root, that need no reading if unchanged."""
        with self._session() as connection:
            connection.execute(query("known"), {"server": place.server, "cache": place.cache})
            return {
                place.path(unescape_path(directory)): mtime_ns
                for directory, mtime_ns in fetched(connection)
            }

    def combine(self) -> None:
        """Join what was read with the rows of the directories that did not change."""
        self._close_files()
        with self._session() as connection:
            columns = _columns_of(connection)
            csv_view(connection, "fresh", self._collected("rows"), columns)
            csv_view(connection, "unchanged", self._collected("unchanged"), _UNCHANGED_COLUMNS)
            write_parquet(connection, query("draft"), self._scratch_dir / _DRAFT)
        self._verdicts = self._open("verdicts.csv")

    def emptied(self, places: Iterable[CachePlace]) -> list[Emptied]:
        """List places that held objects and now hold nothing; a few when there are many."""
        with self._session() as connection:
            asked = [(place.server, place.cache) for place in places]
            connection.execute("CREATE TEMP TABLE places (server VARCHAR, cache VARCHAR)")
            connection.executemany("INSERT INTO places VALUES (?, ?)", asked)
            rows = connection.execute(query("emptied")).fetchall()
        return [Emptied(*row) for row in rows]

    def unchecked(self, server: str) -> Iterator[Verdict]:
        """Give the archives of a server that were never checked at their present size."""
        with self._session() as connection:
            connection.execute(query("unchecked"), {"server": server})
            for cache, directory, name in fetched(connection):
                yield Verdict(server, cache, unescape_path(directory), name, "")

    def add_verdicts(self, verdicts: Iterable[Verdict]) -> None:
        """Take in what a structure check said; one thread at a time."""
        csv.writer(self._verdicts).writerows(
            verdict._replace(directory=escape_path(verdict.directory)) for verdict in verdicts
        )

    def write(self, path: Path, metadata: InventoryMetadata) -> Inventory:
        """Write the inventory, all of it or nothing, and open it."""
        self._close_files()
        with self._session() as connection:
            csv_view(connection, "verdicts", [self._scratch_dir / "verdicts.csv"], _VERDICT_COLUMNS)
            draft = self._scratch_dir / "inventory.parquet"
            write_parquet(connection, query("inventory"), draft, metadata=metadata.as_pairs())
            publish(draft, path)
        return open_inventory(path)

    @contextmanager
    def _session(self) -> Iterator[duckdb.DuckDBPyConnection]:
        with connect(self._scratch_dir) as connection:
            connection.execute(query("inventory_columns"))
            if self._previous is None:
                connection.execute("CREATE VIEW previous AS FROM inventory_columns")
            else:
                parquet_view(connection, "previous", self._previous.path)
            if (self._scratch_dir / _DRAFT).exists():
                parquet_view(connection, "draft", self._scratch_dir / _DRAFT)
            yield connection

    def _open(self, name: str) -> TextIO:
        path = self._scratch_dir / name
        return self._files.enter_context(path.open("w", encoding="utf-8", newline=""))

    def _close_files(self) -> None:
        self._files.close()
        self._files = ExitStack()

    def _collected(self, what: str) -> list[Path]:
        return sorted(self._scratch_dir.glob(f"{what}-*.csv"))


def _columns_of(connection: duckdb.DuckDBPyConnection) -> dict[str, str]:
    described = connection.execute("DESCRIBE inventory_columns").fetchall()
    types = {str(row[0]): str(row[1]) for row in described}
    return {column: types[column] for column in InventoryRow._fields}
