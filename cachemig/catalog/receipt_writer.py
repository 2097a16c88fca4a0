"""Writes down, during a run, what cachemig published and with which digest."""

import json
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from io import SEEK_END, FileIO
from pathlib import Path
from typing import Protocol, Self

from cachemig.agent.protocol import Outcome
from cachemig.core.disk import own_file_refused
from cachemig.core.pair import Pair
from cachemig.core.quoting import escape_path
from cachemig.errors import OutputError

FORMAT_VERSION = 1


class SentFile(Protocol):
    """What a batch was asked to bring."""

    @property
    def source_path(self) -> str:
        """Where it came from, below the source server's root."""


class PublishedFile(Protocol):
    """What became of it, as the destination told; paths are below the server's root."""

    @property
    def path(self) -> str:
        """Where it is now."""

    @property
    def outcome(self) -> Outcome:
        """Only a published file gets a receipt."""

    @property
    def size_bytes(self) -> int:
        """Its size."""

    @property
    def sha256(self) -> str:
        """The digest, equal at both ends."""

    @property
    def mtime_ns(self) -> int:
        """Its modification time."""


class ReceiptWriter:
    """Adds the receipts of one run to ``receipts/<run_id>.jsonl`` of the state directory.

    A context manager. Its file begins with the first receipt; a batch is written at once.
    """

    def __init__(self, state_dir: Path, run_id: str, old_site: str, new_site: str) -> None:
        self._path = state_dir / "receipts" / f"{run_id}.jsonl"
        self._about = {"run_id": run_id, "site": new_site, "source_site": old_site}
        self._file: FileIO | None = None
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_exception: object) -> None:
        if self._file is not None:
            with self._file:
                if kind is None:
                    self._look_after(self._file)

    def keep(
        self, pair: Pair, sent: Sequence[SentFile], published: Sequence[PublishedFile]
    ) -> None:
        """Write down the published files of a batch; any thread may call.

        Raises:
            NoSpaceError, OutputError: they can not be written, or were taken away.
        """
        lines = "".join(self._lines(pair, sent, published)).encode("ascii")
        if not lines:
            return
        try:
            with self._lock:
                file = self._opened()
                _append(file, lines)
                self._look_after(file)
        except OSError as error:
            what = "the receipts of this run can not be written"
            raise own_file_refused(error, str(self._path), what, OutputError) from error

    def _opened(self) -> FileIO:
        if self._file is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._path.open("ab", buffering=0)
        return self._file

    def _look_after(self, file: FileIO) -> None:
        """Miss a file that was removed or replaced: what is written to it, nobody will find."""
        with suppress(OSError):
            if os.path.samestat(self._path.stat(), os.fstat(file.fileno())):
                return
        raise OutputError(
            "the receipts of this run were taken away",
            path=str(self._path),
            cause="somebody removed or replaced the file while the run wrote to it",
            next_step="the servers keep receipts of their own: leave the state directory alone,"
            " and run the same command again",
        )

    def _lines(
        self, pair: Pair, sent: Sequence[SentFile], published: Sequence[PublishedFile]
    ) -> Iterator[str]:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        for origin, file in zip(sent, published, strict=True):
            if file.outcome is not Outcome.PUBLISHED:
                continue
            receipt = {
                "v": FORMAT_VERSION,
                **self._about,
                "time": now,
                "server": pair.server,
                "path": escape_path(file.path),
                "size_bytes": file.size_bytes,
                "sha256": file.sha256,
                "mtime_ns": file.mtime_ns,
                "source_server": pair.source_server,
                "source_path": escape_path(origin.source_path),
            }
            yield json.dumps(receipt) + "\n"


def _append(file: FileIO, data: bytes) -> None:
    size_bytes = file.seek(0, SEEK_END)
    left = memoryview(data)
    try:
        while left:
            left = left[file.write(left) :]
    except OSError:
        with suppress(OSError):
            file.truncate(size_bytes)  # half a line would spoil the next
        raise
