"""The board from which the lanes of a pair take their batches."""

import threading
from collections import deque
from collections.abc import Iterable

from cachemig.engine.batches import Batch


class Board:
    """A bounded queue that knows when all work is settled; shared by one asker and many lanes.

    A batch is open from `put` until `settle`, so that one which comes back because its
    lane broke is never forgotten.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._waiting: deque[Batch] = deque()
        self._open = 0
        self._closed = False
        self._stopped = False
        self._changed = threading.Condition()

    @property
    def open(self) -> int:
        """How many batches wait or are under way."""
        return self._open

    @property
    def waiting(self) -> int:
        """How many batches no lane has taken yet."""
        return len(self._waiting)

    @property
    def over(self) -> bool:
        """Whether nothing is left to do, or nothing more shall be done."""
        return self._stopped or (self._closed and self._open == 0)

    def put(self, batch: Batch) -> None:
        """Add a batch; waits while the board is full, drops it once stopped.

        A large object comes before those that wait: it keeps a lane busy for long.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or len(self._waiting) < self._limit)
            self._open += 1
            if batch.is_large:
                self._waiting.appendleft(batch)
            else:
                self._waiting.append(batch)
            self._changed.notify_all()

    def take(self, *, wait: bool) -> Batch | None:
        """Take the next batch; None when there is none now (without `wait`) or ever."""
        with self._changed:
            if wait:
                self._changed.wait_for(lambda: self.over or self._waiting)
            if self._stopped or not self._waiting:
                return None
            batch = self._waiting.popleft()
            self._changed.notify_all()
            return batch

    def give_back(self, batches: Iterable[Batch]) -> None:
        """Put batches that were taken to the front again; never waits."""
        with self._changed:
            self._waiting.extendleft(reversed(list(batches)))
            self._changed.notify_all()

    def settle(self) -> None:
        """Say that one batch is done with."""
        with self._changed:
            self._open -= 1
            self._changed.notify_all()

    def close(self) -> None:
        """Say that no more batches will be put."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def stop(self) -> None:
        """End the work as it stands."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def wait_until_over(self, timeout_s: float | None = None) -> bool:
        """Wait for the end; False when the time is over first."""
        with self._changed:
            return self._changed.wait_for(lambda: self.over, timeout_s)
