"""Events as plain lines for people, on standard error."""

from enum import IntEnum
from typing import TextIO

from cachemig.agent.protocol import Outcome
from cachemig.core.events import (
    CheckProgress,
    ErrorTold,
    Event,
    Notice,
    ObjectDone,
    ObjectsCounted,
    Row,
    RunEnded,
    RunStarted,
    ScanProgress,
    ServerProblem,
    SyncPlanned,
    SyncProgress,
)

_FINE = frozenset({Outcome.PUBLISHED, Outcome.PRESENT, Outcome.FOREIGN})


class Detail(IntEnum):
    """How much a person wants to read."""

    QUIET = 0
    NORMAL = 1
    VERBOSE = 2


class Console:
    """Prints what a person should read of the events."""

    def __init__(self, stream: TextIO, detail: Detail) -> None:
        self._stream = stream
        self._detail = detail

    def tell(self, event: Event) -> None:
        """Print one event, if it matters at this level of detail."""
        if self._detail >= _least_detail(event):
            print(event, file=self._stream, flush=True)

    def close(self) -> None:
        """Take progress bars off the screen."""


def _least_detail(event: Event) -> int:
    if isinstance(event, ObjectDone):
        return Detail.VERBOSE if event.outcome in _FINE else Detail.NORMAL
    if isinstance(event, ServerProblem):
        return Detail.QUIET
    if isinstance(event, Notice | SyncPlanned):
        return Detail.NORMAL
    never = SyncProgress | ScanProgress | CheckProgress | RunStarted | RunEnded | Row | ErrorTold
    if isinstance(event, never | ObjectsCounted):
        return Detail.VERBOSE + 1
    return Detail.VERBOSE
