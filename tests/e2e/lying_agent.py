"""Stands for ``python3`` on a server that lies: an agent of ours, but for one lie.

Started as ``python3`` by a session, with the lie's name in LYING_AGENT. It takes and throws
away the source that it is sent, and then serves with the code of this checkout.
"""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from cachemig.agent import serve, source
from cachemig.agent.frames import HEADER, Channel, unpack_json
from cachemig.agent.protocol import MARKER, PART_BYTES, Kind
from cachemig.agent.serve import Agent
from cachemig.agent.source import FileFrame
from cachemig.agent.walk import Listing

HUGE = 2**100
HALF = 12
FORGED = "\x1b[2J\nall is well\r\u202e"
EVIL_NAMES = ["../x", "/etc/passwd", "a/../../x", "..", ".", "", "x\0y", "\ud800", "a" * 10_000]


class LyingChannel(Channel):
    """Sends receipts as `receipts` makes them."""

    receipts: Callable[[list[Any]], Any] | None = None

    def send_json(self, kind: Kind, request: int, value: Any) -> None:
        """Send a value; a reply to a batch is recognized by its rows of six."""
        is_receipt = kind is Kind.REPLY and isinstance(value, list) and value
        if self.receipts and is_receipt and isinstance(value[0], list) and len(value[0]) == 6:
            value = self.receipts(value)
        super().send_json(kind, request, value)


class Liar(Agent):
    """Answers each operation as `answers` says, or else truly."""

    def __init__(self, channel: Channel, answers: dict[str, Callable[[Any], Any]]) -> None:
        super().__init__(channel)
        self._answers = answers
        self._operation = ""

    def _answer(self, frame: Any) -> None:
        self._operation = unpack_json(frame.payload)["op"]
        error = ERRORS.get(os.environ["LYING_AGENT"])
        if error is not None and self._operation == "stat":
            self._channel.send_json(Kind.ERROR, frame.request, error)
            return
        super()._answer(frame)

    def _reply(self, request: int, value: Any) -> None:
        lie = self._answers.get(self._operation)
        super()._reply(request, lie(value) if lie else value)


def _walk(change: Callable[[Any], Iterator[Any]]) -> None:
    """Let every listing be what `change` makes of it."""
    true_walk = vars(serve)["walk"]

    def lying_walk(*arguments: Any) -> Iterator[Any]:
        for listing in true_walk(*arguments):
            yield from change(listing)

    vars(serve)["walk"] = lying_walk


def _evil_names(listing: Any) -> Iterator[Any]:
    kept = [tuple(entry) for entry in listing.entries]
    evil = [(name, "f", 10, 0) for name in EVIL_NAMES]
    evil += [(f"../../../{name}", "f", 10, 0) for name, *_ in kept]
    yield Listing(listing.path, listing.mtime_ns, False, [*kept, *evil])


def _evil_numbers(listing: Any) -> Iterator[Any]:
    wrong = {0: (-5, 0), 1: (2**63, 0), 2: (HUGE, 0), 3: (None, HUGE), 4: (None, -HUGE)}
    entries = []
    for entry in listing.entries:
        name, kind, size_bytes, mtime_ns = entry
        number = int(name.split(":")[1].removeprefix("recipe-"))
        size, time = wrong.get(number, (None, mtime_ns))
        entries.append((name, kind, size_bytes if size is None else size, time))
    yield Listing(listing.path, listing.mtime_ns, False, entries)


def _twice(listing: Any) -> Iterator[Any]:
    entries = [entry for entry in listing.entries for _ in range(2)]
    yield Listing(listing.path, listing.mtime_ns, False, entries)
    yield Listing(listing.path, listing.mtime_ns, False, entries)


def _elsewhere(listing: Any) -> Iterator[Any]:
    yield listing._replace(path=f"../../{listing.path}")


def _wrong_types(listing: Any) -> Iterator[Any]:
    yield listing._replace(mtime_ns="yesterday", entries={"a": 1})


def _wrong_entries(listing: Any) -> Iterator[Any]:
    yield listing._replace(entries=[["a"], 5, [1, 2, 3, 4]])


def _read(change: Callable[[int, FileFrame], Iterator[FileFrame]]) -> None:
    """Let every file frame be what `change` makes of it."""
    true_read = vars(serve)["read_batch"]

    def lying_read(*arguments: Any) -> Iterator[FileFrame]:
        for number, frame in enumerate(true_read(*arguments)):
            yield from change(number, frame)

    vars(serve)["read_batch"] = lying_read


