"""Writes an inventory from the listings of a scan, without holding its rows in memory."""

import csv
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager, nullcontext
from pathlib import Path
from typing import NamedTuple, TextIO

import duckdb

from cachemig.catalog.database import (
    connect,
    csv_view,
    fetched,
    parquet_view,
    pinned,
    publish,
    query,
    scratch,
    write_parquet,
)
from cachemig.catalog.inventory import Inventory, InventoryMetadata
from cachemig.catalog.rows import CachePlace, InventoryRow, Listing, directory_row, rows_of
from cachemig.core.quoting import escape_path, unescape_path

_UNCHANGED_COLUMNS = dict.fromkeys(("server", "cache", "directory"), "VARCHAR")
_VERDICT_COLUMNS = {"row": "BIGINT", "damage": "VARCHAR"}


class Emptied(NamedTuple):
    """A slot directory, or with an empty `directory` a whole cache, that lost its objects."""

    server: str
    cache: str
    directory: str
    objects: int


class UncheckedArchive(NamedTuple):
    """An archive that was never checked at its present size; `row` is its place in the scan."""

    row: int
    cache: str
    directory: str
    name: str


class Verdict(NamedTuple):
    """What a structure check said of the archive at `row`; no damage for a whole one."""

    row: int
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
    was read with what did not change since the previous scan; then `emptied`, `unchecked`
    and `add_verdicts` as wanted; then `write`. Made by `inventory_writer`.
    """

    _metadata: InventoryMetadata

    def __init__(self, scratch_dir: Path, connection: duckdb.DuckDBPyConnection) -> None:
        self._scratch_dir = scratch_dir
        self._connection = connection
        self._draft = scratch_dir / "draft.parquet"
        self._files = ExitStack()
        self._parts = 0
        self._verdicts: TextIO | None = None

    def open_part(self) -> InventoryPart:
        """Begin the collection of one server's listings."""
        self._parts += 1
        rows = self._open(f"rows-{self._parts}.csv")
        return InventoryPart(rows, self._open(f"unchanged-{self._parts}.csv"))

    def known(self, place: CachePlace) -> dict[str, int]:
        """Give the directories, below the server's root, that need no reading if unchanged."""
        cursor = self._connection.cursor()
        cursor.execute(query("known"), {"server": place.server, "cache": place.cache})
        return {
            place.path(unescape_path(directory)): mtime_ns
            for directory, mtime_ns in fetched(cursor)
        }

    def combine(self, metadata: InventoryMetadata) -> None:
        """Join what was read with the rows of the directories that did not change."""
        self.close()
        connection = self._connection
        csv_view(connection, "fresh", self._collected("rows"), _columns_of(connection))
        csv_view(connection, "unchanged", self._collected("unchanged"), _UNCHANGED_COLUMNS)
        self._metadata = metadata
        write_parquet(connection, query("draft"), self._draft, metadata=metadata.as_pairs())
        parquet_view(connection, "draft", self._draft, row_numbers=True)

    def emptied(self, places: Iterable[CachePlace]) -> list[Emptied]:
        """List places that held objects and now hold nothing; a few when there are many."""
        asked = [(place.server, place.cache) for place in places]
        self._connection.execute("CREATE TEMP TABLE places (server VARCHAR, cache VARCHAR)")
        self._connection.executemany("INSERT INTO places VALUES (?, ?)", asked)
        return [Emptied(*row) for row in self._connection.execute(query("emptied")).fetchall()]

    def unchecked(self, server: str) -> Iterator[UncheckedArchive]:
        """Give the archives of a server that were never checked at their present size."""
        cursor = self._connection.cursor()
        cursor.execute(query("unchecked"), {"server": server})
        for row, cache, directory, name in fetched(cursor):
            yield UncheckedArchive(row, cache, unescape_path(directory), name)

    def add_verdicts(self, verdicts: Iterable[Verdict]) -> None:
        """Take in what a structure check said; one thread at a time."""
        if self._verdicts is None:
            self._verdicts = self._open("verdicts.csv")
        csv.writer(self._verdicts).writerows(verdicts)

    def write(self, path: Path) -> Inventory:
        """Give the inventory its place, all of it or nothing."""
        self.close()
        publish(self._draft if self._verdicts is None else self._with_verdicts(), path)
        return Inventory(path, self._metadata)

    def close(self) -> None:
        """Close the files of what was collected; a second call does nothing."""
        self._files.close()

    def _with_verdicts(self) -> Path:
        said = self._scratch_dir / "verdicts.csv"
        csv_view(self._connection, "verdicts", [said], _VERDICT_COLUMNS)
        path = self._scratch_dir / "inventory.parquet"
        pairs = self._metadata.as_pairs()
        write_parquet(self._connection, query("inventory"), path, metadata=pairs)
        return path

    def _open(self, name: str) -> TextIO:
        path = self._scratch_dir / name
        return self._files.enter_context(path.open("w", encoding="utf-8", newline=""))

    def _collected(self, what: str) -> list[Path]:
        return sorted(self._scratch_dir.glob(f"{what}-*.csv"))


@contextmanager
def inventory_writer(state_dir: Path, previous: Inventory | None) -> Iterator[InventoryWriter]:
    """Prepare to write an inventory; what was collected goes at the end, written or not."""
    with (
        nullcontext() if previous is None else pinned(previous.path) as previous_path,
        scratch(state_dir) as scratch_dir,
        connect(scratch_dir) as connection,
    ):
        connection.execute(query("inventory_columns"))
        if previous_path is None:
            connection.execute("CREATE VIEW previous AS FROM inventory_columns")
        else:
            parquet_view(connection, "previous", previous_path)
        with closing(InventoryWriter(scratch_dir, connection)) as writer:
            yield writer


def _columns_of(connection: duckdb.DuckDBPyConnection) -> dict[str, str]:
    described = connection.execute("DESCRIBE inventory_columns").fetchall()
    types = {str(row[0]): str(row[1]) for row in described}
    return {column: types[column] for column in InventoryRow._fields}
