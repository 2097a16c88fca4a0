"""Writes down, during a run, what cachemig published and with which digest."""

import json
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from io import SEEK_END, FileIO
from pathlib import Path
from typing import NoReturn, Protocol, Self

from cachemig.agent.protocol import Outcome
from cachemig.core.disk import own_file_refused
from cachemig.core.pair import Pair
from cachemig.core.quoting import escape_path
from cachemig.errors import CachemigError, OutputError

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

    A context manager. Its file begins with the first receipt; a batch is written at once. The
    folder must stay from beginning to end, also when there is no receipt: with it older ones go.
    """

    def __init__(self, state_dir: Path, run_id: str, old_site: str, new_site: str) -> None:
        self._path = state_dir / "receipts" / f"{run_id}.jsonl"
        self._about = {"run_id": run_id, "site": new_site, "source_site": old_site}
        self._folder: int | None = None
        self._file: FileIO | None = None
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        folder = self._path.parent
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._folder = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            raise self._refused(error) from error
        return self

    def __exit__(self, kind: type[BaseException] | None, *_exception: object) -> None:
        try:
            if kind is None:
                self._look_after()
        finally:
            if self._file is not None:
                self._file.close()
            if self._folder is not None:
                os.close(self._folder)

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
                self._look_after()
                if self._file is None:
                    self._file = self._path.open("ab", buffering=0)
                _append(self._file, lines)
                self._look_after()
        except OSError as error:
            raise self._refused(error) from error

    def _refused(self, error: OSError) -> CachemigError:
        what = "the receipts of this run can not be written"
        return own_file_refused(error, str(self._path), what, OutputError)

    def _look_after(self) -> None:
        """Miss what was removed or replaced: what is written to it, nobody will find."""
        if self._file is not None and not _is_still(self._path, self._file.fileno()):
            self._miss(self._path, "the file while the run wrote to it")
        if self._folder is not None and not _is_still(self._path.parent, self._folder):
            self._miss(self._path.parent, "the folder, with older receipts, during the run")

    def _miss(self, path: Path, what: str) -> NoReturn:
        raise OutputError(
            "the receipts of this run were taken away",
            path=str(path),
            cause=f"somebody removed or replaced {what}",
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


def _is_still(path: Path, descriptor: int) -> bool:
    with suppress(OSError):
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    return False


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
