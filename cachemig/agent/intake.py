"""Take in batches of file frames, and acknowledge them once they are durable.

While one batch is made durable in a thread of its own, the next is received. One sync
settles both the links of the last batch and the data of this one.
"""

from __future__ import annotations

import queue
import threading
import time
from typing import Any

from .durable import Durability
from .frames import Channel, PeerLost
from .protocol import Kind, Outcome
from .publish import Batch, Incoming, Linker, Receiver, Result, refused
from .root import Origin, OwnFiles
from .source import PART, file_end
from .tree import Tree

_BATCHES_WAITING = 2
_END_WAIT_S = 30.0


class Intake:
    """One writer's way into a root: frames in, durable files and receipts out."""

    def __init__(self, channel: Channel, tree: Tree, origin: Origin, gid: int | None) -> None:
        self._channel = channel
        self._origin = origin
        self._notes = OwnFiles(tree)
        self._receiver = Receiver(tree, origin.writer, gid)
        own_tree = tree.twin()  # descriptors that one thread closes, no other may use
        self._own = OwnFiles(own_tree)
        self._linker = Linker(own_tree)
        self._durability = Durability(own_tree, self._own.sync_lock())
        self._noted: set[str] = set()
        self._batch: Batch | None = None
        self._about: dict[int, dict[str, Any]] = {}
        self._next = 0
        self._temps_left = False
        self._received: queue.Queue[Batch | None] = queue.Queue(_BATCHES_WAITING)
        self._thread = threading.Thread(target=self._publish, name="publish", daemon=True)
        self._thread.start()

    def begin(self, request: int, arguments: dict[str, Any]) -> None:
        """Expect the files of a batch."""
        files = [Incoming(path) for _, path in arguments["files"]]
        self._about[request] = arguments
        new = {file.directory for file in files} - self._noted
        try:
            self._notes.note_temps(self._origin.writer, sorted(new))
            self._noted |= new
        except OSError as error:
            for file in files:
                file.result = refused(error)
        self._batch = Batch(request, files)
        self._next = 0
        if not files:
            self._hand_over()

    def part(self, payload: bytearray) -> None:
        """Take some bytes of the file that is being received."""
        (index,) = PART.unpack_from(payload)
        self._receiver.receive(self._expected(index), memoryview(payload)[PART.size :])

    def last(self, payload: bytearray) -> None:
        """Take the end of a file; with the last file the batch goes on to be published."""
        end = file_end(payload)
        file = self._expected(end.number)
        if end.outcome is None:
            self._receiver.receive(file, end.data)
            self._receiver.complete(file, end.size_bytes, end.mtime_ns, end.sha256)
        else:
            why = bytes(end.data).decode("utf-8", "replace")
            self._receiver.give_up(file, Result(end.outcome, why))
        self._next += 1
        if self._batch is not None and self._next == len(self._batch.files):
            self._hand_over()

    def close(self) -> None:
        """Remove the temps of a batch that was cut off, and finish those that came whole."""
        if self._batch is not None:
            for file in self._batch.files:
                self._receiver.give_up(file, Result(Outcome.FAILED, "the sender went away"))
            self._temps_left |= any(file.temp for file in self._batch.files)
        self._received.put(None)
        self._thread.join(_END_WAIT_S)
        if not self._thread.is_alive() and not self._temps_left:
            self._notes.forget_temps(self._origin.writer)

    def _expected(self, index: int) -> Incoming:
        if self._batch is None or index != self._next:
            raise PeerLost("a file frame that belongs to no batch")
        return self._batch.files[index]

    def _hand_over(self) -> None:
        batch, self._batch = self._batch, None
        self._received.put(batch)

    def _publish(self) -> None:
        linked: list[Batch] = []
        going = True
        while going or linked:
            received = self._take(wait=not linked) if going else []
            going = going and None not in received
            batches = [batch for batch in received if batch is not None]
            if batches or linked:
                self._settle(batches, linked)
            for batch in linked:
                self._acknowledge(batch)
            for batch in batches:
                self._linker.link(batch)
            linked = batches

    def _take(self, *, wait: bool) -> list[Batch | None]:
        taken: list[Batch | None] = []
        try:
            taken.append(self._received.get(block=wait))
            while taken[-1] is not None:
                taken.append(self._received.get_nowait())
        except queue.Empty:
            pass
        return taken

    def _settle(self, received: list[Batch], linked: list[Batch]) -> None:
        """Make the data of some batches and the links of others durable, in one go."""
        files = [file.temp_path for batch in received for file in batch.unsettled()]
        directories = {path for batch in linked for path in batch.directories()}
        if not files and not directories:
            return
        try:
            self._durability.settle(files, directories)
        except OSError as error:
            why = Result(Outcome.FAILED, f"not durable: {error.strerror}", error.errno or 0)
            for batch in (*received, *linked):
                for file in batch.unsettled():
                    self._linker.give_up(file, why)

    def _acknowledge(self, batch: Batch) -> None:
        for file in batch.unsettled():
            file.result = Result(Outcome.PUBLISHED)
        self._temps_left |= any(file.temp for file in batch.files)
        about = self._about.pop(batch.request)
        try:
            self._own.append_receipts(self._origin.writer, self._receipts(batch, about))
        except OSError as error:
            _note_without_receipt(batch, error)
        rows = [file.receipt() for file in batch.files]
        try:
            self._channel.send_json(Kind.REPLY, batch.request, rows)
        except (PeerLost, OSError):
            return

    def _receipts(self, batch: Batch, about: dict[str, Any]) -> list[dict[str, Any]]:
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        return [
            {
                "v": 1,
                "run_id": self._origin.run_id,
                "time": now,
                "server": self._origin.server,
                "path": file.path,
                "size_bytes": file.size_bytes,
                "sha256": file.digest.hexdigest(),
                "mtime_ns": file.mtime_ns,
                "source_site": self._origin.source_site,
                "source_server": about.get("source_server", ""),
                "source_path": source_path,
            }
            for file, (source_path, _) in zip(batch.files, about["files"])
            if file.result is not None and file.result.outcome is Outcome.PUBLISHED
        ]


def _note_without_receipt(batch: Batch, error: OSError) -> None:
    """The files are in their places for good, so the controlling side keeps their receipts."""
    why = f"published, but the receipt was refused: {error.strerror or error}"
    for file in batch.files:
        if file.result is not None and file.result.outcome is Outcome.PUBLISHED:
            file.result = Result(Outcome.PUBLISHED, why, error.errno or 0)
