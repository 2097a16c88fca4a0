"""What a pair of servers has done so far, and who is told of it."""

import threading
from collections.abc import Callable, Iterable
from typing import NamedTuple

from cachemig.agent.protocol import Outcome
from cachemig.core.events import Event, ObjectDone, ObjectsCounted, SyncProgress
from cachemig.core.outcomes import Amount, Tally
from cachemig.core.pair import Pair
from cachemig.engine.batches import Consignment

Tell = Callable[[Event], None]

_COUNTED = frozenset({Outcome.PUBLISHED, Outcome.PRESENT, Outcome.FOREIGN})


class Done(NamedTuple):
    """An object that came to its end."""

    item: Consignment
    outcome: Outcome
    cause: str = ""


class Account:
    """Adds up outcomes and bytes from many threads.

    An object that somebody may have to look at is told singly; the others are counted.
    """

    def __init__(self, pair: Pair, tell: Tell) -> None:
        self._pair = pair
        self._tell = tell
        self._lock = threading.Lock()
        self._tally = Tally()
        self._acknowledged_bytes = 0
        self._under_way: dict[tuple[int, int], int] = {}

    @property
    def tally(self) -> Tally:
        """What became of the objects so far."""
        return self._tally

    @property
    def sent_bytes(self) -> int:
        """Bytes that left, acknowledged or not."""
        with self._lock:
            return self._acknowledged_bytes + sum(self._under_way.values())

    def count(self, done: Iterable[Done]) -> None:
        """Take in objects that came to their end."""
        sums: dict[Outcome, Amount] = {}
        for item, outcome, cause in done:
            sums[outcome] = sums.get(outcome, Amount()).plus(Amount(1, item.row.size_bytes))
            if outcome not in _COUNTED:
                self._tell(self._event(item, outcome, cause))
        with self._lock:
            self._tally += Tally(sums)
        for outcome in _COUNTED & sums.keys():
            self._tell(ObjectsCounted(*self._pair, outcome, *sums[outcome]))

    def count_present(self, amount: Amount) -> None:
        """Take in objects that are known to be there without a look at each."""
        with self._lock:
            self._tally += Tally({Outcome.PRESENT: amount})
        self._tell(ObjectsCounted(*self._pair, Outcome.PRESENT, *amount))

    def under_way(self, lane: int, batch: int, sent_bytes: int) -> None:
        """Note how much of a batch has left."""
        with self._lock:
            self._under_way[lane, batch] = sent_bytes

    def acknowledged(self, lane: int, batch: int, sent_bytes: int) -> None:
        """Note that a batch is durable."""
        with self._lock:
            self._under_way.pop((lane, batch), None)
            self._acknowledged_bytes += sent_bytes

    def lane_ended(self, lane: int) -> None:
        """Forget what a broken lane had under way; it will be sent again."""
        with self._lock:
            for key in [key for key in self._under_way if key[0] == lane]:
                del self._under_way[key]

    def tell_progress(self, connections: int) -> None:
        """Tell how far the pair is."""
        objects = self._tally.total.objects
        self._tell(SyncProgress(*self._pair, objects, self.sent_bytes, connections))

    def _event(self, item: Consignment, outcome: Outcome, cause: str) -> ObjectDone:
        return ObjectDone(
            path=item.path,
            cache=item.row.cache,
            server=self._pair.server,
            outcome=outcome,
            size_bytes=item.row.size_bytes,
            source=self._pair.source_server,
            sha256=item.sha256,
            attempts=max(1, item.attempts),
            cause=cause,
            damaged_at=_damaged_at(item) if outcome is Outcome.DAMAGED else "",
        )


def _damaged_at(item: Consignment) -> str:
    return "destination" if item.met_there else "source"