def _half_the_files(number: int, frame: FileFrame) -> Iterator[FileFrame]:
    if number < HALF:
        yield frame


def _other_bytes(number: int, frame: FileFrame) -> Iterator[FileFrame]:
    data = bytearray(frame.data)
    data[len(data) // 2] ^= 1
    yield frame if number % 4 else FileFrame(frame.kind, frame.head, bytes(data))


def _cut_head(_number: int, frame: FileFrame) -> Iterator[FileFrame]:
    yield FileFrame(frame.kind, frame.head[:3], b"")


def _wrong_outcome(_number: int, frame: FileFrame) -> Iterator[FileFrame]:
    head = source.LAST.pack(0, b"splendid", HUGE % 2**63, -1, bytes(32))
    yield FileFrame(Kind.LAST, head, frame.data)


def _without_end(_number: int, _frame: FileFrame) -> Iterator[FileFrame]:
    while True:
        yield FileFrame(Kind.PART, source.PART.pack(0), bytes(PART_BYTES))


def _nothing_without_end(_number: int, _frame: FileFrame) -> Iterator[FileFrame]:
    while True:
        yield FileFrame(Kind.PART, source.PART.pack(0), b"")


def _huge_frame(channel: Channel) -> None:
    channel.send_raw(HEADER.pack(Kind.ROWS.value, 1, 100_000_000))


def _garbage(channel: Channel) -> None:
    channel.send_raw(b"Welcome to this server!\r\n" * 100)


WALKS = {
    "evil-names": _evil_names,
    "evil-numbers": _evil_numbers,
    "twice": _twice,
    "elsewhere": _elsewhere,
    "wrong-types": _wrong_types,
    "wrong-entries": _wrong_entries,
}
READS = {
    "half-the-files": _half_the_files,
    "other-bytes": _other_bytes,
    "cut-head": _cut_head,
    "wrong-outcome": _wrong_outcome,
    "without-end": _without_end,
    "nothing-without-end": _nothing_without_end,
}
ERRORS: dict[str, Any] = {
    "error-text": "no",
    "error-nonsense": {"code": 7, "errno": "many", "message": ["a"], "path": None},
    "error-forged": {"code": "os", "errno": 5, "message": FORGED, "path": FORGED},
    "error-lost": {"code": "lost", "returncode": "x", "stderr": 7},
}
RAW = {"huge-frame": _huge_frame, "garbage": _garbage}
ANSWERS: dict[str, dict[str, Callable[[Any], Any]]] = {
    "stat-too-few": {"stat": lambda rows: rows[1:]},
    "stat-nonsense": {"stat": lambda rows: [["big", None] for _ in rows]},
    "stat-number": {"stat": lambda _: 7},
    "stat-huge": {"stat": lambda rows: [[HUGE, -HUGE] for _ in rows]},
    "touch-text": {"stat": lambda rows: [[3, 0] for _ in rows], "touch": lambda _: "many"},
    "sweep-text": {"sweep": lambda _: "all"},
}
RECEIPTS: dict[str, Callable[[list[Any]], Any]] = {
    "receipts-too-few": lambda rows: rows[1:],
    "receipts-unknown": lambda rows: [["splendid", *row[1:]] for row in rows],
    "receipts-nonsense": lambda rows: [[None] * 6 for _ in rows],
    "receipts-huge": lambda rows: [[row[0], HUGE, row[2], HUGE, *row[4:]] for row in rows],
    "receipts-text": lambda _: "all is well",
}
CAUSES: dict[str, Callable[[list[Any]], Any]] = {
    "forged-cause": lambda rows: [["failed", *row[1:4], FORGED, 5] for row in rows],
}


def main() -> None:
    """Serve, with the lie that the environment names."""
    lie = os.environ["LYING_AGENT"]
    os.write(1, MARKER)
    length = int(_exactly(8))
    _exactly(length)
    channel = LyingChannel(0, 1)
    channel.receipts = (RECEIPTS | CAUSES).get(lie)
    if lie in WALKS:
        _walk(WALKS[lie])
    if lie in READS:
        _read(READS[lie])
    if lie in RAW:
        RAW[lie](channel)
    channel.start_beating()
    Liar(channel, ANSWERS.get(lie, {})).serve()
    os._exit(0)


def _exactly(length: int) -> bytes:
    data = b""
    while len(data) < length:
        data += os.read(0, length - len(data)) or sys.exit(0)
    return data


if __name__ == "__main__":
    main()
