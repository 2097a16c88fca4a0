"""Move damaged archives out of the way: bitbake never heals one, it only fails on it.

An archive is renamed within its directory, with its signature, to a name that no build
asks for; a later sync or build fills the free name. Nothing is deleted.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from typing import NamedTuple

from cachemig.catalog.inventory import Inventory, Oddity
from cachemig.catalog.receipts import AuditedFile
from cachemig.config import Config, Site
from cachemig.core.events import Tell
from cachemig.core.paths import joined
from cachemig.engine.integrity import Inspection, integrity
from cachemig.engine.proof import FileState, Finding, Prover, it_reads
from cachemig.engine.scan import ScanOptions
from cachemig.engine.survey import scan_and_locate
from cachemig.errors import most_severe
from cachemig.stores.open import open_store
from cachemig.stores.remote import Holder, RemoteStore, who_runs_this

_SIGNATURE = ".sig"
_TO_SET_ASIDE = frozenset({FileState.DAMAGED, FileState.DIFFERS})


class DamagedArchive(NamedTuple):
    """One archive to set aside; the path is below the server's root."""

    server: str
    path: str
    size_bytes: int
    damage: str


class SetAside(NamedTuple):
    """Where a file went."""

    server: str
    path: str
    new_path: str


def plan_quarantine(config: Config, site: Site, tell: Tell, *, deep: bool) -> list[DamagedArchive]:
    """Find what to set aside: archives whose structure is broken at this very moment.

    Every directory is read: a file that was cut short in place does not change its directory.
    With `deep`, also those that do not unpack, and those that are not what we brought.

    Raises:
        AccessError: a server does not answer.
        ScanError: a cache could not be read whole.
    """
    options = ScanOptions(full=True, check_archives=not deep)
    scanned = scan_and_locate(config, site, options, tell).result
    if deep:
        return _found_by_integrity(config, scanned.inventory, tell)
    folders = {cache.name: cache.path for cache in config.caches}
    suspects = _suspects(scanned.inventory, folders)
    found: list[DamagedArchive] = []
    for server, paths in suspects.items():
        with closing(open_store(config, site, site.server(server))) as store:
            found += _still_damaged(store, paths)
    return found


def perform_quarantine(
    config: Config, site: Site, plan: Sequence[DamagedArchive], run_id: str
) -> Iterator[SetAside]:
    """Rename what was planned and is still damaged; tells every file as it went.

    Raises:
        LockedError: a sync is writing to the server.
        AccessError: the server refused.
    """
    by_server: dict[str, list[DamagedArchive]] = defaultdict(list)
    for archive in plan:
        by_server[archive.server].append(archive)
    for server, archives in by_server.items():
        holder = Holder(run_id, who_runs_this())
        with closing(open_store(config, site, site.server(server), holder)) as store:
            paths = _as_they_were(store, archives)
            names = [name for path in paths for name in (path, path + _SIGNATURE)]
            there = [
                name
                for name, found in zip(names, store.stat(names), strict=True)
                if found is not None
            ]
            for path, new_path in store.set_aside(there, run_id):
                yield SetAside(server, path, new_path)


def _suspects(inventory: Inventory, folders: Mapping[str, str]) -> dict[str, list[str]]:
    suspects: dict[str, list[str]] = defaultdict(list)
    for entry in inventory.entries(Oddity.DAMAGED):
        path = joined(folders[entry.cache], entry.directory, entry.name)
        suspects[entry.server].append(path)
    return suspects


def _still_damaged(store: RemoteStore, paths: Sequence[str]) -> Iterable[DamagedArchive]:
    """Look again: an inventory may be older than the archive, and a file may be unreadable."""
    for verdict in store.check(paths):
        if verdict.damage:
            yield DamagedArchive(store.server, verdict.path, verdict.size_bytes, verdict.damage)


def _as_they_were(store: RemoteStore, archives: Sequence[DamagedArchive]) -> list[str]:
    """List what did not become whole since it was found, while we asked and nothing was locked."""
    files = [
        AuditedFile(a.path, is_archive=True, size_bytes=0, receipt_bytes=None, sha256="")
        for a in archives
    ]
    prover = Prover(store, deep=True, no_zstd=lambda _: None)
    damaged = {f.path for f in prover.prove(files) if f.state is FileState.DAMAGED}
    rest = [archive for archive in archives if archive.path not in damaged]
    digests = store.digest([archive.path for archive in rest])
    for archive, digest in zip(rest, digests, strict=True):
        if digest.sha256 and archive.damage.startswith(it_reads(digest.sha256)):
            damaged.add(archive.path)
    return [archive.path for archive in archives if archive.path in damaged]


def _found_by_integrity(config: Config, inventory: Inventory, tell: Tell) -> list[DamagedArchive]:
    found: list[Finding] = []
    checked = integrity(Inspection(config, inventory, deep=True, tell=tell, found=found.append))
    if checked.errors:
        raise most_severe(checked.errors)
    return [
        DamagedArchive(finding.server, finding.path, finding.size_bytes, finding.cause)
        for finding in found
        if finding.state in _TO_SET_ASIDE
    ]
