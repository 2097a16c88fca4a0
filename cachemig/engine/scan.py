"""Read what every server of a site holds into one inventory.

All servers are read at once. A scan is all or nothing: when any server fails, or a place
is suddenly empty, the inventory that was there stays.
"""

import errno
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import TypeVar

from cachemig.catalog.inventory import (
    Inventory,
    InventoryMetadata,
    inventory_path,
    open_inventory,
)
from cachemig.catalog.refusals import is_there
from cachemig.catalog.rows import CachePlace
from cachemig.catalog.writer import (
    Emptied,
    InventoryWriter,
    UncheckedArchive,
    Verdict,
    inventory_writer,
)
from cachemig.core.events import Notice, ScanProgress, ServerProblem, Tell
from cachemig.errors import ScanError
from cachemig.stores.base import ArchiveVerdict, DirectoryListing, Store

FULL_SCAN_INTERVAL = timedelta(hours=12)
_RACY_NS = 2 * 10**9
_PROGRESS_INTERVAL_S = 0.5
_CHECK_BATCH = 200
_NOT_THERE = os.strerror(errno.ENOENT)

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class ScanOptions:
    """How a site is scanned.

    Attributes:
        full: read every directory, also those that did not change.
        check_archives: have the servers walk the structure of archives not checked yet.
        allow_empty: accept that a place which held objects now holds nothing.
    """

    full: bool = False
    check_archives: bool = False
    allow_empty: bool = False


@dataclass(frozen=True, slots=True)
class ScanResult:
    """What a scan did; the inventory is already written."""

    inventory: Inventory
    full: bool
    directories: int
    directories_unchanged: int
    files: int
    archives_checked: int


@dataclass(frozen=True, slots=True)
class ScannedSite:
    """What is scanned: a store for every server, and the folder of every cache by name."""

    name: str
    stores: Sequence[Store]
    folders: Mapping[str, str]


def scan(site: ScannedSite, state_dir: Path, options: ScanOptions, tell: Tell) -> ScanResult:
    """Read all servers of a site and write its inventory.

    Raises:
        ScanError: a directory could not be read, or a place that held objects is empty.
        AccessError: a server could not be reached.
        FormatError: the inventory of the last scan is damaged.
    """
    path = inventory_path(state_dir, site.name)
    previous = open_inventory(path) if is_there(path) else None
    began_at = datetime.now(UTC)
    full_scan_at = began_at if options.full else _last_full_scan(previous, site, began_at)
    with inventory_writer(state_dir, previous) as writer:
        run = _ScanRun(site, writer, tell, skip=full_scan_at < began_at)
        counts = run.on_all_servers(run.read)
        writer.combine(
            InventoryMetadata(
                site=site.name,
                servers=tuple(store.server for store in site.stores),
                scanned_at=began_at,
                full_scan_at=full_scan_at,
                folders=site.folders,
                absent=() if options.allow_empty else run.absent(previous),
            )
        )
        if not options.allow_empty:
            _refuse_emptied(writer.emptied(_places(site)))
        checked = sum(run.on_all_servers(run.check)) if options.check_archives else 0
        inventory = writer.write(path)
    return ScanResult(
        inventory=inventory,
        full=full_scan_at == began_at,
        directories=sum(count.directories for count in counts),
        directories_unchanged=sum(count.directories_unchanged for count in counts),
        files=sum(count.files for count in counts),
        archives_checked=checked,
    )


