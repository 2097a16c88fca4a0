"""What cachemig itself keeps at a root, below ``.cachemig/``: lock, receipts, notes of temps."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import stat
import time
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from .protocol import ASIDE_PREFIX, OWN_DIRECTORY, TEMP_PREFIX
from .tree import BadPath, Tree

_MODE = 0o664
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_APPEND = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_ANEW = os.O_WRONLY | os.O_TRUNC | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_LOCKABLE = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
_LOCK = f"{OWN_DIRECTORY}/lock"
_SYNC_LOCK = f"{OWN_DIRECTORY}/sync-lock"
_TEMPS = f"{OWN_DIRECTORY}/temps"
_RECEIPTS = f"{OWN_DIRECTORY}/receipts"
_ASIDE = f"{OWN_DIRECTORY}/aside.jsonl"
_ROOT_ID = f"{OWN_DIRECTORY}/root-id"
_WELL_FORMED_ID = re.compile(r"[0-9a-f]{16}")
_WRITER = re.compile(r".+-[0-9a-f]+")


class Locked(Exception):
    """Another run holds the root; the text is what its holder wrote about itself."""


class Origin(NamedTuple):
    """Who sends, for the receipts."""

    run_id: str
    writer: str
    server: str
    source_site: str


class OwnFiles:
    """The folder ``.cachemig`` of one root; made when it is first written to."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._note_fd: int | None = None

    def root_id(self) -> str:
        """What the first lock wrote, to know this root again; empty if there was none."""
        try:
            parent, name = self._tree.split(_ROOT_ID)
            fd = os.open(name, _READ, dir_fd=parent)
            with os.fdopen(fd, encoding="ascii", errors="replace") as file:
                told = file.read(64)
        except (OSError, BadPath):
            return ""
        return told if _WELL_FORMED_ID.fullmatch(told) else ""

    def lock(self, run_id: str, who: str) -> str:
        """Hold the root until this process ends, however it ends; returns the root's id.

        Raises:
            Locked: another run holds it.
        """
        fd = self._open(_LOCK, _LOCKABLE)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(fd, 4096, 0).decode("utf-8", "replace")
            os.close(fd)
            raise Locked(holder) from None
        about = {
            "run_id": run_id,
            "who": who,
            "host": os.uname().nodename,
            "pid": os.getpid(),
            "since": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        }
        os.ftruncate(fd, 0)
        os.pwrite(fd, json.dumps(about).encode("utf-8"), 0)  # left open: closing it would unlock
        return self.root_id() or self._new_root_id()

    def _new_root_id(self) -> str:
        root_id = os.urandom(8).hex()
        fd = self._open(_ROOT_ID, _ANEW)
        try:
            os.write(fd, root_id.encode("ascii"))
        finally:
            os.close(fd)
        return root_id

    def sync_lock(self) -> int:
        """A descriptor for the lock that keeps one syncfs in flight per root."""
        return self._open(_SYNC_LOCK, _LOCKABLE)

    def prove_group(self, gid: int) -> None:
        """Give a new file the group, and remove it; an older one may be of another account.

        Raises:
            OSError: the account may not do that (EPERM), or may not write here.
        """
        path = f"{OWN_DIRECTORY}/group-{os.urandom(4).hex()}"
        fd = self._open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            os.fchown(fd, -1, gid)
        finally:
            os.close(fd)
            parent, name = self._tree.split(path)
            os.unlink(name, dir_fd=parent)

    def note_temps(self, writer: str, directories: Iterable[str]) -> None:
        """Write down where temps are about to be made, for whoever must sweep them.

        The note is locked until this process ends: only temps of the dead are swept.
        """
        if self._note_fd is None:
            self._note_fd = self._open(f"{_TEMPS}/{writer}", _LOCKABLE)
            _try_lock(self._note_fd)
        lines = "".join(json.dumps(path) + "\n" for path in directories)
        self._append(f"{_TEMPS}/{writer}", lines)

    def forget_temps(self, writer: str) -> None:
        """Drop the note of a writer that left no temp behind; one that can not go stays."""
        parent, name = self._tree.split(f"{_TEMPS}/{writer}")
        with contextlib.suppress(OSError):
            os.unlink(name, dir_fd=parent)

    def sweep_temps(self) -> int:
        """Remove the temps that dead writers noted; the caller must hold the lock."""
        try:
            writers = os.listdir(self._tree.directory(_TEMPS))
        except FileNotFoundError:
            return 0
        removed = 0
        for writer in filter(_WRITER.fullmatch, writers):
            if self._is_alive(writer):
                continue
            noted = self._lines(f"{_TEMPS}/{writer}")
            left = 0
            for directory in {line for line in noted if isinstance(line, str)}:
                swept, stuck = self._sweep(directory, writer)
                removed += swept
                left += stuck
            if not left:
                self.forget_temps(writer)
        return removed

    def _is_alive(self, writer: str) -> bool:
        """Whether a writer still holds its note; also a hung one, whose bytes nobody wants."""
        try:
            fd = self._open(f"{_TEMPS}/{writer}", os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            return not _try_lock(fd)
        finally:
            os.close(fd)

    def append_receipts(self, writer: str, receipts: list[dict[str, Any]]) -> None:
        """Add receipts to this writer's file; one line of JSON for each."""
        lines = "".join(json.dumps(receipt) + "\n" for receipt in receipts)
        if lines:
            self._append(f"{_RECEIPTS}/{writer}.jsonl", lines)

    def receipts(self) -> Iterator[Any]:
        """Read every receipt at this root; a torn last line is passed over."""
        try:
            names = sorted(os.listdir(self._tree.directory(_RECEIPTS)))
        except FileNotFoundError:
            return
        for name in names:
            yield from self._lines(f"{_RECEIPTS}/{name}")

    def set_aside(self, path: str, run_id: str) -> str:
        """Rename a file, within its directory, to a name bitbake never asks for."""
        parent, name = self._tree.split(path)
        aside = f"{ASIDE_PREFIX}{os.urandom(8).hex()}"
        directory = path.rpartition("/")[0]
        new_path = f"{directory}/{aside}" if directory else aside
        note = {"run_id": run_id, "path": path, "aside": new_path, "time": time.time_ns()}
        self._append(_ASIDE, json.dumps(note) + "\n")
        os.rename(name, aside, src_dir_fd=parent, dst_dir_fd=parent)
        return new_path

    def _sweep(self, directory: str, writer: str) -> tuple[int, int]:
        """Remove a writer's temps from a directory: how many went, and how many would not."""
        prefix = temp_prefix(writer)
        try:
            fd = self._tree.directory(directory)
            found = [name for name in os.listdir(fd) if name.startswith(prefix)]
            temps = [name for name in found if not name.startswith(ASIDE_PREFIX)]
        except (FileNotFoundError, BadPath):  # a name may have been noted before it was refused
            return 0, 0
        except OSError:  # closed, or a link for now: the note stays
            return 0, 1
        removed = 0
        for temp in temps:
            try:
                os.unlink(temp, dir_fd=fd)
                removed += 1
            except OSError:
                continue
        return removed, len(temps) - removed

    def _open(self, path: str, flags: int) -> int:
        parent, name = self._tree.split(path, create=True)
        fd = os.open(name, flags, _MODE, dir_fd=parent)
        if os.fstat(fd).st_uid == os.geteuid() and stat.S_IMODE(os.fstat(fd).st_mode) != _MODE:
            os.fchmod(fd, _MODE)
        return fd

    def _append(self, path: str, text: str) -> None:
        fd = self._open(path, _APPEND)
        size_bytes = os.fstat(fd).st_size
        try:
            data = memoryview(text.encode("ascii"))
            while data:
                data = data[os.write(fd, data) :]
        except OSError:
            os.ftruncate(fd, size_bytes)  # half a line would spoil the next
            raise
        finally:
            os.close(fd)

    def _lines(self, path: str) -> Iterator[Any]:
        parent, name = self._tree.split(path)
        try:
            fd = os.open(name, _READ, dir_fd=parent)
        except OSError:
            return
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            return
        with os.fdopen(fd, encoding="ascii", errors="replace") as file:
            for line in file:
                try:
                    yield json.loads(line)
                except (ValueError, RecursionError):
                    continue


def _try_lock(fd: int) -> bool:
    """Lock a file if nobody holds it; where locks do not work, nobody does."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def temp_prefix(writer: str) -> str:
    """How the temps of one writer begin; short, since object names reach 254 bytes."""
    return f"{TEMP_PREFIX}{writer[-12:]}-"
