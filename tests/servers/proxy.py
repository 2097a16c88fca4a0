"""A TCP proxy on loopback that breaks connections on purpose, and counts what passes."""

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import replace
from typing import Any

import pytest

from cachemig.demo.sshd import ADDRESS, Sshd

_PIECE_BYTES = 16 * 1024
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
_LIMIT_S = 10.0


class Proxy:
    """Stands before a server; every fault is off at first.

    Attributes:
        port: where it listens.
        connections: how many were made so far.
        passed_bytes: what went through, both ways together.
        resets: how many connections were reset on purpose.
    """

    def __init__(self, target_port: int) -> None:
        self.connections = self.passed_bytes = self.resets = 0
        self._target_port = target_port
        self._reset_at_bytes = 0
        self._resets_left = 0
        self._refusing = False
        self._rate_bytes_per_s = 0.0
        self._free_at_s = 0.0
        self._links: set[_Link] = set()
        self._loop = asyncio.new_event_loop()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        listener = socket.create_server((ADDRESS, 0), backlog=128)
        self.port: int = listener.getsockname()[1]
        self._server = self._do(asyncio.start_server(self._accept, sock=listener))

    def behind(self, sshd: Sshd) -> Sshd:
        """The same server as it is reached through this proxy; its key is pinned there too."""
        known = sshd.known_hosts_file.read_text()
        entry = known.splitlines()[0].replace(f"]:{sshd.port} ", f"]:{self.port} ")
        sshd.known_hosts_file.write_text(f"{known}{entry}\n")
        return replace(sshd, port=self.port)

    def reset_each_after(self, size_bytes: int, connections: int = 1) -> None:
        """Reset this many connections, each once so many bytes went through it."""
        self._reset_at_bytes, self._resets_left = size_bytes, connections

    def reset_all(self) -> int:
        """Reset what is open now; returns how many that were."""
        count: int = self._do(self._reset_all())
        return count

    def freeze(self) -> None:
        """Forward nothing from now on, on old and new connections; nobody is told."""
        self._loop.call_soon_threadsafe(self._flowing.clear)

    def thaw(self) -> None:
        """Go on where it was frozen."""
        self._loop.call_soon_threadsafe(self._flowing.set)

    def refuse(self) -> None:
        """Reset every further connection at once, as a host does that is going down."""
        self._refusing = True

    def slow_down(self, rate_bytes_per_s: float) -> None:
        """Let no more than this pass, all connections together; 0 for no bound."""
        self._rate_bytes_per_s = rate_bytes_per_s

    def close(self) -> None:
        """End it, and all that it carries."""
        self.refuse()
        self._do(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_LIMIT_S)
        self._loop.close()

    def _do(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_LIMIT_S)

    async def _reset_all(self) -> int:
        links = list(self._links)
        for link in links:
            link.reset()
        self.resets += len(links)
        return len(links)

    async def _end(self) -> None:
        self._server.close()
        await self._reset_all()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        far = await asyncio.open_connection(ADDRESS, self._target_port)
        link = _Link((reader, writer), far)
        if self._refusing:
            link.reset()
            return
        self._links.add(link)
        with contextlib.suppress(OSError, asyncio.CancelledError):
            await asyncio.gather(
                self._carry(link, reader, far[1]), self._carry(link, far[0], writer)
            )
        link.close()
        self._links.discard(link)

    async def _carry(
        self, link: "_Link", source: asyncio.StreamReader, sink: asyncio.StreamWriter
    ) -> None:
        while piece := await source.read(_PIECE_BYTES):
            await self._flowing.wait()
            link.passed_bytes += len(piece)
            if self._resets_left > 0 and link.passed_bytes >= self._reset_at_bytes:
                self._resets_left -= 1
                self.resets += 1
                link.reset()
                return
            self.passed_bytes += len(piece)
            await self._hold_back(len(piece))
            sink.write(piece)
            await sink.drain()
        sink.write_eof()

    async def _hold_back(self, size_bytes: int) -> None:
        if self._rate_bytes_per_s:
            now_s = self._loop.time()
            self._free_at_s = max(now_s, self._free_at_s) + size_bytes / self._rate_bytes_per_s
            await asyncio.sleep(self._free_at_s - now_s)


class _Link:
    """One connection through the proxy: its two ends."""

    def __init__(self, *ends: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> None:
        self.passed_bytes = 0
        self._writers = [writer for _, writer in ends]

    def reset(self) -> None:
        """End both sides with a reset instead of a farewell."""
        for writer in self._writers:
            stream = writer.get_extra_info("socket")
            with contextlib.suppress(OSError):
                stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            writer.transport.abort()

    def close(self) -> None:
        """End both sides."""
        for writer in self._writers:
            writer.close()


NewProxy = Callable[[Sshd], Proxy]


@pytest.fixture
def new_proxy() -> Iterator[NewProxy]:
    """Puts proxies before servers."""
    made: list[Proxy] = []

    def new(sshd: Sshd) -> Proxy:
        made.append(Proxy(sshd.port))
        return made[-1]

    yield new
    for proxy in made:
        proxy.close()
