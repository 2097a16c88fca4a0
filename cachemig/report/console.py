"""Events as plain lines for people, on standard error."""

import contextlib
from collections.abc import Mapping
from enum import IntEnum
from typing import TYPE_CHECKING, TextIO

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
    SyncPlanned,
    SyncProgress,
)
from cachemig.core.quoting import printable
from cachemig.errors import ExitCode
from cachemig.report.alike import AlikeObjects
from cachemig.report.minutes import MinuteLines

if TYPE_CHECKING:
    from pathlib import Path


class Detail(IntEnum):
    """How much a person wants to read."""

    QUIET = 0
    NORMAL = 1
    VERBOSE = 2
    NEVER = 3


# Progress is for bars, errors are printed in full at the end, rows are results.
_LEAST_DETAIL: Mapping[type[Event], Detail] = {
    ServerProblem: Detail.QUIET,
    SyncPlanned: Detail.VERBOSE,
    SyncProgress: Detail.NEVER,
    ScanProgress: Detail.NEVER,
    CheckProgress: Detail.NEVER,
    ObjectsCounted: Detail.VERBOSE,
    Row: Detail.NEVER,
    RunStarted: Detail.NEVER,
    ErrorTold: Detail.NEVER,
}


class Console:
    """Prints what a person should read of the events, and how far the work is.

    Progress is drawn as bars on a terminal; elsewhere it is a line a minute. Of objects that
    ended alike only the first are told singly.

    Attributes:
        log_path: where every event is kept; None while that is nowhere.
    """

    def __init__(self, stream: TextIO, detail: Detail) -> None:
        self.log_path: Path | None = None
        self._alike = AlikeObjects()
        self._stream = stream
        self._detail = detail
        self._progress = None
        self._minutes = MinuteLines()
        if detail is not Detail.QUIET and stream.isatty():
            from cachemig.report.progress import Progress  # noqa: PLC0415  slow to import

            self._progress = Progress(stream)

    def tell(self, event: Event) -> None:
        """Print one event, if it matters at this level of detail."""
        if isinstance(event, RunEnded):
            self.clear()
        elif self._progress is not None:
            with contextlib.suppress(OSError):
                self._progress.tell(event)
        elif self._detail is not Detail.QUIET:
            for line in self._minutes.lines(event):
                self.write(printable(line))
        if self._detail >= _least_detail(event):
            self._print(event)

    def _print(self, event: Event) -> None:
        if isinstance(event, ObjectDone) and not self._alike.worth_a_line(event):
            return
        if isinstance(event, RunEnded):
            for line in self._alike.rest(self.log_path):
                self.write(printable(line))
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

    def stop_drawing(self, why: str) -> None:
        """Take the bars off the screen for good, and print why."""
        self.clear()
        self._progress = None
        self.write(why)

    def clear(self) -> None:
        """Take the progress bars off the screen, since something else is printed there now."""
        if self._progress is not None:
            with contextlib.suppress(OSError):
                self._progress.clear()


def _least_detail(event: Event) -> Detail:
    match event:
        case RunEnded(exit_code=code, planned=planned, tally=tally):
            worth_telling = code >= ExitCode.HANGUP or planned.objects or tally.total.objects
            return Detail.NORMAL if worth_telling else Detail.NEVER
        case _:
            return _LEAST_DETAIL.get(type(event), Detail.NORMAL)
