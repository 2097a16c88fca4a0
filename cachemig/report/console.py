"""Events as plain lines for people, on standard error."""

from enum import IntEnum
from typing import TextIO

from cachemig.agent.protocol import Outcome
from cachemig.core.events import (
    CheckProgress,
    ErrorTold,
    Event,
    ObjectDone,
    ObjectsCounted,
    Row,
    RunEnded,
    RunStarted,
    ScanProgress,
    ServerProblem,
    SyncProgress,
)
from cachemig.core.quoting import printable

_FINE = frozenset({Outcome.PUBLISHED, Outcome.PRESENT, Outcome.FOREIGN})


class Detail(IntEnum):
    """How much a person wants to read."""

    QUIET = 0
    NORMAL = 1
    VERBOSE = 2
    NEVER = 3


class Console:
    """Prints what a person should read of the events, and progress on a terminal."""

    def __init__(self, stream: TextIO, detail: Detail) -> None:
        self._stream = stream
        self._detail = detail
        self._progress = None
        if detail is not Detail.QUIET and stream.isatty():
            from cachemig.report.progress import Progress  # noqa: PLC0415  slow to import

            self._progress = Progress(stream)

    def tell(self, event: Event) -> None:
        """Print one event, if it matters at this level of detail."""
        if self._progress is not None:
            self._progress.tell(event)
        if self._detail >= _least_detail(event):
            self.write(printable(str(event)))

    def write(self, line: str) -> None:
        """Print a line; a reader who went away is no reason to stop."""
        try:
            if self._progress is not None:
                self._progress.write(line)
            else:
                print(line, file=self._stream, flush=True)
        except OSError:
            self._detail = Detail.QUIET

    def close(self) -> None:
        """End the lines of the progress bars."""
        if self._progress is not None:
            self._progress.close()


def _least_detail(event: Event) -> Detail:
    match event:
        case ServerProblem():
            return Detail.QUIET
        case ObjectDone(outcome=outcome):
            return Detail.VERBOSE if outcome in _FINE else Detail.NORMAL
        case SyncProgress() | ScanProgress() | CheckProgress() | ObjectsCounted() | Row():
            return Detail.NEVER
        case RunStarted() | ErrorTold():
            return Detail.NEVER
        case RunEnded(planned=planned, tally=tally):
            counted = planned.objects or tally.total.objects
            return Detail.NORMAL if counted else Detail.NEVER
        case _:
            return Detail.NORMAL
