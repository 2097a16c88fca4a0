"""Is what the old site holds at the new one, on the server where builds will look for it?"""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum, auto
from typing import Literal, NamedTuple

import duckdb

from cachemig.catalog.candidates import Destination, candidates
from cachemig.catalog.database import fetched, parquet_view, pinned, query, write_parquet
from cachemig.catalog.inventory import Inventory
from cachemig.core.quoting import unescape_path


class State(StrEnum):
    """How an object of the old site stands at the new one.

    OTHER_SIZE is whole, but another build's: archives are not reproducible. INCOMPLETE
    lacks a companion that the old site has.
    """

    PRESENT = auto()
    OTHER_SIZE = auto()
    INCOMPLETE = auto()
    DAMAGED = auto()
    WRONG_SERVER = auto()
    MISSING = auto()


class PresenceTotal(NamedTuple):
    """How many objects or signatures of one cache are in one state; sizes of the old site."""

    cache: str
    kind: Literal["object", "signature"]
    state: State
    entries: int
    size_bytes: int


class AbsentObject(NamedTuple):
    """One object that a build would not find, or not whole; `server` is where it belongs."""

    cache: str
    server: str
    directory: str
    name: str
    kind: Literal["object", "signature"]
    size_bytes: int
    state: State


class Presence:
    """The answer, while it is open."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection

    def totals(self) -> list[PresenceTotal]:
        """Count per cache, kind and state."""
        rows = self._connection.execute(query("presence_totals")).fetchall()
        return [PresenceTotal(*row)._replace(state=State(row[2])) for row in rows]

    def absent(self, *, other_size: bool = False) -> Iterator[AbsentObject]:
        """Give one by one what is not present; what is there from another build if wanted."""
        cursor = self._connection.cursor()
        cursor.execute(query("presence_absent"), {"other_size": other_size})
        for row in fetched(cursor):
            yield AbsentObject(*row)._replace(
                directory=unescape_path(row[2]), name=unescape_path(row[3]), state=State(row[6])
            )


@contextmanager
def presence(old: Inventory, destination: Destination, new: Inventory) -> Iterator[Presence]:
    """Compare two inventories by the map of the new site."""
    with (
        pinned(new.path) as new_path,
        candidates(old, destination, new.path.parent) as (connection, scratch_dir),
    ):
        parquet_view(connection, "new_inventory", new_path)
        answer = scratch_dir / "presence.parquet"
        write_parquet(connection, query("presence"), answer)
        parquet_view(connection, "presence", answer)
        yield Presence(connection)
