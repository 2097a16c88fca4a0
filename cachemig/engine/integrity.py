"""Prove that a site holds what we brought to it: against our receipts, without the old site.

Digests are computed where the files lie; nothing but digests is on the wire. An archive
that we have no receipt for is only walked by its structure. Several agents work on each
server at once, since a digest keeps one processor busy. A server that is out of reach keeps
no other from being checked.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from enum import StrEnum, auto
from itertools import chain, islice
from typing import NamedTuple

from cachemig.catalog.inventory import Dimension, Inventory
from cachemig.catalog.receipts import AuditedFile, ReceiptBook, open_receipts
from cachemig.config import Config, Server, Site
from cachemig.core.events import CheckProgress, Notice, ServerProblem, Tell
from cachemig.engine.proof import FileState, Finding, Prover
from cachemig.engine.survey import OUT_OF_REACH
from cachemig.errors import CachemigError, ExitCode, worst
from cachemig.stores.base import KeptReceipt
from cachemig.stores.open import open_answering, open_store
from cachemig.stores.remote import RemoteStore

LANES_PER_SERVER = 4
_FILES_PER_LANE = 400
_FILES_AT_ONCE = 200
_BYTES_AT_ONCE = 256 * 1024 * 1024
_TRIES = 3
_PROGRESS_INTERVAL_S = 0.5

_UNREMARKABLE = frozenset({FileState.WHOLE, FileState.STRUCTURE_ONLY, FileState.UNPROVED})


class Checked(StrEnum):
    """How much of a server was looked at."""

    ALL = auto()
    PART = auto()
    NONE = auto()


class ServerIntegrity(NamedTuple):
    """How many files of one server are in which state; `size_bytes` is what was read.

    A server that fell silent is checked in part: the counts are those of what was looked at.
    """

    server: str
    checked: Checked
    whole: int
    structure_only: int
    unproved: int
    differs: int
    damaged: int
    missing: int
    unreadable: int
    size_bytes: int

    @property
    def exit_code(self) -> ExitCode:
        """What this finding deserves; a missing file was perhaps just cleaned away."""
        codes = [ExitCode.OK]
        if self.differs or self.damaged:
            codes.append(ExitCode.INTEGRITY)
        if self.unreadable:
            codes.append(ExitCode.PARTIAL)
        return worst(codes)


class SiteIntegrity(NamedTuple):
    """What was found on each server of a site; `errors` are those of servers out of reach."""

    servers: Sequence[ServerIntegrity]
    errors: Sequence[CachemigError]


@dataclass(frozen=True, slots=True)
class Inspection:
    """What is looked at, and who hears of it.

    Attributes:
        inventory: of the servers that answer, just scanned.
        deep: unpack every archive as well.
        found: gets every finding that is neither WHOLE nor STRUCTURE_ONLY nor UNPROVED;
            any thread calls it.
        silent: servers that did not answer when they were scanned, and why.
    """

    config: Config
    inventory: Inventory
    deep: bool
    tell: Tell
    found: Callable[[Finding], None]
    silent: Mapping[str, CachemigError] = field(default_factory=dict)

    @property
    def site(self) -> Site:
        """The site that is looked at."""
        return self.config.site(self.inventory.metadata.site)


def integrity(inspection: Inspection) -> SiteIntegrity:
    """Prove every file of the servers that answer; one sum for each server of the site."""
    config, site = inspection.config, inspection.site
    totals = inspection.inventory.totals(Dimension.SERVER)
    files = {total.name: total.files for total in totals}
    answering = tuple(s for s in site.servers if s.name not in inspection.silent)
    with ExitStack() as opened:
        with open_answering(config, replace(site, servers=answering)) as (stores, refused):
            silent = {**inspection.silent, **refused}
            kept = {store.server: _kept(store, inspection.tell, silent) for store in stores}
            book = opened.enter_context(open_receipts(config.state_dir, site.name, kept))
        for name, error in silent.items():
            _tell_silent(name, error, inspection.tell)
        jobs = {
            server.name: _ServerJob(inspection, server, book, files.get(server.name, 0))
            for server in site.servers
            if server.name not in silent
        }
        _run_all(list(jobs.values()))
    failed = [job.error for job in jobs.values() if job.error is not None]
    return SiteIntegrity(
        [jobs[s.name].result() if s.name in jobs else _unchecked(s.name) for s in site.servers],
        [*silent.values(), *failed],
    )


def _kept(
    store: RemoteStore, tell: Tell, silent: dict[str, CachemigError]
) -> Iterator[KeptReceipt]:
    """Give the receipts that a server keeps; how many lines are none is told.

    One that breaks off is noted as silent: without its receipts it can not be checked.
    """
    lost = 0
    try:
        for receipt in store.receipts():
            if receipt is None:
                lost += 1
            else:
                yield receipt
    except OUT_OF_REACH as error:
        silent[store.server] = error
    if lost:
        text = f"{lost} lines of the receipts there are none of ours and are passed over"
        tell(ServerProblem(store.server, text))


def _tell_silent(server: str, error: CachemigError, tell: Tell) -> None:
    tell(ServerProblem(server, error.what, error.cause, "the other servers are checked"))


def _unchecked(server: str) -> ServerIntegrity:
    nothing = dict.fromkeys([state.value for state in FileState], 0)
    return ServerIntegrity(server, Checked.NONE, size_bytes=0, **nothing)


class _ServerJob:
    """The work on one server, shared by its lanes."""

    def __init__(
        self, inspection: Inspection, server: Server, book: ReceiptBook, files_there: int
    ) -> None:
        self._inspection = inspection
        self._server = server
        folders = {cache.name: cache.path for cache in inspection.config.caches}
        self._files = _begun(book.audit(inspection.inventory, folders, server.name))
        self._files_there = files_there
        self._lock = threading.Lock()
        self._counts: Counter[FileState] = Counter()
        self._size_bytes = 0
        self._told_at = 0.0
        self._told_no_zstd = False
        self.stopped = threading.Event()
        self.error: CachemigError | None = None

    @property
    def lanes(self) -> int:
        """How many connections this much work is worth."""
        return min(LANES_PER_SERVER, self._files_there // _FILES_PER_LANE + 1)

    def run_lane(self) -> None:
        """Prove batches until none is left."""
        tries = 0
        batch = self._next_batch()
        while batch and not self.stopped.is_set():
            try:
                with closing(self._connect()) as store:
                    prover = Prover(store, deep=self._inspection.deep, no_zstd=self._no_zstd)
                    while batch and not self.stopped.is_set():
                        self._take(list(prover.prove(batch)))
                        batch, tries = self._next_batch(), 0
            except CachemigError as error:
                tries += 1
                if not error.retryable or tries >= _TRIES:
                    raise

    def give_up(self, error: CachemigError) -> None:
        """End the work on this server alone; its first error is kept, and told."""
        self.stopped.set()
        if self.error is None:
            self.error = error
            _tell_silent(self._server.name, error, self._inspection.tell)

    def result(self) -> ServerIntegrity:
        """Sum up what was looked at."""
        counts = {state.value: self._counts[state] for state in FileState}
        checked = Checked.ALL
        if self.error is not None:
            checked = Checked.PART if self._counts else Checked.NONE
        return ServerIntegrity(self._server.name, checked, size_bytes=self._size_bytes, **counts)

    def _connect(self) -> RemoteStore:
        return open_store(self._inspection.config, self._inspection.site, self._server)

    def _next_batch(self) -> list[AuditedFile]:
        batch: list[AuditedFile] = []
        size_bytes = 0
        with self._lock:
            for file in islice(self._files, _FILES_AT_ONCE):
                batch.append(file)
                size_bytes += file.size_bytes or 0
                if size_bytes >= _BYTES_AT_ONCE:
                    break
        return batch

    def _take(self, findings: Sequence[Finding]) -> None:
        for finding in findings:
            if finding.state not in _UNREMARKABLE:
                self._inspection.found(finding)
        with self._lock:
            self._counts.update(finding.state for finding in findings)
            self._size_bytes += sum(finding.size_bytes for finding in findings)
            if time.monotonic() - self._told_at > _PROGRESS_INTERVAL_S:
                self._told_at = time.monotonic()
                done = self._counts.total()
                self._inspection.tell(
                    CheckProgress(self._server.name, done, self._size_bytes, self._files_there)
                )

    def _no_zstd(self, server: str) -> None:
        with self._lock:
            told, self._told_no_zstd = self._told_no_zstd, True
        if not told:
            self._inspection.tell(
                Notice(f"{server} has no zstd: its archives are sent and unpacked here")
            )


def _begun(files: Iterator[AuditedFile]) -> Iterator[AuditedFile]:
    """Ask the question now, in this thread; lanes take the answers under a lock."""
    first = next(files, None)
    return chain([] if first is None else [first], files)


def _run_all(jobs: Sequence[_ServerJob]) -> None:
    """Run the lanes of all servers at once; a server's trouble ends its own, a fault ends all."""
    count = sum(job.lanes for job in jobs)
    with ThreadPoolExecutor(max(count, 1), thread_name_prefix="prove") as pool:
        lanes = {pool.submit(job.run_lane): job for job in jobs for _ in range(job.lanes)}
        try:
            for lane in as_completed(lanes):
                try:
                    lane.result()
                except OUT_OF_REACH as error:
                    lanes[lane].give_up(error)
        finally:
            for job in jobs:
                job.stopped.set()
