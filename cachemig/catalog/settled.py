"""Directories of a new site that need no question: all that is planned for them is there.

A name that is added to a directory, or taken from it, changes the directory's time. So what a
run saw whole is whole while that time stays, and the next run asks for one time instead of
all names. Whoever writes into a file in place is not noticed: that is for `verify integrity`.
"""

import csv
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import duckdb

from cachemig.catalog.database import (
    connect,
    csv_view,
    fetched,
    parquet_view,
    publish,
    query,
    read_metadata,
    scratch,
    write_parquet,
)
from cachemig.catalog.plan import Plan
from cachemig.catalog.refusals import is_there
from cachemig.core.outcomes import Amount
from cachemig.core.pair import Pair
from cachemig.core.quoting import escape_path, unescape_path
from cachemig.errors import FormatError

FORMAT_VERSION = 1
CHANGED = 0
"""Stands for the time of a directory that a run has written to: it must be asked about."""
_HELD_COLUMNS = {
    "source_server": "VARCHAR",
    "server": "VARCHAR",
    "cache": "VARCHAR",
    "directory": "VARCHAR",
    "mtime_ns": "BIGINT",
    "entries": "BIGINT",
}


class Settled(NamedTuple):
    """A directory of a cache that held all that was planned for it.

    Attributes:
        directory: relative to the cache's folder.
        mtime_ns: its time before the names in it were looked at, or `CHANGED`.
        entries: how many objects and signatures were planned for it.
    """

    cache: str
    directory: str
    mtime_ns: int
    entries: int


class Recalled(NamedTuple):
    """What an earlier run knew of one pair.

    Attributes:
        settled: directories that held all that this plan brings there.
        news: how many entries of the plan lie elsewhere.
    """

    settled: list[Settled]
    news: int


class Memory(NamedTuple):
    """What earlier runs knew of a new site, as far as it is still to be relied on.

    Attributes:
        asked_at: since when directories were passed over because of it.
        pairs: what was known of each pair of the plan.
    """

    asked_at: datetime
    pairs: Mapping[Pair, Recalled]


def recall(plan: Plan, path: Path, *, longest: timedelta) -> Memory:
    """Say what the last run knew: nothing when it is too old, or can not be read."""
    now = datetime.now(UTC)
    asked_at = _asked_at(path)
    if asked_at is None or not timedelta(0) <= now - asked_at < longest:
        all_new = {
            total.pair: Recalled([], total.objects + total.signatures) for total in plan.totals
        }
        return Memory(now, all_new)
    with _contents(plan, path.parent) as (connection, _):
        parquet_view(connection, "settled", path)
        return Memory(asked_at, {pair: _recalled(connection, pair) for pair in plan.pairs})


def rest_of(plan: Plan, pair: Pair, settled: Iterable[Settled], path: Path) -> tuple[Plan, Amount]:
    """Write one pair's part of a plan without settled directories; say also what these hold."""
    held = path.with_suffix(".csv")
    with connect(path.parent) as connection:
        _write(held, {pair: settled})
        parquet_view(connection, "plan", plan.path)
        csv_view(connection, "held", [held], _HELD_COLUMNS)
        found = connection.execute(query("rest_totals"), pair._asdict()).fetchall()
        write_parquet(connection, query("rest"), path, parameters=pair._asdict())
    return replace(plan, path=path), Amount(*found[0])


def remember(
    plan: Plan, held: Mapping[Pair, Iterable[Settled]], path: Path, asked_at: datetime
) -> None:
    """Keep for the next run what this one has seen whole, or recalled and found unchanged."""
    with _contents(plan, path.parent) as (connection, scratch_dir):
        seen = scratch_dir / "held.csv"
        _write(seen, held)
        csv_view(connection, "held", [seen], _HELD_COLUMNS)
        draft = scratch_dir / "settled.parquet"
        metadata = {"format_version": str(FORMAT_VERSION), "asked_at": asked_at.isoformat()}
        write_parquet(connection, query("settled"), draft, metadata=metadata)
        publish(draft, path)


def _asked_at(path: Path) -> datetime | None:
    if not is_there(path):
        return None
    try:
        told = read_metadata(path, "what is settled", FORMAT_VERSION)
        return datetime.fromisoformat(told["asked_at"])
    except (FormatError, KeyError, ValueError):
        return None


@contextmanager
def _contents(plan: Plan, place: Path) -> Iterator[tuple[duckdb.DuckDBPyConnection, Path]]:
    """Open a database with the table `contents`, and a scratch directory below `place`."""
    with scratch(place) as scratch_dir, connect(scratch_dir) as connection:
        parquet_view(connection, "plan", plan.path)
        connection.execute("CREATE TEMP TABLE contents AS " + query("contents"))
        yield connection, scratch_dir


def _recalled(connection: duckdb.DuckDBPyConnection, pair: Pair) -> Recalled:
    news = connection.execute(query("news"), pair._asdict()).fetchall()[0][0]
    rows = fetched(connection.execute(query("recall"), pair._asdict()))
    settled = [Settled(cache, unescape_path(path), *facts) for cache, path, *facts in rows]
    return Recalled(settled, news)


def _write(path: Path, held: Mapping[Pair, Iterable[Settled]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        for pair, directories in held.items():
            rows.writerows(
                (*pair, cache, escape_path(path), *facts) for cache, path, *facts in directories
            )
