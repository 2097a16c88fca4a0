"""The agent's loop: take a request, do it, answer; end when nobody speaks any more."""

from __future__ import annotations

import contextlib
import errno
import grp
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from . import files
from .frames import Channel, Frame, PeerLost, error_payload, unpack_json
from .idle import read_when_idle
from .place import whereabouts
from .protocol import PROTOCOL_VERSION, Kind
from .root import Locked, Origin, OwnFiles
from .source import read_batch
from .tree import BadPath, Tree, file_system_type
from .walk import Links, WalkFailed, walk

if TYPE_CHECKING:
    from .intake import Intake
    from .mover import Mover, Source

_ROWS_AT_ONCE = 2000
_ROWS_INTERVAL_S = 1.0

Arguments = dict[str, Any]


class Refused(Exception):
    """A request that can not be done, with the code for the controlling side."""

    def __init__(self, code: str, message: str, path: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.path = path


class Agent:
    """Serves one channel; every request names an operation of this class."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._tree: Tree | None = None
        self._links = Links([])
        self._gid: int | None = None
        self._origin = Origin("", "", "", "")
        self._intake: Intake | None = None
        self._mover: Mover | None = None
        self._source: Source | None = None
        self._operations: dict[str, Callable[[int, Arguments], None]] = {
            "open": self._open,
            "dial": self._dial,
            "move": self._move,
            "write": self._write,
            "read": self._read,
            "list": self._list,
            "stat": self._stat,
            "digest": self._digest,
            "check": self._check,
            "touch": self._touch,
            "space": self._space,
            "lock": self._lock,
            "sweep": self._sweep,
            "aside": self._aside,
            "receipts": self._receipts,
        }

    def serve(self) -> None:
        """Answer until the other end is gone or silent."""
        try:
            while True:
                self._take(self._channel.receive())
        except PeerLost:
            pass
        finally:
            if self._intake is not None:
                self._intake.close()

    def _take(self, frame: Frame) -> None:
        if frame.kind is Kind.REQUEST:
            self._answer(frame)
        elif self._intake is not None and frame.kind is Kind.PART:
            self._intake.part(frame.payload)
        elif self._intake is not None and frame.kind is Kind.LAST:
            self._intake.last(frame.payload)

    def _answer(self, frame: Frame) -> None:
        request = frame.request
        arguments = unpack_json(frame.payload)
        try:
            self._operations[arguments["op"]](request, arguments)
        except Refused as refusal:
            self._refuse(request, error_payload(refusal.code, str(refusal), refusal.path))
        except WalkFailed as failure:
            self._refuse(request, error_payload("scan", failure.why, failure.path))
        except BadPath as error:
            self._refuse(request, error_payload("bad-path", "not a plain path", str(error)))
        except OSError as error:
            why = error.strerror or str(error)
            path = os.fsdecode(error.filename) if isinstance(error.filename, (str, bytes)) else ""
            self._refuse(request, error_payload("os", why, path, error.errno))

    def _refuse(self, request: int, value: Any) -> None:
        self._channel.send_json(Kind.ERROR, request, value)

    def _reply(self, request: int, value: Any) -> None:
        self._channel.send_json(Kind.REPLY, request, value)

    def _reply_rows(self, request: int, rows: Iterator[Any], weigh: Callable[[Any], int]) -> None:
        """Send rows as they come: by weight, and at least every second."""
        held: list[Any] = []
        weight, sent_at = 0, time.monotonic()
        for row in rows:
            held.append(row)
            weight += weigh(row)
            if weight >= _ROWS_AT_ONCE or time.monotonic() - sent_at > _ROWS_INTERVAL_S:
                self._channel.send_json(Kind.ROWS, request, held)
                held, weight, sent_at = [], 0, time.monotonic()
        if held:
            self._channel.send_json(Kind.ROWS, request, held)
        self._reply(request, None)

    @property
    def _root(self) -> Tree:
        if self._tree is None:
            raise Refused("usage", "no root was opened")
        return self._tree

    def _open(self, request: int, arguments: Arguments) -> None:
        """Open the root; with a writer, be ready to write there."""
        self._outlast(arguments)
        root = arguments["root"]
        if arguments.get("create"):
            os.makedirs(root, 0o775, exist_ok=True)
        try:
            group = arguments.get("group")
            self._gid = None if group is None else _group_id(group)
            self._tree = Tree(root, self._gid)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise Refused("no-root", error.strerror or "missing", root) from None
        self._links = Links([self._tree, *_trees(arguments.get("follow", []))])
        self._origin = Origin(*(str(arguments.get(field, "")) for field in Origin._fields))
        if self._origin.writer:
            from .intake import Intake  # noqa: PLC0415 - what only some agents do is not compiled

            self._prove_group()
            self._intake = Intake(self._channel, self._tree, self._origin, self._gid)
        else:
            read_when_idle()
        self._reply(request, self._about())

    def _outlast(self, arguments: Arguments) -> None:
        """Bear the silence of whoever asks twice as long as it bears ours, and no longer."""
        limit_s = arguments.get("silence_limit_s")
        if limit_s:
            self._channel.silence_limit_s = 2 * float(limit_s)

    def _about(self) -> Any:
        return {
            "protocol": PROTOCOL_VERSION,
            "host": os.uname().nodename,
            "python": sys.version.split()[0],
            "pid": os.getpid(),
            "now_ns": time.time_ns(),
            "file_system": file_system_type(self._root.fd),
            "root_id": OwnFiles(self._root).root_id(),
            **whereabouts(self._root),
        }

    def _prove_group(self) -> None:
        """Give a file of our own the group, so that a run that can not fails before it starts."""
        if self._gid is None:
            return
        try:
            OwnFiles(self._root).prove_group(self._gid)
        except OSError as error:
            if error.errno != errno.EPERM:
                raise
            raise Refused("group", error.strerror or "refused") from None

    def _dial(self, request: int, arguments: Arguments) -> None:
        """Start an agent at one end of a mover; with the destination the mover is ready."""
        from .mover import DialledSource, LocalSource, Mover, why_lost  # noqa: PLC0415
        from .peer import AgentError, Peer  # noqa: PLC0415

        self._outlast(arguments)
        limits = float(arguments["wait_s"]), float(arguments["silence_limit_s"])
        peer = Peer(arguments["argv"], *limits)
        try:
            about = peer.call("open", **arguments["open"])
        except (PeerLost, AgentError) as error:
            self._refuse(request, why_lost(arguments["end"], peer, error))
            peer.close()
            return
        if arguments["end"] == "source":
            self._source = DialledSource(peer)
        else:
            source = self._source or LocalSource(self._root.twin(), self._links)
            self._mover = Mover(self._channel, source, peer)
        self._reply(request, about)

    def _move(self, request: int, arguments: Arguments) -> None:
        if self._mover is None:
            raise Refused("usage", "no destination was dialled")
        self._mover.move(request, arguments)

    def _write(self, request: int, arguments: Arguments) -> None:
        if self._intake is None:
            raise Refused("usage", "this root was not opened for writing")
        self._intake.begin(request, arguments)

    def _read(self, request: int, arguments: Arguments) -> None:
        files = zip(arguments["paths"], arguments["limits_bytes"])
        for kind, head, data in read_batch(self._root, self._links, files):
            self._channel.send(kind, request, head, data, flush=False)
        self._reply(request, None)

    def _list(self, request: int, arguments: Arguments) -> None:
        found = walk(self._root, self._links, arguments["subtree"], arguments["known"])
        self._reply_rows(request, found, lambda listing: 1 + len(listing.entries))

    def _stat(self, request: int, arguments: Arguments) -> None:
        self._reply(request, [files.look(self._root, path) for path in arguments["paths"]])

    def _digest(self, request: int, arguments: Arguments) -> None:
        rows = (files.digest(self._root, path) for path in arguments["paths"])
        self._reply_rows(request, rows, lambda _: 1)

    def _check(self, request: int, arguments: Arguments) -> None:
        deep = bool(arguments.get("deep"))
        paths = arguments["paths"]
        rows = (files.check(self._root, self._links, path, deep_check=deep) for path in paths)
        self._reply_rows(request, rows, lambda _: 1)

    def _touch(self, request: int, arguments: Arguments) -> None:
        moved = sum(files.touch(self._root, path, time) for path, time in arguments["times"])
        self._reply(request, moved)

    def _space(self, request: int, _: Arguments) -> None:
        self._reply(request, files.space(self._root))

    def _lock(self, request: int, arguments: Arguments) -> None:
        self._prove_group()
        try:
            root_id = OwnFiles(self._root).lock(arguments["run_id"], arguments["who"])
        except Locked as error:
            raise Refused("locked", str(error)) from None
        self._reply(request, root_id)

    def _sweep(self, request: int, _: Arguments) -> None:
        self._reply(request, OwnFiles(self._root).sweep_temps())

    def _aside(self, request: int, arguments: Arguments) -> None:
        own = OwnFiles(self._root)
        run_id = arguments["run_id"]
        self._reply(request, [[path, own.set_aside(path, run_id)] for path in arguments["paths"]])

    def _receipts(self, request: int, _: Arguments) -> None:
        self._reply_rows(request, OwnFiles(self._root).receipts(), lambda _: 1)


def _group_id(group: str) -> int:
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        raise Refused("group", f"there is no group {group!r}") from None


def _trees(paths: list[str]) -> Iterator[Tree]:
    """Open the other roots of this machine; links into one that is closed lead nowhere."""
    for path in paths:
        with contextlib.suppress(OSError):
            yield Tree(path)


def _die(about: threading.ExceptHookArgs) -> None:
    """End the agent when a thread of it fails, since whoever waits for that thread would hang."""
    sys.__excepthook__(about.exc_type, about.exc_value or Exception(), about.exc_traceback)
    sys.stderr.flush()
    os._exit(1)


def main() -> None:
    """Serve stdin and stdout; nothing else may write to either."""
    os.umask(0o002)
    sys.stdout = sys.stderr
    threading.excepthook = _die
    channel = Channel(0, 1)
    channel.start_beating()
    Agent(channel).serve()
    sys.stderr.flush()
    os._exit(0)
