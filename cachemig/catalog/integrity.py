"""What has to be proved of a site: every file beside the digest that our receipts expect."""

import csv
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple, TextIO

import duckdb

from cachemig.catalog.database import (
    connect,
    csv_view,
    fetched,
    parquet_view,
    query,
    scratch,
    write_parquet,
)
from cachemig.catalog.inventory import Inventory
from cachemig.core.quoting import escape_path, unescape_path

_RECEIPT_COLUMNS = dict.fromkeys(("server", "path", "sha256", "time"), "VARCHAR")


class Receipted(NamedTuple):
    """What one receipt says: these bytes were published there, then.

    Attributes:
        path: below the server's root.
        time: in UTC, as ISO 8601, so that texts sort like times.
    """

    server: str
    path: str
    sha256: str
    time: str


class FileToProve(NamedTuple):
    """One file that is there; without a receipt `sha256` is empty."""

    path: str
    is_archive: bool
    size_bytes: int
    sha256: str


class ServerShare(NamedTuple):
    """How much there is to do on one server; `unproved` files have neither receipt nor form."""

    files: int
    size_bytes: int
    unproved: int


class ProofList:
    """The list, while it is open; each server's part is read on its own."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection

    def share(self, server: str) -> ServerShare:
        """Count the work on a server."""
        counts = """
            SELECT count(*) FILTER (task = 'to_prove'),
                   coalesce(sum(size_bytes) FILTER (task = 'to_prove'), 0)::BIGINT,
                   count(*) FILTER (task = 'unproved')
            FROM proofs WHERE server = ?
        """
        row = self._connection.cursor().execute(counts, [server]).fetchone() or (0, 0, 0)
        return ServerShare(*row)

    def to_prove(self, server: str) -> Iterator[FileToProve]:
        """Give a server's files, in order of path; for one thread at a time."""
        wanted = """
            SELECT path, is_archive, size_bytes, sha256
            FROM proofs WHERE server = ? AND task = 'to_prove'
        """
        for row in fetched(self._connection.cursor().execute(wanted, [server])):
            yield FileToProve(*row)._replace(path=unescape_path(row[0]))

    def missing(self, server: str) -> Iterator[str]:
        """Give the paths that have a receipt and are no longer there."""
        wanted = "SELECT path FROM proofs WHERE server = ? AND task = 'missing'"
        for (path,) in fetched(self._connection.cursor().execute(wanted, [server])):
            yield unescape_path(path)


@contextmanager
def proof_list(
    inventory: Inventory, folders: Mapping[str, str], receipts: Iterable[Receipted]
) -> Iterator[ProofList]:
    """Join what a site holds with what was receipted; of two receipts the later counts.

    Args:
        inventory: of the site, just scanned.
        folders: of each cache, below the servers' roots. Receipts for other places are
            left out, since nobody looked there.
        receipts: of all sources, in any order, also several for a path.
    """
    with scratch(inventory.path.parent) as place, connect(place) as connection:
        with (place / "receipts.csv").open("w", encoding="utf-8", newline="") as file:
            _write_receipts(file, receipts, inventory.metadata.servers, list(folders.values()))
        parquet_view(connection, "inventory", inventory.path)
        csv_view(connection, "receipts", [place / "receipts.csv"], _RECEIPT_COLUMNS)
        connection.execute("CREATE TEMP TABLE folders (cache VARCHAR, folder VARCHAR)")
        rows = [(cache, escape_path(folder)) for cache, folder in folders.items()]
        connection.executemany("INSERT INTO folders VALUES (?, ?)", rows)
        proofs = place / "proofs.parquet"
        write_parquet(connection, query("integrity"), proofs)
        parquet_view(connection, "proofs", proofs)
        yield ProofList(connection)


def _write_receipts(
    file: TextIO, receipts: Iterable[Receipted], servers: Iterable[str], folders: list[str]
) -> None:
    known = set(servers)
    places = tuple(f"{folder}/" if folder else "" for folder in folders)
    rows = csv.writer(file)
    for receipt in receipts:
        if receipt.server in known and receipt.path.startswith(places):
            rows.writerow(receipt._replace(path=escape_path(receipt.path)))


def read_receipt(row: Mapping[str, object], server: str) -> Receipted | None:
    """Read one line of a receipts file; None for what is no receipt (docs/formats.md)."""
    path, sha256, time = row.get("path"), row.get("sha256"), row.get("time")
    if not isinstance(path, str) or not isinstance(sha256, str) or not isinstance(time, str):
        return None
    return Receipted(server, path, sha256, time)
