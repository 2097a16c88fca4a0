"""Progress for logs: one plain line a minute, where no terminal could draw a bar."""

import time
from collections.abc import Callable, Iterator

from cachemig.core.events import CheckProgress, Event, ScanProgress, SyncPlanned, SyncProgress
from cachemig.core.units import format_size
from cachemig.report.amounts import SyncAmounts

INTERVAL_S = 60.0


class MinuteLines:
    """Says once a minute how far the work is; work that ends within one says nothing.

    Args:
        now_s: a clock that never goes back.
    """

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s
        self._told_at_s = now_s()
        self._amounts = SyncAmounts()
        self._counted: dict[str, str] = {}

    def lines(self, event: Event) -> Iterator[str]:
        """Take in an event, and give the lines that are due."""
        self._amounts.take(event)
        match event:
            case SyncPlanned():
                self._counted.clear()
            case ScanProgress() | CheckProgress():
                self._counted[event.server] = str(event)
            case SyncProgress():
                self._counted["in all"] = self._sync_line()
            case _:
                pass
        if self._counted and self._now_s() - self._told_at_s >= INTERVAL_S:
            self._told_at_s = self._now_s()
            yield from self._counted.values()

    def _sync_line(self) -> str:
        pairs = self._amounts.pairs
        done, planned = self._amounts.objects(*pairs), self._amounts.planned(*pairs)
        sent = f"{format_size(done.size_bytes)} of {format_size(planned.size_bytes)} sent"
        return f"{done.objects:,} of {planned.objects:,} objects done, {sent}"
