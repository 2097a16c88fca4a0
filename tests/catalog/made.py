"""Small sites made of listings, and their inventories."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import duckdb

from cachemig.catalog.inventory import Inventory, InventoryMetadata, inventory_path
from cachemig.catalog.rows import CachePlace
from cachemig.catalog.writer import inventory_writer
from cachemig.stores.base import DirectoryListing, FileEntry

SCANNED_AT = datetime(2026, 3, 1, 2, 30, tzinfo=UTC)
OLD_NS = 1_700_000_000 * 10**9
HASH = "3fa1" + "0" * 60


def object_name(digest: str = HASH, pn: str = "zlib", task: str = "package") -> str:
    """The name of an archive."""
    return f"sstate:{pn}:core2-64-poky-linux:1.3:r0:core2-64:14:{digest}_{task}.tar.zst"


def file(name: str, size_bytes: int = 10, mtime_ns: int = OLD_NS) -> FileEntry:
    """A regular file."""
    return FileEntry(name, "f", size_bytes, mtime_ns)


def link(name: str, size_bytes: int = -1, mtime_ns: int = 0, target: str = "/x") -> FileEntry:
    """A link; with a size it leads to a file that may be read."""
    return FileEntry(name, "l", size_bytes, mtime_ns, target)


def listing(path: str, *files: FileEntry, mtime_ns: int = OLD_NS) -> DirectoryListing:
    """One directory."""
    return DirectoryListing(path, mtime_ns, False, files)


class Held(NamedTuple):
    """One directory of a cache on a server."""

    server: str
    cache: str
    listing: DirectoryListing


def inventory_of(
    state_dir: Path, held: Iterable[Held], site: str = "old", folders: Mapping[str, str] = {}
) -> Inventory:
    """Write the inventory of a site."""
    held = list(held)
    with inventory_writer(state_dir, None) as writer:
        part = writer.open_part()
        for server, cache, directory in held:
            place = CachePlace(server, cache, folders.get(cache, ""))
            part.add(place, directory, remember=True)
        servers = tuple(sorted({each.server for each in held}))
        writer.combine(InventoryMetadata(site, servers, SCANNED_AT, SCANNED_AT))
        return writer.write(inventory_path(state_dir, site))


def rows_in(path: Path) -> list[dict[str, object]]:
    """All rows of a Parquet file, by column, in no order."""
    with duckdb.connect() as connection:
        found = connection.execute("FROM read_parquet(?)", [str(path)])
        names = [column[0] for column in found.description or []]
        return [dict(zip(names, row, strict=True)) for row in found.fetchall()]
