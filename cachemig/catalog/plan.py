"""A frozen plan: what goes from which server to which, in which order."""

import json
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal, NamedTuple

import duckdb

from cachemig.catalog.candidates import Destination, candidates
from cachemig.catalog.database import (
    connect,
    parquet_view,
    publish,
    query,
    write_parquet,
)
from cachemig.catalog.inventory import Inventory
from cachemig.core.pair import Pair
from cachemig.core.paths import joined
from cachemig.core.quoting import unescape_path
from cachemig.core.units import format_size

FORMAT_VERSION = 1


class PairTotal(NamedTuple):
    """What a plan brings from one server to another; `objects` are those with an archive."""

    pair: Pair
    objects: int
    signatures: int
    files: int
    size_bytes: int


class PlannedFile(NamedTuple):
    """One file of an object: what follows the archive's name (nothing for the archive)."""

    suffix: Literal["", ".sig", ".siginfo"]
    size_bytes: int
    mtime_ns: int


class PlanRow(NamedTuple):
    """One object or signature to bring; companions come before their archive.

    Attributes:
        n: its place in its pair's part of the plan, from 0.
        cache: its cache.
        directory: relative to the cache's folder.
        name: the archive's file name, also for a signature without archive.
        kind: ``object`` has an archive, ``signature`` has none.
        files: what there is of it, in the order in which it is published.
    """

    n: int
    cache: str
    directory: str
    name: str
    kind: Literal["object", "signature"]
    files: tuple[PlannedFile, ...]

    def paths(self, folder: str) -> tuple[str, ...]:
        """Name its files below a server's root, where `folder` is the cache's."""
        stem = joined(folder, self.directory, self.name)
        return tuple(stem + file.suffix for file in self.files)

    @property
    def size_bytes(self) -> int:
        """All files together."""
        return sum(file.size_bytes for file in self.files)


class DamagedObject(NamedTuple):
    """An archive that the scan saw to be cut or broken, so that it stays behind."""

    pair: Pair
    cache: str
    directory: str
    name: str
    size_bytes: int
    damage: str


@dataclass(frozen=True, slots=True)
class Plan:
    """A plan on disk. `str` gives a text that is the same for the same inventory and map."""

    path: Path
    old_site: str
    new_site: str
    scanned_at: datetime
    totals: tuple[PairTotal, ...]
    left_out: Mapping[str, int]

    @property
    def pairs(self) -> tuple[Pair, ...]:
        """The pairs of servers between which something is to be brought."""
        return tuple(total.pair for total in self.totals)

    def total(self, pair: Pair) -> PairTotal:
        """What is to be brought between one pair of servers."""
        return next(total for total in self.totals if total.pair == pair)

    @contextmanager
    def reading(self) -> Iterator["PlanReader"]:
        """Open it for questions, all from one thread."""
        with connect(self.path.parent) as connection:
            parquet_view(connection, "plan", self.path)
            yield PlanReader(connection)

    def damaged(self) -> list[DamagedObject]:
        """List what stays behind because it is damaged."""
        if "damaged" not in self.left_out:
            return []
        with self.reading() as reader:
            found = reader.connection.execute(query("plan_damaged")).fetchall()
        return [
            DamagedObject(
                Pair(source_server, server),
                cache,
                unescape_path(directory),
                unescape_path(name),
                *facts,
            )
            for source_server, server, cache, directory, name, *facts in found
        ]

    def __str__(self) -> str:
        """Write a line for each pair, and one for what stays behind."""
        seen_at = f"{self.scanned_at:%Y-%m-%d %H:%M:%S} UTC"
        lines = [f"plan {self.old_site} -> {self.new_site}, by the inventory of {seen_at}"]
        lines += [_total_line(total) for total in self.totals] or ["nothing to bring"]
        if self.left_out:
            counts = (f"{count} {reason}" for reason, count in sorted(self.left_out.items()))
            lines.append("left out: " + ", ".join(counts))
        return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class PlanReader:
    """Answers from a plan that was opened."""

    connection: duckdb.DuckDBPyConnection

    def rows(self, pair: Pair, start: int, count: int) -> list[PlanRow]:
        """Read up to `count` rows of a pair from the `start`-th on; fewer at its end."""
        return self._rows("plan_window", pair, start=start, count=count)

    def largest(self, pair: Pair, count: int) -> list[PlanRow]:
        """Read the `count` largest rows of a pair, the largest first; fewer if there are fewer."""
        return self._rows("plan_largest", pair, count=count)

    def _rows(self, name: str, pair: Pair, **bounds: int) -> list[PlanRow]:
        found = self.connection.execute(query(name), {**pair._asdict(), **bounds})
        return [_plan_row(*row) for row in found.fetchall()]


def make_plan(
    old: Inventory, destination: Destination, path: Path, silent: Collection[str] = ()
) -> Plan:
    """Write the plan that brings what `old` holds to where `destination` wants it.

    Of several copies of an archive, that of a `silent` server is taken last.
    """
    with candidates(old, destination, path.parent, silent) as (connection, scratch_dir):
        totals = connection.execute(query("plan_totals")).fetchall()
        left_out = connection.execute(query("plan_left_out")).fetchall()
        plan = Plan(
            path=path,
            old_site=old.metadata.site,
            new_site=destination.site,
            scanned_at=old.metadata.scanned_at,
            totals=tuple(PairTotal(Pair(*row[:2]), *row[2:]) for row in totals),
            left_out=dict(left_out),
        )
        draft = scratch_dir / "plan.parquet"
        write_parquet(
            connection,
            query("plan"),
            draft,
            metadata=_as_pairs(plan),
        )
        publish(draft, path)
    return plan


def _as_pairs(plan: Plan) -> dict[str, str]:
    totals = [[*total.pair, *total[1:]] for total in plan.totals]
    return {
        "format_version": str(FORMAT_VERSION),
        "content": "plan",
        "old_site": plan.old_site,
        "new_site": plan.new_site,
        "scanned_at": plan.scanned_at.isoformat(),
        "totals": json.dumps(totals),
        "left_out": json.dumps(plan.left_out),
    }


def _plan_row(
    n: int,
    cache: str,
    directory: str,
    name: str,
    kind: Literal["object", "signature"],
    *sizes_and_times: int | None,
) -> PlanRow:
    suffixes: tuple[Literal["", ".sig", ".siginfo"], ...] = (".sig", ".siginfo", "")
    pairs = zip(suffixes, sizes_and_times[::2], sizes_and_times[1::2], strict=True)
    files = tuple(
        PlannedFile(suffix, size_bytes, mtime_ns)
        for suffix, size_bytes, mtime_ns in pairs
        if size_bytes is not None and mtime_ns is not None
    )
    return PlanRow(n, cache, unescape_path(directory), unescape_path(name), kind, files)


def _total_line(total: PairTotal) -> str:
    return (
        f"{total.pair}: {total.objects} objects, {total.signatures} signatures,"
        f" {total.files} files, {format_size(total.size_bytes)}"
    )
