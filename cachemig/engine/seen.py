"""Which directories of a destination a run has seen whole."""

import threading
from collections.abc import Iterable, Mapping

from cachemig.agent.protocol import Outcome
from cachemig.catalog.settled import CHANGED, Settled
from cachemig.engine.batches import Consignment

Place = tuple[str, str]
"""A cache, and a directory relative to its folder."""


class Seen:
    """Adds up, from many threads, how many of the entries planned for a directory are there.

    Args:
        racy_since_ns: a directory that changed since then may change once more without
            another time, so it is not relied on.
    """

    def __init__(self, racy_since_ns: int) -> None:
        self._racy_since_ns = racy_since_ns
        self._lock = threading.Lock()
        self._mtimes_ns: dict[Place, int] = {}
        self._entries: dict[Place, int] = {}

    def recalled(self, settled: Iterable[Settled]) -> None:
        """Take over directories that did not change since an earlier run saw them whole."""
        with self._lock:
            for cache, directory, mtime_ns, entries in settled:
                self._mtimes_ns[cache, directory] = mtime_ns
                self._entries[cache, directory] = entries

    def looked(self, mtimes_ns: Mapping[Place, int]) -> None:
        """Note the times of directories; to be called before the names in them are asked for.

        The first time counts, so that whatever happens later makes another one.
        """
        with self._lock:
            for place, mtime_ns in mtimes_ns.items():
                known = mtime_ns < self._racy_since_ns
                self._mtimes_ns.setdefault(place, mtime_ns if known else CHANGED)

    def take(self, items: Iterable[Consignment]) -> None:
        """Count what is there; a directory that was written to has another time now."""
        with self._lock:
            for item in items:
                outcome = item.outcome
                if outcome not in (Outcome.PRESENT, Outcome.PUBLISHED):
                    continue
                place = item.row.cache, item.row.directory
                self._entries[place] = self._entries.get(place, 0) + 1
                if outcome is Outcome.PUBLISHED:
                    self._mtimes_ns[place] = CHANGED

    def settled(self) -> list[Settled]:
        """Every directory of which something is there; whether that is all, the plan tells."""
        with self._lock:
            return [
                Settled(*place, self._mtimes_ns.get(place, CHANGED), entries)
                for place, entries in self._entries.items()
            ]