class _ScanRun:
    """What the threads of one scan share."""

    def __init__(
        self, site: ScannedSite, writer: InventoryWriter, tell: Tell, *, skip: bool
    ) -> None:
        self._site = site
        self._writer = writer
        self._tell = tell
        self._skip = skip
        self._stop = threading.Event()
        self._writing = threading.Lock()
        self._caches_seen: set[str] = set()

    def on_all_servers(self, work: Callable[[Store], Answer]) -> list[Answer]:
        """Do some work for every server at once; the first error stops them all."""
        self._stop.clear()
        stores = self._site.stores
        with ThreadPoolExecutor(max(len(stores), 1), thread_name_prefix="scan") as pool:
            futures = [pool.submit(work, store) for store in stores]
            try:
                done, _ = wait(futures, return_when=FIRST_EXCEPTION)
                failed = [future for future in futures if future in done and future.exception()]
                return [future.result() for future in failed or futures]
            finally:
                self._stop.set()

    def read(self, store: Store) -> ScanProgress:
        """List all caches of one server."""
        with self._writing:
            part = self._writer.open_part()
        directories, files, unchanged = 0, 0, 0
        racy_since_ns = store.opened_at_ns - _RACY_NS
        told_at = time.monotonic()
        for place in _places_of(self._site, store):
            known = self._writer.known(place) if self._skip else {}
            for listing in self._listings(store, place, known):
                part.add(place, listing, remember=listing.mtime_ns < racy_since_ns)
                directories += 1
                files += len(listing.entries)
                unchanged += listing.unchanged
                if time.monotonic() - told_at > _PROGRESS_INTERVAL_S:
                    self._tell(ScanProgress(store.server, directories, files, unchanged))
                    told_at = time.monotonic()
                if self._stop.is_set():
                    break
        progress = ScanProgress(store.server, directories, files, unchanged)
        self._tell(progress)
        return progress

    def absent(self, previous: Inventory | None) -> tuple[str, ...]:
        """Name the caches whose folder no server has, but for those that are known to be so.

        They are told when the site holds other caches: it is not one that is still empty.
        """
        caches = [cache for cache in self._site.folders if cache not in self._caches_seen]
        if previous is not None:
            unclear = _moved_caches(previous, self._site).union(previous.metadata.absent)
            accepted = previous.metadata.folders.keys() - unclear
            caches = [cache for cache in caches if cache not in accepted]
        for cache in caches if self._caches_seen else ():
            self._tell(
                ServerProblem(
                    ", ".join(store.server for store in self._site.stores),
                    f"no server of site {self._site.name} has cache {cache}",
                    f"there is no folder {self._site.folders[cache]}",
                    "is its path in cachemig.toml right?",
                )
            )
        return tuple(caches)

    def check(self, store: Store) -> int:
        """Have a server walk the structure of its archives that were not checked yet."""
        waiting = self._writer.unchecked(store.server)
        checked = 0
        while not self._stop.is_set() and (batch := list(islice(waiting, _CHECK_BATCH))):
            rows = {self._path(store, archive): archive.row for archive in batch}
            found = [
                Verdict(rows[verdict.path], verdict.damage)
                for verdict in self._looked_at(store, store.check(list(rows)))
            ]
            with self._writing:
                self._writer.add_verdicts(found)
            checked += len(found)
        return checked

    def _looked_at(
        self, store: Store, verdicts: Iterable[ArchiveVerdict]
    ) -> Iterator[ArchiveVerdict]:
        """Pass on what was looked at; the rest stays unchecked, and is told."""
        for verdict in verdicts:
            if verdict.problem:
                what = f"an archive could not be checked: {verdict.path}"
                self._tell(ServerProblem(store.server, what, verdict.problem))
            else:
                yield verdict

    def _listings(
        self, store: Store, place: CachePlace, known: Mapping[str, int]
    ) -> Iterator[DirectoryListing]:
        try:
            for listing in store.list(place.folder, known):
                self._caches_seen.add(place.cache)
                yield listing
        except ScanError as error:
            if not place.folder or (error.path, error.cause) != (place.folder, _NOT_THERE):
                raise
            self._tell(
                Notice(
                    f"{store.server} has no folder {place.folder}; cache {place.cache}"
                    " counts as empty there"
                )
            )

    def _path(self, store: Store, archive: UncheckedArchive) -> str:
        folder = self._site.folders[archive.cache]
        place = CachePlace(store.server, archive.cache, folder)
        return f"{place.path(archive.directory)}/{archive.name}".lstrip("/")


def _last_full_scan(previous: Inventory | None, site: ScannedSite, now: datetime) -> datetime:
    """Tell when everything was last read: now, unless a recent enough scan can be built on."""
    if previous is None or _moved_caches(previous, site):
        return now
    last = previous.metadata.full_scan_at
    return last if timedelta(0) <= now - last <= FULL_SCAN_INTERVAL else now


def _moved_caches(previous: Inventory, site: ScannedSite) -> set[str]:
    """Name the caches that lay in another folder when the site was last scanned."""
    before = previous.metadata.folders
    return {cache for cache in before if site.folders.get(cache, before[cache]) != before[cache]}


def _places(site: ScannedSite) -> list[CachePlace]:
    return [place for store in site.stores for place in _places_of(site, store)]


def _places_of(site: ScannedSite, store: Store) -> list[CachePlace]:
    return [CachePlace(store.server, cache, folder) for cache, folder in site.folders.items()]


def _refuse_emptied(emptied: Sequence[Emptied]) -> None:
    if not emptied:
        return
    first = emptied[0]
    others = ", and it is not the only such place" if len(emptied) > 1 else ""
    what = f"directory {first.directory} of cache" if first.directory else "cache"
    raise ScanError(
        f"{what} {first.cache} held {first.objects} objects at the last scan and is empty now",
        server=first.server,
        path=first.directory,
        cause="an export may not be mounted" + others,
        next_step="look at the server; if it was emptied on purpose, scan with --allow-empty",
    )
