"""An agent at the other end of a child process: start it, ask it, and see it die."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any

from .bootstrap import bundle
from .frames import Channel, Frame, PeerLost, unpack_json
from .protocol import MARKER, Kind

_NOISE_BYTES = 64 * 1024
_STDERR_BYTES = 8 * 1024
_READ_BYTES = 64 * 1024
_LAST_WORDS_WAIT_S = 0.5
_END_WAIT_S = 2.0
_REQUESTS_AHEAD = 4


class AgentError(Exception):
    """The agent answered that it could not do it.

    Attributes:
        code: one of a few words that say what kind of trouble it is.
        message: the cause in the words of the system there.
        path: the file it happened to, if it was one.
        number: the errno, 0 if there was none.
        about: further facts, by code.
    """

    def __init__(self, told: Any) -> None:
        value = told if isinstance(told, dict) else {}
        self.code = str(value.get("code", "bug"))
        self.message = str(value.get("message", "no reason given"))
        super().__init__(self.message)
        self.path = str(value.get("path", ""))
        number = value.get("errno")
        self.number = number if isinstance(number, int) else 0
        self.about = value


class Peer:
    """One agent, alone at the end of one child process; one thread asks at a time.

    Its source and the first requests are sent at once, behind the login that is still
    going on, so that a far server costs few round trips.
    """

    def __init__(self, argv: list[str], wait_s: float, silence_limit_s: float) -> None:
        """Start the child and send the agent's source; nothing is waited for.

        Args:
            argv: leads to a Python that runs `BOOTSTRAP` on its stdin and stdout.
            wait_s: how long it may take until that answers.
            silence_limit_s: how long it may say nothing later.
        """
        ours, theirs = socket.socketpair()
        stderr_fd, their_stderr_fd = os.pipe()
        self.process = subprocess.Popen(
            argv,
            stdin=theirs.fileno(),
            stdout=theirs.fileno(),
            stderr=their_stderr_fd,
            start_new_session=True,
        )
        theirs.close()
        os.close(their_stderr_fd)
        self._last_words = b""
        self._listener = threading.Thread(target=self._listen, args=(stderr_fd,), daemon=True)
        self._listener.start()
        self._socket = ours
        self.channel = Channel(os.dup(ours.fileno()), os.dup(ours.fileno()), silence_limit_s)
        self._last_request = 0
        self._wait_s = wait_s
        self._answers = False
        with suppress(PeerLost):  # whoever asks is told, once the child has said why it ended
            self.channel.send_raw(bundle())
        self.channel.start_beating()

    def send(self, op: str, arguments: dict[str, Any]) -> int:
        """Send a request without waiting; returns its number."""
        self._last_request += 1
        self.channel.send_json(Kind.REQUEST, self._last_request, {"op": op, **arguments})
        return self._last_request

    def call(self, op: str, **arguments: Any) -> Any:
        """Ask, and wait for the one reply.

        Raises:
            AgentError: the agent could not do it.
            PeerLost: the connection is gone.
        """
        return answer(self._next(self.send(op, arguments)))

    def stream(self, op: str, **arguments: Any) -> Iterator[Any]:
        """Ask, and yield the values of the rows as they come; errors as in `call`."""
        request = self.send(op, arguments)
        while True:
            frame = self._next(request)
            if frame.kind is Kind.ROWS:
                yield from unpack_json(frame.payload)
            else:
                answer(frame)
                return

    def frames(self, op: str, **arguments: Any) -> Iterator[Frame]:
        """Ask, and yield the file frames as they come; errors as in `call`."""
        request = self.send(op, arguments)
        while True:
            frame = self._next(request)
            if frame.kind not in (Kind.PART, Kind.LAST):
                answer(frame)
                return
            yield frame

    def call_each(self, requests: Iterable[tuple[str, dict[str, Any]]]) -> Iterator[Any]:
        """Ask several times, some requests ahead, so that a far server costs one round trip."""
        ahead: list[int] = []
        for op, arguments in requests:
            ahead.append(self.send(op, arguments))
            if len(ahead) > _REQUESTS_AHEAD:
                yield answer(self._next(ahead.pop(0)))
        for request in ahead:
            yield answer(self._next(request))

    def stderr_text(self) -> str:
        """What the child said on stderr, its last 8 KiB; also when it was closed."""
        if self.process.poll() is not None:  # a child of its own may hold stderr open for ever
            self._listener.join(_LAST_WORDS_WAIT_S)
        return self._last_words.decode("utf-8", "replace")

    def returncode(self) -> int:
        """The child's exit status once it has ended; it is killed if it does not end by itself."""
        self.hang_up()
        try:
            return self.process.wait(_END_WAIT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()

    def close(self) -> None:
        """End the child, by hanging up first. A second call does nothing."""
        self.returncode()
        self.channel.close()
        self._socket.close()

    def hang_up(self) -> None:
        """Cut the connection; whoever waits for a frame is told at once. Any thread may call."""
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            return

    def _listen(self, stderr_fd: int) -> None:
        """Keep the end of what the child says, so that no talk fills the memory."""
        while True:
            said = os.read(stderr_fd, _READ_BYTES)
            if not said:
                break
            self._last_words = (self._last_words + said)[-_STDERR_BYTES:]
        os.close(stderr_fd)

    def _next(self, request: int) -> Frame:
        if not self._answers:
            self.channel.read_noise_until(MARKER, _NOISE_BYTES, self._wait_s)
            self._answers = True
        while True:
            frame = self.channel.receive()
            if frame.request == request:
                return frame
            if frame.request > request:
                raise PeerLost("an answer to a question that was not asked")


def answer(frame: Frame) -> Any:
    """The value of a reply.

    Raises:
        AgentError: it is an error instead.
        PeerLost: it is neither.
    """
    if frame.kind is Kind.REPLY:
        return unpack_json(frame.payload)
    if frame.kind is Kind.ERROR:
        raise AgentError(unpack_json(frame.payload))
    raise PeerLost("an answer of the wrong kind")
