"""Carry batches from a source end to a destination end, wherever this agent runs.

The controlling side only names the files and collects receipts, so the bytes take the
way between the two ends: from old server to new one when the mover runs on the old one.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from .frames import Channel, PeerLost, pack_json
from .peer import AgentError, Peer, answer
from .protocol import Kind
from .source import Expected, FileFrame, read_batch
from .tree import Tree
from .walk import Links

_PROGRESS_INTERVAL_S = 0.5


class Senseless(PeerLost):
    """An end says what no agent of ours says."""


class _SourceLost(Exception):
    """The source end is gone, or refused; not the destination."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


class Source(Protocol):
    """Where a mover reads files from; `peer` is the agent that reads, if it is another one."""

    peer: Peer | None

    def ask(self, request: int, paths: list[str], limits_bytes: Sequence[int]) -> None:
        """Announce the files of a batch and how large each may be; they may be sent ahead."""

    def frames(self, request: int) -> Iterator[FileFrame]:
        """Yield the file frames of an announced batch."""


class LocalSource:
    """Files below a root of this machine."""

    def __init__(self, tree: Tree, links: Links) -> None:
        self.peer: Peer | None = None
        self._tree = tree
        self._links = links
        self._asked: dict[int, list[tuple[str, int]]] = {}

    def ask(self, request: int, paths: list[str], limits_bytes: Sequence[int]) -> None:
        """Remember what to read."""
        self._asked[request] = list(zip(paths, limits_bytes))

    def frames(self, request: int) -> Iterator[FileFrame]:
        """Read the files now."""
        return read_batch(self._tree, self._links, self._asked.pop(request))


class DialledSource:
    """Files of a further agent."""

    def __init__(self, peer: Peer) -> None:
        self.peer: Peer | None = peer
        self._channel = peer.channel
        self._asked: dict[int, Expected] = {}

    def ask(self, request: int, paths: list[str], limits_bytes: Sequence[int]) -> None:
        """Send the request ahead, so that the far server never waits for us."""
        self._asked[request] = Expected(limits_bytes)
        arguments = {"op": "read", "paths": paths, "limits_bytes": limits_bytes}
        self._channel.send_json(Kind.REQUEST, request, arguments)

    def frames(self, request: int) -> Iterator[FileFrame]:
        """Pass on frames until the reply; they must be those of each file, in order."""
        expected = self._asked.pop(request)
        while True:
            frame = self._channel.receive()
            if frame.kind not in (Kind.PART, Kind.LAST):
                answer(frame)
                break
            if frame.request != request or not expected.takes(frame.kind, frame.payload):
                raise Senseless("it sends file frames that make no sense")
            yield FileFrame(frame.kind, b"", frame.payload)
        if not expected.all_came:
            raise Senseless("it sent other files than were asked for")


class Pace:
    """Holds bytes back so that they leave at no more than the given rate."""

    def __init__(self) -> None:
        self._free_at = 0.0

    def wait(self, size_bytes: int, rate_bytes_per_s: float) -> None:
        """Sleep until the bytes may leave; a rate of 0 is no bound."""
        if rate_bytes_per_s <= 0:
            return
        now = time.monotonic()
        self._free_at = max(now, self._free_at) + size_bytes / rate_bytes_per_s
        time.sleep(self._free_at - now)


class Mover:
    """Works off batches in order; while one is made durable, the next is on its way."""

    def __init__(self, channel: Channel, source: Source, destination: Peer) -> None:
        self._channel = channel
        self._source = source
        self._destination = destination
        self._waiting: queue.Queue[tuple[int, dict[str, Any]]] = queue.Queue()
        self._open: dict[int, bool] = {}
        self._lost: Any | None = None
        self._losing = threading.Lock()
        self._pace = Pace()
        for work in (self._pump, self._collect):
            threading.Thread(target=work, name=work.__name__, daemon=True).start()

    def move(self, request: int, arguments: dict[str, Any]) -> None:
        """Take on a batch; its reply goes to the controlling side when it is durable."""
        self._open[request] = True
        paths = [source_path for source_path, _ in arguments["files"]]
        try:
            self._source.ask(request, paths, arguments["limits_bytes"])
        except PeerLost as error:
            self._lose("source", error)
            return
        self._waiting.put((request, arguments))
        with self._losing:
            if self._lost is not None:
                self._give_up(self._lost)

    def _pump(self) -> None:
        while True:
            request, arguments = self._waiting.get()
            try:
                self._send(request, arguments)
            except _SourceLost as lost:
                self._lose("source", lost.error)
                return
            except PeerLost as error:
                self._lose("destination", error)
                return

    def _frames(self, request: int) -> Iterator[FileFrame]:
        """What the source sends, with its troubles told apart from those of the destination."""
        try:
            yield from self._source.frames(request)
        except (PeerLost, AgentError) as error:
            raise _SourceLost(error) from None

    def _send(self, request: int, arguments: dict[str, Any]) -> None:
        out = self._destination.channel
        rate_bytes_per_s = float(arguments.get("rate_bytes_per_s", 0))
        for_intake = {name: arguments[name] for name in ("files", "source_server")}
        out.send_json(Kind.REQUEST, request, {"op": "write", **for_intake})
        sent_bytes, told_at = 0, time.monotonic()
        for kind, head, data in self._frames(request):
            self._pace.wait(len(data), rate_bytes_per_s)
            out.send(kind, request, head, data, flush=False)
            sent_bytes += len(data)
            if time.monotonic() - told_at > _PROGRESS_INTERVAL_S:
                self._channel.send(Kind.ROWS, request, pack_json([sent_bytes]))
                told_at = time.monotonic()
        out.flush()

    def _collect(self) -> None:
        while True:
            try:
                frame = self._destination.channel.receive()
            except PeerLost as error:
                self._lose("destination", error)
                return
            if frame.kind in (Kind.REPLY, Kind.ERROR):
                self._open.pop(frame.request, None)
            self._channel.send(frame.kind, frame.request, frame.payload)

    def _lose(self, end: str, error: Exception) -> None:
        """Tell the controlling side, for each batch that is still open, which end is gone."""
        peer = self._destination if end == "destination" else self._source.peer
        with self._losing:
            if self._lost is None:
                self._lost = why_lost(end, peer, error)
            self._give_up(self._lost)

    def _give_up(self, why: Any) -> None:
        for request in list(self._open):
            if self._open.pop(request, None):
                self._channel.send_json(Kind.ERROR, request, why)


def why_lost(end: str, peer: Peer | None, error: Exception) -> Any:
    """What the controlling side needs to explain why an end can not be reached from here."""
    if isinstance(error, AgentError):
        return {**error.about, "end": end}
    code = "senseless" if isinstance(error, Senseless) else "lost"
    about = {"code": code, "end": end, "message": str(error)}
    if peer is not None:
        about["returncode"] = str(peer.returncode())
        about["stderr"] = peer.stderr_text()
    return about
