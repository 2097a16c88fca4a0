"""Signals that end a run: turned into one exception, raised where it does no harm."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from cachemig.errors import ExitCode

GRACE_S = 3.0
STOPPING = "cachemig: stopping; press Ctrl-C again to kill"
_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stopped(BaseException):
    """A signal asked the run to end; not an `Exception`, so that nothing swallows it."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.exit_code = ExitCode(128 + number)


class StopSignals:
    """Raises `Stopped` in the main thread at the first signal, and says so; a second one kills.

    Attributes:
        stopped: what was raised. A library in between may make an error of its own of it, as
            DuckDB does amid a query.

    Args:
        overdue: called in a thread of its own when the run has not ended `GRACE_S` later,
            since some wait for a dead server may not be cut short.
        acknowledge: called in a thread of its own at once, since the main one may hold any lock.
    """

    def __init__(
        self, overdue: Callable[[ExitCode], None], acknowledge: Callable[[], None]
    ) -> None:
        self.stopped: Stopped | None = None
        self._overdue = overdue
        self._acknowledge = acknowledge
        self._received = 0
        self._shields = 0

    @contextmanager
    def caught(self) -> Iterator[None]:
        """Listen for signals while the block runs; a signal ignored before stays so."""
        before = {number: signal.getsignal(number) for number in _STOP_SIGNALS}
        for number in _STOP_SIGNALS:
            if before[number] is not signal.SIG_IGN:
                signal.signal(number, self._receive)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextmanager
    def shield(self) -> Iterator[None]:
        """Hold a signal back until the block is done, so that no line is written in half."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        self._shields += 1
        try:
            yield
        finally:
            self._shields -= 1
            if self._received and not self._shields:
                self._stop()

    def release(self) -> None:
        """Let a signal kill the process from now on, as it does to any program."""
        for number in _STOP_SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, signal.SIG_DFL)

    def _receive(self, number: int, _frame: FrameType | None) -> None:
        self.release()
        self._received = number
        threading.Thread(target=self._acknowledge, daemon=True).start()
        timer = threading.Timer(GRACE_S, self._overdue, (ExitCode(128 + number),))
        timer.daemon = True
        timer.start()
        if not self._shields:
            self._stop()

    def _stop(self) -> None:
        number, self._received = self._received, 0
        self.stopped = Stopped(number)
        raise self.stopped
