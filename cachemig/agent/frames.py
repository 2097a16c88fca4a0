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
from typing import Any, NamedTuple

from .protocol import BEAT_INTERVAL_S, PART_BYTES, SILENCE_LIMIT_S, Kind

HEADER = struct.Struct(">cII")
MAX_PAYLOAD_BYTES = 64 * 1024 * 1024
_READ_BYTES = 1024 * 1024
_PIPE_BYTES = 1024 * 1024
_F_SETPIPE_SZ = 1031


class PeerLost(Exception):
    """The other end closed the pipe, fell silent, or talks nonsense."""


class Frame(NamedTuple):
    """One message: what it is, which request it belongs to, and its bytes."""

    kind: Kind
    request: int
    payload: bytes


def pack_json(value: Any) -> bytes:
    """Encode a value as compressed JSON; surrogate-escaped names survive the way."""
    return zlib.compress(json.dumps(value, separators=(",", ":")).encode("ascii"), 1)


def unpack_json(payload: bytes) -> Any:
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
    except (zlib.error, ValueError) as error:
        raise PeerLost(f"a message can not be read: {error}") from None


class Channel:
    """Sends and receives frames; safe for many sending threads and one receiving thread."""

    def __init__(
        self, read_fd: int, write_fd: int, silence_limit_s: float = SILENCE_LIMIT_S
    ) -> None:
        self.silence_limit_s = silence_limit_s
        self._read_fd = read_fd
        self._write_fd = write_fd
        self._incoming = bytearray()
        self._position = 0
        self._outgoing = bytearray()
        self._lock = threading.Lock()
        self._closed = threading.Event()
        for fd in (read_fd, write_fd):
            os.set_blocking(fd, False)
            _widen(fd)

    def start_beating(self) -> None:
        """Send a BEAT every few seconds from now on, so that silence means death."""
        threading.Thread(target=self._beat, name="beat", daemon=True).start()

    def send(self, kind: Kind, request: int, payload: bytes = b"", *, flush: bool = True) -> None:
        """Queue a frame; it leaves at once with `flush`, else with the next full buffer.

        Raises:
            PeerLost: the other end is gone, or took nothing for the silence limit.
        """
        with self._lock:
            self._outgoing += HEADER.pack(kind.value, request, len(payload))
            if len(payload) >= PART_BYTES:
                self._write(self._outgoing)
                self._outgoing = bytearray()
                self._write(payload)
                return
            self._outgoing += payload
            if flush or len(self._outgoing) >= PART_BYTES:
                self._write(self._outgoing)
                self._outgoing = bytearray()

    def flush(self) -> None:
        """Send what was queued."""
        with self._lock:
            self._write(self._outgoing)
            self._outgoing = bytearray()

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
            found = self._incoming.find(marker)
            if found >= 0:
                noise = bytes(self._incoming[:found])
                self._position = found + len(marker)
                return noise
            if len(self._incoming) > limit_bytes:
                raise PeerLost("the remote shell prints without end where the agent should answer")
            self._fill(max(0.0, end - time.monotonic()))

    def send_raw(self, data: bytes) -> None:
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

    def _take(self, size_bytes: int) -> bytes:
        while len(self._incoming) - self._position < size_bytes:
            self._fill(self.silence_limit_s)
        start = self._position
        self._position = start + size_bytes
        taken = bytes(self._incoming[start : self._position])
        if self._position == len(self._incoming):
            self._incoming = bytearray()
            self._position = 0
        return taken

    def _fill(self, wait_s: float) -> None:
        if self._position > _READ_BYTES:
            del self._incoming[: self._position]
            self._position = 0
        data = self._read_some(wait_s)
        if not data:
            raise PeerLost("the other end closed the connection")
        self._incoming += data

    def _read_some(self, wait_s: float) -> bytes:
        if self._closed.is_set():
            raise PeerLost("the connection was closed here")
        try:
            return os.read(self._read_fd, _READ_BYTES)
        except BlockingIOError:
            pass
        except OSError as error:
            raise PeerLost(str(error)) from None
        if not _ready(self._read_fd, select.POLLIN, wait_s):
            raise PeerLost(f"the other end said nothing for {wait_s:.0f} s")
        return self._read_some(wait_s)

    def _write(self, data: bytes | bytearray) -> None:
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
