"""How long a pair of servers may fail before it is given up."""

import threading
import time

GIVE_UP_AFTER_LIMITS = 2
_PAUSE_S = 0.2
_LONGEST_PAUSE_S = 5.0

Trouble = tuple[str, str, str]
"""Server, what failed, and why."""


class Patience:
    """One clock for all lanes of a pair: it runs from a first failure until a batch comes through.

    Any thread may call.

    Args:
        silence_limit_s: how long a server may say nothing; failures may last some times as long.
    """

    def __init__(self, silence_limit_s: float) -> None:
        self._longest_s = GIVE_UP_AFTER_LIMITS * silence_limit_s
        self._lock = threading.Lock()
        self._failures = 0
        self._failing_since_s = 0.0
        self._troubles: set[Trouble] = set()

    def renew(self) -> None:
        """Begin anew: a batch came through."""
        with self._lock:
            self._failures = 0

    def take(self, trouble: Trouble) -> bool:
        """Count a failure; returns whether it is the first of its kind since a batch came."""
        with self._lock:
            if not self._failures:
                self._failing_since_s = time.monotonic()
                self._troubles.clear()
            self._failures += 1
            is_new = trouble not in self._troubles
            self._troubles.add(trouble)
            return is_new

    @property
    def left_s(self) -> float:
        """How much longer the pair may fail."""
        with self._lock:
            if not self._failures:
                return self._longest_s
            return self._longest_s - (time.monotonic() - self._failing_since_s)

    @property
    def pause_s(self) -> float:
        """How long to wait before the next try."""
        return min(_PAUSE_S * self._failures, _LONGEST_PAUSE_S)
