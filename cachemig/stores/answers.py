"""What an agent answered, as values of ours.

A server may be broken, or lie. Its words are looked at here, once, so that all behind can
rely on their types; what no agent of ours says is `NonsenseError`.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple, TypeVar, get_args

from cachemig.agent.frames import Frame
from cachemig.agent.protocol import Kind, Outcome
from cachemig.agent.source import PART, Expected, FileEnd, file_end
from cachemig.stores.base import (
    ArchiveVerdict,
    DirectoryListing,
    FileDigest,
    FileEntry,
    FileReceipt,
    FileStat,
    FileType,
    KeptReceipt,
    Space,
    WantedFile,
)

_ENTRY_LENGTHS = (4, 5)  # only a link has a target
_OUTCOMES = {outcome.value: outcome for outcome in Outcome}
_LARGEST = 2**63 - 1
_NO_FILE = -1
_RECEIPT_VERSION = 1
_LONGEST_PATH = 4096
_MOST_ENTRIES = 5_000_000
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", re.ASCII)
_SHA256 = re.compile(r"[0-9a-f]{64}")
_RUN_ID = re.compile(r"[!-~]{1,100}")

Word = TypeVar("Word", int, str)


class NonsenseError(Exception):
    """An answer that no agent of ours gives."""


def listings(values: Iterable[object], subtree: str) -> Iterator[DirectoryListing]:
    """Read a walk; the parts of a huge directory, which follow each other, become one listing."""
    held: DirectoryListing | None = None
    for value in values:
        found = listing(value, subtree)
        if held is None or found.path != held.path:
            if held is not None:
                yield held
            held = found
            continue
        held = held._replace(entries=[*held.entries, *found.entries])
        if len(held.entries) > _MOST_ENTRIES:
            raise NonsenseError("a directory is listed without end")
    if held is not None:
        yield held


def listing(value: object, subtree: str) -> DirectoryListing:
    """Read one directory of a walk; it must lie in the subtree that was asked for."""
    told, mtime_ns, unchanged, entries = _rows(value, 4)
    path = _word(told, str)
    within = not subtree or path == subtree or path.startswith(f"{subtree}/")
    if not within or (".." in path and ".." in path.split("/")):
        raise NonsenseError("a directory was listed that was not asked for")
    found = [_entry(entry) for entry in _rows(entries)]
    return DirectoryListing(path, _word(mtime_ns, int), unchanged is True, found)


def stats(value: object, count: int) -> list[FileStat | None]:
    """Read what lies under `count` names."""
    return [None if row is None else _stat(row) for row in _rows(value, count)]


def paired(values: Iterable[object], paths: Sequence[str]) -> Iterator[tuple[object, str]]:
    """Give each answer with the path that it must be about."""
    try:
        yield from zip(values, paths, strict=True)
    except ValueError:
        raise NonsenseError("there are more answers than questions, or fewer") from None


def digest(value: object, path: str) -> FileDigest:
    """Read the digest of a file."""
    told, size_bytes, sha256, problem = _rows(value, 4)
    _expect(told, path)
    return FileDigest(path, _size(size_bytes), _word(sha256, str), _word(problem, str))


def verdict(value: object, path: str) -> ArchiveVerdict:
    """Read what was found of an archive."""
    told, size_bytes, damage, problem = _rows(value, 4)
    _expect(told, path)
    return ArchiveVerdict(path, _size(size_bytes), _word(damage, str), _word(problem, str))


def number(value: object) -> int:
    """Read a count."""
    return _word(value, int)


class About(NamedTuple):
    """What an agent tells of itself when it has opened a root.

    Attributes:
        now_ns: its clock.
        root_id: what the root is known again by; empty where no run has locked it yet.
    """

    now_ns: int
    root_id: str


def about(value: object) -> About:
    """Read what an agent tells of itself."""
    if not isinstance(value, dict):
        raise NonsenseError("an agent tells nothing of itself")
    return About(_word(value.get("now_ns"), int), root_id(value.get("root_id")))


def root_id(value: object) -> str:
    """Read what a root is known again by; empty where no run has locked it yet."""
    told = _word(value, str)
    if told and not (told.isascii() and told.isalnum()):
        raise NonsenseError("the id of a root is no word")
    return told


def space(value: object) -> Space:
    """Read what is free."""
    return Space(*(_word(word, int) for word in _rows(value, 3)))


def new_names(value: object, paths: Sequence[str]) -> list[tuple[str, str]]:
    """Read the names that files got, in the order of their old ones."""
    rows = [_rows(row, 2) for row in _rows(value, len(paths))]
    for (told, _), path in zip(rows, paths, strict=True):
        _expect(told, path)
    return [(path, _word(aside, str)) for path, aside in rows]


def receipts(value: object, files: Sequence[WantedFile]) -> list[FileReceipt]:
    """Read what became of the files of a batch."""
    return [_receipt(row, file) for row, file in zip(_rows(value, len(files)), files, strict=True)]


def kept_receipt(value: object) -> KeptReceipt | None:
    """Read one line of the receipts that a server keeps; None when it is no receipt.

    That is no lie of the agent: anybody with the account may have written to those files,
    and a crash may have torn them.
    """
    if not isinstance(value, dict) or value.get("v") != _RECEIPT_VERSION:
        return None
    try:
        return KeptReceipt(
            run_id=_matching(value.get("run_id"), _RUN_ID),
            time=_matching(value.get("time"), _TIME),
            path=_path(value.get("path")),
            size_bytes=_size(value.get("size_bytes")),
            sha256=_matching(value.get("sha256"), _SHA256),
            mtime_ns=_word(value.get("mtime_ns"), int),
            source_site=_word(value.get("source_site"), str),
            source_server=_word(value.get("source_server"), str),
            source_path=_word(value.get("source_path"), str),
        )
    except NonsenseError:
        return None


def file_pieces(frames: Iterable[Frame], limit_bytes: int) -> Iterator[bytes | FileEnd]:
    """Read the frames of the one file that was asked for: its parts, and at last its end."""
    expected = Expected([limit_bytes])
    for frame in frames:
        if not expected.takes(frame.kind, frame.payload):
            raise NonsenseError("a part of a file is none")
        is_end = frame.kind is Kind.LAST
        yield file_end(frame.payload) if is_end else bytes(frame.payload[PART.size :])
    if not expected.all_came:
        raise NonsenseError("a file was sent that has no end")


def sent_bytes(value: object) -> int:
    """Read how much of a batch has left."""
    return _size(_rows(value, 1)[0])


def _entry(value: object) -> FileEntry:
    row = _rows(value)
    if len(row) not in _ENTRY_LENGTHS or row[1] not in get_args(FileType):
        raise NonsenseError("a directory entry is none")
    entry = FileEntry(*row)
    if type(entry.name) is not str or type(entry.target) is not str:
        raise NonsenseError("a directory entry has no name")
    if type(entry.size_bytes) is not int or type(entry.mtime_ns) is not int:
        raise NonsenseError("a directory entry has no size or time")
    return entry


def _stat(value: object) -> FileStat:
    size_bytes, mtime_ns = _rows(value, 2)
    if size_bytes != _NO_FILE:
        _size(size_bytes)
    return FileStat(size_bytes, _word(mtime_ns, int))


def _receipt(value: object, file: WantedFile) -> FileReceipt:
    told, size_bytes, sha256, mtime_ns, cause, number = _rows(value, 6)
    outcome = _OUTCOMES.get(_word(told, str))
    if outcome is None or not -_LARGEST <= _word(mtime_ns, int) <= _LARGEST:
        raise NonsenseError("a receipt is none")
    words = (_word(sha256, str), mtime_ns, _word(cause, str), _word(number, int))
    return FileReceipt(file.path, outcome, _size(size_bytes), *words)


def _size(value: object) -> int:
    size_bytes = _word(value, int)
    if not 0 <= size_bytes <= _LARGEST:
        raise NonsenseError("a size is none that a file can have")
    return size_bytes


def _matching(value: object, pattern: re.Pattern[str]) -> str:
    text = _word(value, str)
    if not pattern.fullmatch(text):
        raise NonsenseError("a text has not the form that ours have")
    return text


def _path(value: object) -> str:
    path = _word(value, str)
    if not 0 < len(path) <= _LONGEST_PATH:
        raise NonsenseError("a path is longer than any file's, or empty")
    return path


def _word(value: object, kind: type[Word]) -> Word:
    if not isinstance(value, kind) or isinstance(value, bool):
        raise NonsenseError(f"a value is {type(value).__name__} and not {kind.__name__}")
    return value


def _rows(value: object, length: int | None = None) -> list[Any]:
    if not isinstance(value, list) or length not in {None, len(value)}:
        raise NonsenseError("a list is missing, or has another length than was asked for")
    return value


def _expect(told: object, path: str) -> None:
    if told != path:
        raise NonsenseError("another file was told of than was asked for")
