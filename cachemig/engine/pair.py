"""Everything between one old and one new server: its lanes, and what keeps them fed."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cachemig.agent.protocol import Outcome
from cachemig.catalog.plan import Plan
from cachemig.catalog.settled import Recalled, Settled
from cachemig.core.disk import is_full
from cachemig.core.events import ServerProblem
from cachemig.core.outcomes import Tally
from cachemig.core.pair import Pair
from cachemig.engine.account import Account, Done, Tell
from cachemig.engine.adapt import MAX_LANES, LaneCount
from cachemig.engine.asking import Asker, Question
from cachemig.engine.batches import BATCH_FILES, Batch, cut, last_batch_bytes
from cachemig.engine.board import Board
from cachemig.engine.held import HeldStore
from cachemig.engine.lanes import Lanes
from cachemig.engine.limits import SharedLimit
from cachemig.engine.patience import Patience
from cachemig.engine.seen import Seen
from cachemig.errors import CachemigError
from cachemig.stores.base import FileReceipt, WantedFile
from cachemig.stores.diagnosis import nobody_listens
from cachemig.stores.lane import BatchAnswer, Lane
from cachemig.stores.refusals import no_space

BATCHES_WAITING = 12
BATCHES_PER_LANE = 2
RACY_NS = 2 * 10**9
_FILES_PER_ENTRY = 2
_WATCH_INTERVAL_S = 2.0

Keep = Callable[[Pair, Sequence[WantedFile], Sequence[FileReceipt]], None]


@dataclass(frozen=True, slots=True)
class Job:
    """What a pair has to do, and what it shares with the others.

    Attributes:
        question: what to bring, as far as it is not there.
        known: what earlier runs saw there.
        rest_path: where the plan without that may be written.
        control: the store at the destination that holds the lock and answers questions.
        lanes: opens them.
        first_lanes: how many to start with.
        silence_limit_s: how long a server may say nothing.
        keep: takes the receipts of a batch.
    """

    question: Question
    known: Recalled
    rest_path: Path
    control: HeldStore
    lanes: Lanes
    first_lanes: int
    limit: SharedLimit
    silence_limit_s: float
    tell: Tell
    keep: Keep

    @property
    def plan(self) -> Plan:
        """What all pairs bring."""
        return self.question.plan

    @property
    def pair(self) -> Pair:
        """The two servers."""
        return self.question.pair


class PairRun:
    """Runs one pair to its end, in several threads: one asks, one watches, each lane has its own.

    Board, account, patience and what was seen have locks of their own. `_lock` keeps the list of
    lanes, `error` and `lost_lanes`; whether a lane is connected is written by that lane alone,
    and how much was cut by the one that asks.

    Attributes:
        error: why it ended early, if it did.
        lost_lanes: how often a lane broke; its writer may have left temps behind.
    """

    def __init__(self, job: Job, number: int) -> None:
        self._job = job
        self._number = number
        self._board = Board(BATCHES_WAITING)
        self._account = Account(job.pair, job.tell)
        self._seen = Seen(job.control.opened_at_ns - RACY_NS)
        self._lanes: list[threading.Thread] = []
        self._connected: dict[int, Lane] = {}
        self._cut_bytes = 0
        self._patience = Patience(job.silence_limit_s)
        self._was_connected = False
        self._lock = threading.Lock()
        self.error: Exception | None = None
        self.lost_lanes = 0

    @property
    def pair(self) -> Pair:
        """The two servers."""
        return self._job.pair

    @property
    def tally(self) -> Tally:
        """What became of the objects so far."""
        return self._account.tally

    @property
    def settled(self) -> list[Settled]:
        """Directories of the destination in which something was seen."""
        return self._seen.settled()

    def run(self) -> None:
        """Do all of it; returns when everything is acknowledged or nothing more can be done."""
        watcher = threading.Thread(target=self._guarded, args=(self._watch,), daemon=True)
        watcher.start()
        self._guarded(self._ask_and_fill)
        self._board.close()
        self._board.wait_until_over()
        for lane in self._lanes:
            lane.join()
        self._job.limit.ended(self._number)
        watcher.join()
        self._account.tell_progress(0)

    def stop(self, error: Exception) -> None:
        """End early; what is not acknowledged counts as not attempted. May come from anywhere."""
        with self._lock:
            self.error = self.error or error
        self._board.stop()
        for lane in list(self._connected.values()):
            lane.hang_up()

    def _guarded(self, work: Callable[..., None], *arguments: int) -> None:
        """Run a thread's work; whatever ends it early ends the pair, and is not lost."""
        try:
            work(*arguments)
        except Exception as error:  # noqa: BLE001  told by whoever waits for the pair
            self.stop(error)

    def _ask_and_fill(self) -> None:
        """Find out what is lacking; lanes for what is new log in meanwhile."""
        job = self._job
        news = job.known.news
        if news:
            self._start_lanes(min(job.first_lanes, 1 + news * _FILES_PER_ENTRY // BATCH_FILES))
        asker = Asker(job.question, job.control, self._seen)
        asker.pass_over(job.known.settled, job.rest_path, self._account)
        lacking = asker.lacking(self._account, lambda: self._board.over, self._is_due)
        for batch in cut(lacking, self._batch_bytes):
            self._cut_bytes += batch.size_bytes
            self._board.put(batch)
            self._start_lanes(min(job.first_lanes, self._board.open))

    def _batch_bytes(self) -> int:
        """How large the next batch may be."""
        largest_bytes = last_batch_bytes(self._uncut_bytes, len(self._lanes))
        return min(self._job.limit.batch_bytes, largest_bytes)

    def _is_due(self, size_bytes: int) -> bool:
        """Whether an object takes one lane as long as all others need for the rest."""
        return size_bytes * MAX_LANES >= self._uncut_bytes

    @property
    def _uncut_bytes(self) -> int:
        """What is planned, and neither there nor in a batch."""
        return self._planned_bytes - self.tally[Outcome.PRESENT].size_bytes - self._cut_bytes

    def _start_lanes(self, wanted: int) -> None:
        with self._lock:
            while len(self._lanes) < wanted and not self._board.over:
                number = len(self._lanes)
                work = (self._work, number)
                lane = threading.Thread(target=self._guarded, args=work, daemon=True)
                self._lanes.append(lane)
                lane.start()

    def _work(self, number: int) -> None:
        """Keep one lane open and fed; a lost connection is made again."""
        while not self._board.over:
            held: dict[int, Batch] = {}
            try:
                lane = self._job.lanes.open(self._job.pair, self._patience.left_s)
                self._connected[number] = lane
                self._was_connected = True
                self._feed(number, lane, held)
            except CachemigError as error:
                self._survive(error, list(held.values()))
            finally:
                self._account.lane_ended(number)
                if number in self._connected:
                    self._connected.pop(number).close()

    def _feed(self, number: int, lane: Lane, held: dict[int, Batch]) -> None:
        while self._refill(lane, held, wait=True):
            for answer in lane.answers():
                self._take_in(number, answer, held)
                self._refill(lane, held, wait=False)

    def _refill(self, lane: Lane, held: dict[int, Batch], *, wait: bool) -> bool:
        """Hand the lane as many batches as it may have under way; False when all is over.

        None waits behind a large object, which another lane may bring sooner.
        """
        while len(held) < BATCHES_PER_LANE and not any(batch.is_large for batch in held.values()):
            batch = self._board.take(wait=wait and not held)
            if batch is None:
                break
            held[-1] = batch
            sent_as = lane.send(batch.wanted(), self._job.limit.share_bytes_per_s)
            held[sent_as] = held.pop(-1)
        return bool(held)

    def _take_in(self, number: int, answer: BatchAnswer, held: dict[int, Batch]) -> None:
        if answer.receipts is None:
            self._account.under_way(number, answer.number, answer.sent_bytes)
            return
        batch = held.pop(answer.number)
        self._patience.renew()
        self._account.acknowledged(number, answer.number, answer.sent_bytes)
        self._job.keep(self._job.pair, batch.wanted(), answer.receipts)
        settled = batch.settled(answer.receipts)
        done = [item for item in settled if not item.wanted]
        self._seen.take(done)
        self._account.count(Done(item, item.outcome, item.cause) for item in done)
        full = next((receipt for receipt in answer.receipts if is_full(receipt.errno)), None)
        if full is not None:
            self.stop(no_space(self._job.pair.server, full.path, full.cause))
        again = next(cut(item for item in settled if item.wanted), None)
        if again is None:
            self._board.settle()
        else:
            self._board.give_back([again])

    def _survive(self, error: CachemigError, unanswered: list[Batch]) -> None:
        """Send what was not acknowledged again, unless the server is beyond hope.

        A trouble is told once until a batch comes through. Where nobody listened from the
        beginning, a login that was tried for some seconds is enough.
        """
        self._board.give_back(unanswered)
        with self._lock:
            self.lost_lanes += 1
        if self._board.over:
            return
        trouble = (error.server or self._job.pair.server, error.what, error.cause)
        is_new = self._patience.take(trouble)
        never_up = nobody_listens(error) and not self._was_connected
        if not error.retryable or never_up or self._patience.left_s <= 0:
            self.stop(error)
            return
        if is_new:
            self._job.tell(ServerProblem(*trouble, "connecting again"))
        self._board.wait_until_over(self._patience.pause_s)

    def _watch(self) -> None:
        """Tell progress, and open more lanes while that helps.

        A rate counts when all lanes were busy from the beginning to the end of its interval.
        """
        count = LaneCount(self._job.first_lanes, limit=max(self._job.first_lanes, MAX_LANES))
        seen_bytes, seen_s, was_busy = 0, time.monotonic(), False
        while not self._board.wait_until_over(_WATCH_INTERVAL_S):
            self._account.tell_progress(len(self._connected))
            now_bytes, now_s = self._account.sent_bytes, time.monotonic()
            rate_bytes_per_s = (now_bytes - seen_bytes) / (now_s - seen_s)
            is_busy = len(self._connected) >= count.lanes and self._board.waiting > 0
            if is_busy and was_busy and not self._job.limit.bytes_per_s:
                left_bytes = self._planned_bytes - self.tally.total.size_bytes
                self._start_lanes(count.observe(rate_bytes_per_s, left_bytes))
            seen_bytes, seen_s, was_busy = now_bytes, now_s, is_busy

    @property
    def _planned_bytes(self) -> int:
        return self._job.plan.total(self._job.pair).size_bytes
