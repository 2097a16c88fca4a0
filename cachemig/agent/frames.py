"""Frames over two file descriptors, with a bound on every wait."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import struct
import threading
import time
import zlib
from typing import Any, NamedTuple, Union

from .protocol import BEAT_INTERVAL_S, PART_BYTES, SILENCE_LIMIT_S, Kind

HEADER = struct.Struct(">cII")
MAX_PAYLOAD_BYTES = 64 * 1024 * 1024
_READ_BYTES = 256 * 1024
_LARGE_BYTES = 32 * 1024
_PIPE_BYTES = 1024 * 1024
_F_SETPIPE_SZ = 1031


Buffer = Union[bytes, bytearray, memoryview]


class PeerLost(Exception):
    """The other end closed the pipe, fell silent, or talks nonsense."""


class Frame(NamedTuple):
    """One message: what it is, which request it belongs to, and its bytes."""

    kind: Kind
    request: int
    payload: bytearray


def pack_json(value: Any) -> bytes:
    """Encode a value as compressed JSON; surrogate-escaped names survive the way."""
    return zlib.compress(json.dumps(value, separators=(",", ":")).encode("ascii"), 1)


def unpack_json(payload: Buffer) -> Any:
    """Decode what `pack_json` made.

    Raises:
        PeerLost: it is not that, or it would unpack to more than the largest frame.
    """
    try:
        inflate = zlib.decompressobj()
        text = inflate.decompress(payload, MAX_PAYLOAD_BYTES)
        if inflate.unconsumed_tail:
            raise PeerLost("a message unpacks to more than 64 MiB")
        return json.loads(text)
    except (zlib.error, ValueError, RecursionError) as error:
        raise PeerLost(f"a message can not be read: {error}") from None


class Channel:
    """Sends and receives frames; safe for many sending threads and one receiving thread."""

    def __init__(
        self, read_fd: int, write_fd: int, silence_limit_s: float = SILENCE_LIMIT_S
    ) -> None:
        self.silence_limit_s = silence_limit_s
        self._read_fd = read_fd
        self._write_fd = write_fd
        self._held = bytearray(_READ_BYTES)
        self._position = 0
        self._end = 0
        self._outgoing = bytearray()
        self._lock = threading.Lock()
        self._closed = threading.Event()
        for fd in (read_fd, write_fd):
            os.set_blocking(fd, False)
            _widen(fd)

    def start_beating(self) -> None:
        """Send a BEAT every few seconds from now on, so that silence means death."""
        threading.Thread(target=self._beat, name="beat", daemon=True).start()

    def send(self, kind: Kind, request: int, *parts: Buffer, flush: bool = True) -> None:
        """Queue a frame, its payload in parts; it leaves with `flush` or a full buffer.

        Raises:
            PeerLost: the other end is gone, or took nothing for the silence limit.
        """
        with self._lock:
            self._outgoing += HEADER.pack(kind.value, request, sum(map(len, parts)))
            for part in parts:
                if len(part) >= _LARGE_BYTES:
                    self._write_queued()
                    self._write(part)
                else:
                    self._outgoing += part
            if flush or len(self._outgoing) >= PART_BYTES:
                self._write_queued()

    def flush(self) -> None:
        """Send what was queued."""
        with self._lock:
            self._write_queued()

    def send_json(self, kind: Kind, request: int, value: Any) -> None:
        """Send a value as compressed JSON."""
        self.send(kind, request, pack_json(value))

    def receive(self) -> Frame:
        """Wait for the next frame that is not a BEAT.

        Raises:
            PeerLost: the end of the pipe, silence beyond the limit, or nonsense.
        """
        while True:
            kind_byte, request, length = HEADER.unpack(self._take(HEADER.size))
            if length > MAX_PAYLOAD_BYTES:
                raise PeerLost(f"a frame of {length} bytes; something else than the agent talks")
            payload = self._take(length)
            try:
                kind = Kind(kind_byte)
            except ValueError:
                raise PeerLost("unknown frame; something else than the agent talks") from None
            if kind is not Kind.BEAT:
                return Frame(kind, request, payload)

    def read_noise_until(self, marker: bytes, limit_bytes: int, wait_s: float) -> bytes:
        """Pass over what a login shell printed, up to and including the marker; return it.

        Raises:
            PeerLost: the pipe ended, the time is over, or the limit was reached first.
        """
        end = time.monotonic() + wait_s
        while True:
            found = self._held.find(marker, 0, self._end)
            if found >= 0:
                self._position = found + len(marker)
                return bytes(self._held[:found])
            if self._end > limit_bytes:
                raise PeerLost("the remote shell prints without end where the agent should answer")
            self._fill(max(0.0, end - time.monotonic()))

    def send_raw(self, data: Buffer) -> None:
        """Send bytes that are no frame (the agent's own source)."""
        with self._lock:
            self._write(data)

    def close(self) -> None:
        """Stop beating and close both descriptors; a second call does nothing."""
        if self._closed.is_set():
            return
        self._closed.set()
        with self._lock:
            for fd in {self._read_fd, self._write_fd}:
                os.close(fd)

    def _beat(self) -> None:
        while not self._closed.wait(BEAT_INTERVAL_S):
            try:
                self.send(Kind.BEAT, 0)
            except (PeerLost, OSError):
                return

    def _take(self, size_bytes: int) -> bytearray:
        """The next bytes; a large payload is read straight into its place."""
        taken = bytearray(size_bytes)
        at = self._take_held(taken)
        while at < size_bytes:
            if size_bytes - at >= _LARGE_BYTES:
                with memoryview(taken) as view:
                    at += self._read_into(view[at:], self.silence_limit_s)
            else:
                self._fill(self.silence_limit_s)
                with memoryview(taken) as view:
                    at += self._take_held(view[at:])
        return taken

    def _take_held(self, place: Buffer) -> int:
        """Move bytes that were read already; returns how many."""
        size_bytes = min(len(place), self._end - self._position)
        stop = self._position + size_bytes
        with memoryview(self._held) as held:
            memoryview(place)[:size_bytes] = held[self._position : stop]
        self._position = stop
        return size_bytes

    def _fill(self, wait_s: float) -> None:
        """Read more behind the bytes that are held."""
        if self._position == self._end:
            self._position = self._end = 0
        elif self._end > len(self._held) // 2:
            self._held[: self._end - self._position] = self._held[self._position : self._end]
            self._position, self._end = 0, self._end - self._position
        with memoryview(self._held) as held:
            self._end += self._read_into(held[self._end :], wait_s)

    def _read_into(self, place: memoryview, wait_s: float) -> int:
        while not self._closed.is_set():
            try:
                size_bytes = os.readv(self._read_fd, [place])
            except BlockingIOError:
                if not _ready(self._read_fd, select.POLLIN, wait_s):
                    raise PeerLost(f"the other end said nothing for {wait_s:.0f} s") from None
                continue
            except OSError as error:
                raise PeerLost(str(error)) from None
            if not size_bytes:
                raise PeerLost("the other end closed the connection")
            return size_bytes
        raise PeerLost("the connection was closed here")

    def _write_queued(self) -> None:
        queued, self._outgoing = self._outgoing, bytearray()
        self._write(queued)

    def _write(self, data: Buffer) -> None:
        if self._closed.is_set():
            raise PeerLost("the connection was closed here")
        view = memoryview(data)
        while view:
            try:
                view = view[os.write(self._write_fd, view) :]
            except BlockingIOError:
                if not _ready(self._write_fd, select.POLLOUT, self.silence_limit_s):
                    raise PeerLost(
                        f"the other end took nothing for {self.silence_limit_s:.0f} s"
                    ) from None
            except OSError as error:
                raise PeerLost(str(error)) from None


def _ready(fd: int, event: int, wait_s: float) -> bool:
    poll = select.poll()
    poll.register(fd, event)
    return bool(poll.poll(wait_s * 1000))


def _widen(fd: int) -> None:
    """Let a pipe hold more than its usual 64 KiB; a socket or a poor quota stays as it is."""
    with contextlib.suppress(OSError):
        fcntl.fcntl(fd, _F_SETPIPE_SZ, _PIPE_BYTES)


def error_payload(code: str, message: str, path: str = "", number: int | None = None) -> Any:
    """The JSON value of an ERROR frame."""
    return {"code": code, "message": message, "path": path, "errno": number}
