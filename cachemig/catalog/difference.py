"""What do two sites not have in common, going by their inventories?"""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum, auto
from typing import NamedTuple

import duckdb

from cachemig.catalog.database import (
    connect,
    fetched,
    parquet_view,
    pinned,
    query,
    scratch,
    write_parquet,
)
from cachemig.catalog.inventory import Inventory
from cachemig.core.quoting import unescape_path


class Contrast(StrEnum):
    """How an archive differs between the one site and the other."""

    OTHER_SIZE = auto()
    ONLY_ONE = auto()
    ONLY_OTHER = auto()


class CacheDifference(NamedTuple):
    """Archives of one cache at two sites, compared by key and size."""

    cache: str
    same: int
    other_size: int
    only_one: int
    only_other: int
    only_one_bytes: int
    only_other_bytes: int


class DifferingObject(NamedTuple):
    """One object that is not the same at both sites; None for a site that lacks it.

    `directory` is relative to the cache; sizes are those of the archive. Of several at one site
    the largest is named.
    """

    cache: str
    directory: str
    name: str
    contrast: Contrast
    server: str | None
    size_bytes: int | None
    other_server: str | None
    other_size_bytes: int | None


def difference(one: Inventory, other: Inventory) -> list[CacheDifference]:
    """Compare archives by key and size, wherever in their site they lie; a line per cache."""
    with _compared(one, other) as connection:
        rows = connection.execute(query("difference_totals")).fetchall()
    return [CacheDifference(*row) for row in rows]


def differing(one: Inventory, other: Inventory) -> Iterator[DifferingObject]:
    """Give what is not the same at both sites one by one, in order of path."""
    with _compared(one, other) as connection:
        connection.execute(query("difference_objects"))
        for row in fetched(connection):
            found = DifferingObject(*row)
            yield found._replace(
                directory=unescape_path(found.directory),
                name=unescape_path(found.name),
                contrast=Contrast(found.contrast),
            )


@contextmanager
def _compared(one: Inventory, other: Inventory) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open a database in which the table `difference` compares two inventories.

    It is a file, so that what a join and a sort hold in memory is not held at once.
    """
    with (
        pinned(one.path) as one_path,
        pinned(other.path) as other_path,
        scratch(one.path.parent, may_be_elsewhere=True) as place,
        connect(place) as connection,
    ):
        parquet_view(connection, "inventory", one_path)
        parquet_view(connection, "other", other_path)
        answer = place / "difference.parquet"
        write_parquet(connection, query("difference"), answer)
        parquet_view(connection, "difference", answer)
        yield connection
