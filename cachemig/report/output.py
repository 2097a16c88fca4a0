"""Whole lines to an open file descriptor; a write error is an error of the run."""

import os
import threading
from collections.abc import Callable
from pathlib import Path

from cachemig.core.disk import own_file_refused
from cachemig.errors import CachemigError, OutputError


class LineOutput:
    """Writes each line in one go and keeps what a short write left over for the next.

    Threads may share it. After the first failure every further line fails too.

    Args:
        descriptor: an open file descriptor; it stays open.
        as_error: turns the refusal of the system into the error that is raised.
    """

    def __init__(self, descriptor: int, as_error: Callable[[OSError], CachemigError]) -> None:
        self._descriptor = descriptor
        self._as_error = as_error
        self._lock = threading.Lock()
        self._pending = b""
        self._refusal: OSError | None = None

    def write(self, line: bytes) -> None:
        """Write a line that ends with a newline.

        Raises:
            CachemigError: made by `as_error`; the line is lost, and all that follow.
        """
        with self._lock:
            if self._refusal is None:
                self._pending += line
                self._drain()
            if self._refusal is not None:
                raise self._as_error(self._refusal) from self._refusal

    def _drain(self) -> None:
        try:
            while self._pending:
                written = os.write(self._descriptor, self._pending)
                self._pending = self._pending[written:]
        except OSError as refusal:
            self._refusal = refusal


def stdout_error(refusal: OSError) -> OutputError:
    """Say that nobody can read our results any more."""
    return OutputError(
        "standard output can not be written",
        cause=refusal.strerror or str(refusal),
        next_step="keep the reader alive, or redirect to a file system with free space",
    )


def log_error(path: Path, refusal: OSError) -> CachemigError:
    """Say that the run can not keep its evidence in the state directory."""
    return own_file_refused(refusal, str(path), "the run log can not be written", OutputError)
