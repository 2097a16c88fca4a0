"""What of one site could go where at another: the ground of plans and of presence."""

import csv
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb

from cachemig.catalog.database import (
    connect,
    csv_view,
    parquet_view,
    pinned,
    query,
    scratch,
    write_parquet,
)
from cachemig.catalog.inventory import Inventory
from cachemig.core.shards import SLOTS, ShardMap


@dataclass(frozen=True, slots=True)
class Destination:
    """Where objects belong at a site: one map for each cache that is asked for."""

    site: str
    maps: Mapping[str, ShardMap]


@contextmanager
def candidates(
    old: Inventory, destination: Destination, place: Path, silent: Collection[str] = ()
) -> Iterator[tuple[duckdb.DuckDBPyConnection, Path]]:
    """Open a database with the tables `inventory`, `owners` and `candidates`.

    The path is that of a scratch directory below `place`.
    """
    with pinned(old.path) as old_path, scratch(place) as scratch_dir:
        owners = scratch_dir / "owners.csv"
        _write_owners(owners, destination)
        with connect(scratch_dir) as connection:
            parquet_view(connection, "inventory", old_path)
            columns = dict.fromkeys(("cache", "slot", "server"), "VARCHAR")
            csv_view(connection, "owners", [owners], columns)
            found = scratch_dir / "candidates.parquet"
            parameters = {"silent": "\n".join(silent)}
            write_parquet(connection, query("candidates"), found, parameters=parameters)
            parquet_view(connection, "candidates", found)
            yield connection, scratch_dir


def _write_owners(path: Path, destination: Destination) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        for cache, shard_map in destination.maps.items():
            rows.writerows((cache, slot, shard_map.owner(slot)) for slot in SLOTS)
