"""How much memory and time the catalog takes: scan, scan again, plan and presence.

    python -m benchmarks.catalog_memory [OBJECTS]

The listings are made up on the way, so that what is measured is the catalog alone. The
peak is that of the whole process, and only ever grows; the promise is 300 MB.
"""

import hashlib
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import cachemig.cli.app  # what a real run holds in memory, too
import cachemig.engine.sync  # noqa: F401
from benchmarks.ours import memory_so_far_bytes
from cachemig.agent.protocol import Outcome
from cachemig.catalog.candidates import Destination
from cachemig.catalog.inventory import Dimension
from cachemig.catalog.plan import Plan, make_plan
from cachemig.catalog.presence import presence
from cachemig.catalog.receipt_writer import ReceiptWriter
from cachemig.catalog.receipts import open_receipts
from cachemig.core.shards import new_map
from cachemig.engine.scan import ScannedSite, ScanOptions, scan
from cachemig.stores.base import (
    ArchiveVerdict,
    DirectoryListing,
    FileEntry,
    FileReceipt,
    WantedFile,
)

SERVERS = ("nfs-1", "nfs-2", "nfs-3")
TASKS = ("package", "package_write_rpm", "populate_sysroot", "packagedata", "package_qa")
NOW_NS = time.time_ns()
DAY_NS = 86_400 * 10**9
LEAVES = 65_536
WINDOW = 2_000
DIGEST = "0" * 64


class MadeUpStore:
    """Lists a cache that is not there: every third leaf directory belongs to this server."""

    def __init__(self, number: int, objects_per_leaf: int) -> None:
        self.server = SERVERS[number]
        self.opened_at_ns = NOW_NS
        self._number = number
        self._objects_per_leaf = objects_per_leaf

    def list(self, subtree: str, known: Mapping[str, int]) -> Iterator[DirectoryListing]:
        """Give a listing for each leaf directory."""
        assert not subtree
        for leaf in range(self._number, LEAVES, len(SERVERS)):
            directory = f"{leaf >> 8:02x}/{leaf & 255:02x}"
            mtime_ns = NOW_NS - DAY_NS - leaf
            if known.get(directory) == mtime_ns:
                yield DirectoryListing(directory, mtime_ns, True, [])
            else:
                yield DirectoryListing(directory, mtime_ns, False, self._files(leaf))

    def check(self, paths: Sequence[str], *, deep: bool = False) -> Iterator[ArchiveVerdict]:
        """Find every archive whole."""
        del deep
        return (ArchiveVerdict(path, 0) for path in paths)

    def _files(self, leaf: int) -> Sequence[FileEntry]:
        files = []
        for number in range(self._objects_per_leaf):
            digest = hashlib.sha256(f"{leaf}-{number}".encode()).hexdigest()
            pn, task = f"recipe-{leaf % 997}", TASKS[number % len(TASKS)]
            name = (
                f"sstate:{pn}:core2-64-poky-linux:1.2.{leaf % 50}+git:r0:core2-64:14:"
                f"{leaf:04x}{digest[4:]}_{task}.tar.zst"
            )
            mtime_ns = NOW_NS - int(digest[:8], 16) * 10**5
            files.append(FileEntry(name, "f", 10_000 + leaf, mtime_ns))
            files.append(FileEntry(name + ".siginfo", "f", 9_000, mtime_ns))
        return files


def measured(what: str, began_s: float) -> float:
    """Print the time since `began_s` and the peak so far; returns the time now."""
    peak_mb = memory_so_far_bytes(os.getpid()) / 1e6
    print(f"{what:28} {time.monotonic() - began_s:8.1f} s   peak {peak_mb:6.0f} MB", flush=True)
    return time.monotonic()


def read_through(plan: Plan, receipts: ReceiptWriter) -> int:
    """Read a plan window by window and keep a receipt for every file, as a run does."""
    rows = 0
    for pair in plan.pairs:
        start = 0
        with plan.reading() as reader:
            while window := reader.rows(pair, start, WINDOW):
                start += len(window)
                files = [
                    WantedFile(path, path, file.size_bytes, file.mtime_ns)
                    for row in window
                    for path, file in zip(row.paths(""), row.files, strict=True)
                ]
                done = [
                    FileReceipt(f.path, Outcome.PUBLISHED, f.size_bytes, DIGEST, f.mtime_ns)
                    for f in files
                ]
                receipts.keep(pair, files, done)
        rows += start
    return rows


def main() -> None:
    """Run all stages on one made-up site."""
    objects = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    stores = [MadeUpStore(n, max(1, objects // LEAVES)) for n in range(len(SERVERS))]
    site = ScannedSite("old", stores, {"default": ""})  # type: ignore[arg-type]
    weights = {"nfs-8": 2.0, "nfs-9": 1.0}
    destination = Destination("new", {"default": new_map("new", "default", weights)})
    with tempfile.TemporaryDirectory() as folder:
        state_dir = Path(folder)
        clock_s = measured("imports", time.monotonic())
        inventory = scan(site, state_dir, ScanOptions(), lambda _: None).inventory
        clock_s = measured("first scan", clock_s)
        scan(site, state_dir, ScanOptions(), lambda _: None)
        clock_s = measured("scan, nothing changed", clock_s)
        scan(site, state_dir, ScanOptions(full=True, check_archives=True), lambda _: None)
        clock_s = measured("full scan, archives checked", clock_s)
        inventory = scan(site, state_dir, ScanOptions(full=True), lambda _: None).inventory
        clock_s = measured("full scan, verdicts carried", clock_s)
        totals = inventory.totals(Dimension.PN)
        clock_s = measured("totals by recipe", clock_s)
        plan = make_plan(inventory, destination, state_dir / "plans" / "plan.parquet")
        clock_s = measured("plan", clock_s)
        with ReceiptWriter(state_dir, "run", "old", "new") as receipts:
            read = read_through(plan, receipts)
        clock_s = measured("plan read, receipts kept", clock_s)
        with presence(inventory, destination, inventory) as found:
            absent = sum(1 for _ in found.absent())
        clock_s = measured("presence", clock_s)
        with open_receipts(state_dir, "new", {}) as book:
            audited = sum(1 for s in weights for _ in book.audit(inventory, {"default": ""}, s))
        measured("audit by receipts", clock_s)
        print(
            f"{sum(t.objects for t in totals)} objects, {read} planned, {absent} absent,"
            f" {audited} files audited"
        )
        print(f"inventory {inventory.path.stat().st_size >> 20} MiB, ", end="")
        print(f"plan {plan.path.stat().st_size >> 20} MiB")


if __name__ == "__main__":
    main()
