"""What a sync would still have to send: a plan, held against what is at the new site now.

Nothing is locked, made or touched there.
"""

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import NamedTuple

from cachemig.config import Config
from cachemig.core.events import Notice, ServerProblem, Tell
from cachemig.core.pair import Pair
from cachemig.core.units import format_size
from cachemig.engine.account import Account
from cachemig.engine.asking import Asker, Question
from cachemig.engine.roots import other_root
from cachemig.engine.seen import Seen
from cachemig.engine.sync import SyncPlan
from cachemig.errors import CachemigError
from cachemig.stores.base import ArchiveVerdict, FileStat, Space, Store
from cachemig.stores.open import open_store
from cachemig.stores.whereabouts import refuse_overlap


class PairLack(NamedTuple):
    """How much of what is planned for a pair is not at its new server yet."""

    source: str
    destination: str
    planned: int
    to_send: int
    files: int
    size_bytes: int
    free_bytes: int


class Preview(NamedTuple):
    """What the servers that answer lack, and why the others do not answer."""

    lacks: list[PairLack]
    errors: list[CachemigError]


class _Untouched:
    """A destination that is asked, and not written to."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def stat(self, paths: Sequence[str]) -> Sequence[FileStat | None]:
        """Look at planned names."""
        return self._store.stat(paths)

    def touch(self, _times: Iterable[tuple[str, int]]) -> int:
        """Leave every time as it is."""
        return 0

    def check(self, paths: Sequence[str]) -> Iterable[ArchiveVerdict]:
        """Check the structure of archives."""
        return list(self._store.check(paths))


def preview(config: Config, sync_plan: SyncPlan, known: Mapping[str, str], tell: Tell) -> Preview:
    """Ask every new server of a plan what it lacks, and whether that fits.

    `known` is what the roots of servers are known by, as far as that is to be looked at.

    Raises:
        UsageError: an old and a new server have the same directory.
    """
    servers = list(dict.fromkeys(pair.server for pair in sync_plan.plan.pairs))
    lacks: list[PairLack] = []
    errors: list[CachemigError] = []
    with ThreadPoolExecutor(max(1, len(servers)), thread_name_prefix="ask") as pool:
        asked = [pool.submit(_ask, config, sync_plan, name, known) for name in servers]
        for answer in asked:
            try:
                found, space = answer.result()
            except CachemigError as error:
                tell(ServerProblem(error.server, error.what, error.cause))
                errors.append(error)
            else:
                lacks += found
                _tell_whether_it_fits(found, space, tell)
    return Preview(lacks, errors)


def _ask(
    config: Config, sync_plan: SyncPlan, name: str, known: Mapping[str, str]
) -> tuple[list[PairLack], Space]:
    new = config.site(sync_plan.plan.new_site)
    with closing(open_store(config, new, new.server(name))) as store:
        refuse_overlap(sync_plan.old_roots, {name: store.whereabouts})
        other = other_root(name, store.found_root_id, known)
        if other is not None:
            raise other
        space = store.space()
        pairs = [pair for pair in sync_plan.plan.pairs if pair.server == name]
        return [_lack(config, sync_plan, pair, store, space) for pair in pairs], space


def _lack(config: Config, sync_plan: SyncPlan, pair: Pair, store: Store, space: Space) -> PairLack:
    folders = {cache.name: cache.path for cache in config.caches}
    question = Question(sync_plan.plan, pair, folders)
    asker = Asker(question, _Untouched(store), Seen(0))
    objects, files, size_bytes = 0, 0, 0
    for item in asker.lacking(Account(pair, lambda _: None), lambda: False, lambda _: False):
        objects += 1
        files += len(item.wanted)
        size_bytes += item.size_bytes
    total = sync_plan.plan.total(pair)
    planned = total.objects + total.signatures
    return PairLack(*pair, planned, objects, files, size_bytes, space.free_bytes)


def _tell_whether_it_fits(lacks: Sequence[PairLack], space: Space, tell: Tell) -> None:
    """Warn of a server that is too small for all that is to come from all old servers."""
    size_bytes = sum(lack.size_bytes for lack in lacks)
    files = sum(lack.files for lack in lacks)
    for lack in lacks[:1]:
        if size_bytes > space.free_bytes:
            tell(
                Notice(
                    f"{lack.destination} is too small: {format_size(size_bytes)} to come,"
                    f" {format_size(space.free_bytes)} free"
                )
            )
        elif files > space.free_inodes >= 0:
            tell(
                Notice(
                    f"{lack.destination} has too few inodes: {files} files to come,"
                    f" {space.free_inodes} free"
                )
            )
