"""What cachemig published, and with which digest: asked years later."""

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, Protocol

import duckdb

from cachemig.catalog.database import (
    connect,
    csv_view,
    fetched,
    literal,
    parquet_view,
    query,
    scratch,
    write_parquet,
)
from cachemig.catalog.inventory import Inventory
from cachemig.catalog.receipt_writer import FORMAT_VERSION
from cachemig.core.quoting import escape_path, unescape_path
from cachemig.errors import FormatError

_COLUMNS = {
    "v": "BIGINT",
    "run_id": "VARCHAR",
    "time": "VARCHAR",
    "site": "VARCHAR",
    "server": "VARCHAR",
    "path": "VARCHAR",
    "size_bytes": "BIGINT",
    "sha256": "VARCHAR",
}
"""Of a receipt, what is asked for; the rest is for people."""


class KeptReceipt(Protocol):
    """A receipt as a server keeps it."""

    @property
    def run_id(self) -> str:
        """The run that published the file."""

    @property
    def time(self) -> str:
        """When, in UTC, of the form 2026-01-31T23:59:59Z."""

    @property
    def path(self) -> str:
        """Where it was published, below the server's root."""

    @property
    def size_bytes(self) -> int:
        """Its size."""

    @property
    def sha256(self) -> str:
        """The digest, equal at both ends."""


class AuditedFile(NamedTuple):
    """One file of a server, by its inventory and by our receipt.

    Attributes:
        path: below the server's root.
        is_archive: whether it has a structure that can be checked.
        size_bytes: by the inventory; None when it is not there any more.
        receipt_bytes: by the receipt; None when cachemig did not bring it.
        sha256: by the receipt; empty without one.
    """

    path: str
    is_archive: bool
    size_bytes: int | None
    receipt_bytes: int | None
    sha256: str


class ReceiptBook:
    """The last receipt of every file of a site, while it is open."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection

    def audit(
        self, inventory: Inventory, folders: Mapping[str, str], server: str
    ) -> Iterator[AuditedFile]:
        """Give every file that a server has, or ought to have by our receipts, in order of path.

        Of objects and signatures alone; strays, links and foreign caches are left out.
        """
        parquet_view(self._connection, "inventory", inventory.path)
        paths = [escape_path(folder) for folder in folders.values()]
        by_cache = {"key": list(folders), "value": paths}  # to DuckDB a MAP, not a STRUCT
        cursor = self._connection.cursor()
        cursor.execute(query("audit"), {"server": server, "folders": by_cache})
        for path, *facts in fetched(cursor):
            yield AuditedFile(unescape_path(path), *facts)


@contextmanager
def open_receipts(
    state_dir: Path, site: str, kept_at_servers: Mapping[str, Iterable[KeptReceipt]]
) -> Iterator[ReceiptBook]:
    """Open all receipts of a site: those in the state, and those that its servers keep.

    Where there are several for one file, the last run's counts.
    """
    with scratch(state_dir) as scratch_dir:
        far = scratch_dir / "far.csv"
        _write_far(far, site, kept_at_servers)
        with connect(scratch_dir) as connection:
            csv_view(connection, "kept_at_servers", [far], _COLUMNS)
            _view_of_state(connection, _files_of_state(state_dir))
            found = scratch_dir / "receipts.parquet"
            write_parquet(connection, query("receipts"), found, parameters={"site": site})
            parquet_view(connection, "receipts", found)
            yield ReceiptBook(connection)


def _write_far(path: Path, site: str, kept_at_servers: Mapping[str, Iterable[KeptReceipt]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        for server, receipts in kept_at_servers.items():
            rows.writerows(
                (
                    FORMAT_VERSION,
                    receipt.run_id,
                    receipt.time,
                    site,
                    server,
                    escape_path(receipt.path),
                    receipt.size_bytes,
                    receipt.sha256,
                )
                for receipt in receipts
            )


def _files_of_state(state_dir: Path) -> list[Path]:
    """List the files of receipts.

    Raises:
        FormatError: one of them is a pipe, a folder or a link to nowhere.
    """
    files = sorted((state_dir / "receipts").glob("*.jsonl"))
    for file in files:
        if not file.is_file():
            raise FormatError(
                "among the receipts is something that is no file",
                path=str(file),
                next_step="move it away",
            )
    return files


def _view_of_state(connection: duckdb.DuckDBPyConnection, files: Sequence[Path]) -> None:
    types = ", ".join(f"{literal(name)}: {literal(kind)}" for name, kind in _COLUMNS.items())
    if not files:
        connection.execute("CREATE VIEW kept_here AS FROM kept_at_servers WHERE false")
        return
    listed = ", ".join(literal(file) for file in files)
    connection.execute(
        f"CREATE VIEW kept_here AS FROM read_json([{listed}], format = 'newline_delimited',"
        f" columns = {{{types}}}, ignore_errors = true)"
    )
