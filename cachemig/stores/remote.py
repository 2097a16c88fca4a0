"""The store at the other end of a pipe."""

import os
import pwd
import threading
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from cachemig.agent.frames import PeerLost
from cachemig.agent.peer import AgentError, Peer
from cachemig.agent.protocol import Outcome
from cachemig.errors import CachemigError, IncompleteError
from cachemig.stores import answers
from cachemig.stores.answers import NonsenseError
from cachemig.stores.base import (
    ArchiveVerdict,
    DirectoryListing,
    FileDigest,
    FileStat,
    KeptReceipt,
    Space,
)
from cachemig.stores.refusals import Diagnose, explained, lost, senseless
from cachemig.stores.whereabouts import whereabouts

_PATHS_AT_ONCE = 2000


class Rooted(NamedTuple):
    """How to reach a root and what to open there; plain values, so it can be handed on.

    Attributes:
        server: the server's name in cachemig.toml.
        argv: the child process whose stdin and stdout lead to an agent.
        root: absolute path of the root, on the machine where the agent runs.
        group: group that new files get; None leaves it to the directory.
        follow: further roots of the same machine into which links may lead.
    """

    server: str
    argv: tuple[str, ...]
    root: str
    group: str | None = None
    follow: tuple[str, ...] = ()

    def opening(self, **more: Any) -> dict[str, Any]:
        """The arguments of the agent's `open`."""
        about = {"root": self.root, "group": self.group, "follow": self.follow}
        return {**about, "server": self.server, **more}


class Holder(NamedTuple):
    """Who holds a root for writing: told to whoever finds it locked."""

    run_id: str
    who: str


class RemoteStore:
    """A `Store` behind an agent, on this machine or another.

    Attributes:
        found_root_id: what the root could be known by when it was opened; empty if it was new.
        root_id: the same once it is locked, when a new one gets an id.

    One request at a time: an answer that is read piece by piece is read to its end, or its
    iterator is closed, before the next question. What is left of it is passed over then.
    """

    def __init__(
        self,
        rooted: Rooted,
        diagnose: Diagnose,
        silence_limit_s: float,
        holder: Holder | None = None,
    ) -> None:
        """Connect, open the root, and with a holder lock it and sweep what dead runs left.

        Raises:
            LockedError: another run holds the root.
            CachemigError: the server can not be reached, or has no such root.
        """
        self.server = rooted.server
        self.rooted = rooted
        self._diagnose = diagnose
        self._lock = threading.Lock()
        self._peer = Peer(list(rooted.argv), silence_limit_s, silence_limit_s)
        requests = [("open", rooted.opening(silence_limit_s=silence_limit_s))]
        if holder is not None:
            requests += [("lock", holder._asdict()), ("sweep", {})]
        try:
            with self._asking():
                about, *rest = self._peer.call_each(requests)
                self.opened_at_ns, self.found_root_id = answers.about(about)
                self.root_id = answers.root_id(rest[0]) if rest else self.found_root_id
                self.whereabouts = whereabouts(about)
                self.swept_temps = answers.number(rest[-1]) if rest else 0
        except CachemigError:
            self._peer.close()
            raise

    def list(
        self, subtree: str, known: Mapping[str, int]
    ) -> Generator[DirectoryListing, None, None]:
        """Walk a subtree on the far side; see `Store.list`."""
        with self._asking():
            rows = self._peer.stream("list", subtree=subtree, known=dict(known))
            yield from answers.listings(rows, subtree)

    def stat(self, paths: Sequence[str]) -> Sequence[FileStat | None]:
        """Look at planned names; see `Store.stat`."""
        parts = list(_parts(paths))
        requests = (("stat", {"paths": part}) for part in parts)
        with self._asking():
            told = zip(self._peer.call_each(requests), parts, strict=True)
            return [row for rows, part in told for row in answers.stats(rows, len(part))]

    def digest(self, paths: Sequence[str]) -> Generator[FileDigest, None, None]:
        """Digest files on the far side; see `Store.digest`."""
        with self._asking():
            for part in _parts(paths):
                rows = self._peer.stream("digest", paths=part)
                yield from (answers.digest(*pair) for pair in answers.paired(rows, part))

    def check(
        self, paths: Sequence[str], *, deep: bool = False
    ) -> Generator[ArchiveVerdict, None, None]:
        """Check archives on the far side; see `Store.check`."""
        with self._asking():
            for part in _parts(paths):
                rows = self._peer.stream("check", paths=part, deep=deep)
                yield from (answers.verdict(*pair) for pair in answers.paired(rows, part))

    def touch(self, times: Iterable[tuple[str, int]]) -> int:
        """Move modification times forward; see `Store.touch`."""
        requests = (("touch", {"times": part}) for part in _parts(list(times)))
        with self._asking():
            return sum(map(answers.number, self._peer.call_each(requests)))

    def space(self) -> Space:
        """Tell what is free; see `Store.space`."""
        with self._asking():
            return answers.space(self._peer.call("space"))

    def hold(self, holder: Holder) -> None:
        """Lock the root for a run until the connection ends, and sweep what dead runs left.

        Raises:
            LockedError: another run holds it.
        """
        with self._asking():
            requests: list[tuple[str, dict[str, Any]]]
            requests = [("lock", holder._asdict()), ("sweep", {})]
            first, last = self._peer.call_each(requests)
            self.root_id = answers.root_id(first)
            self.swept_temps = answers.number(last)

    def sweep_temps(self) -> int:
        """Remove the temps of dead runs; see `Store.sweep_temps`."""
        with self._asking():
            return answers.number(self._peer.call("sweep"))

    def set_aside(self, paths: Sequence[str], run_id: str) -> Sequence[tuple[str, str]]:
        """Rename files out of sight; see `Store.set_aside`."""
        with self._asking():
            told = self._peer.call("aside", paths=list(paths), run_id=run_id)
            return answers.new_names(told, paths)

    def receipts(self) -> Generator[KeptReceipt | None, None, None]:
        """Read the receipts kept at this root; see `Store.receipts`."""
        with self._asking():
            yield from map(answers.kept_receipt, self._peer.stream("receipts"))

    def read_file(self, path: str, limit_bytes: int) -> Generator[bytes, None, None]:
        """Stream one file here; one that is larger by now is told as changed.

        Raises:
            IncompleteError: it vanished, changed while it was read, or can not be read.
        """
        with self._asking():
            frames = self._peer.frames("read", paths=[path], limits_bytes=[limit_bytes])
            for piece in answers.file_pieces(frames, limit_bytes):
                if isinstance(piece, bytes):
                    yield piece
                elif piece.outcome is None:
                    yield bytes(piece.data)
                elif piece.outcome is not Outcome.DAMAGED:
                    raise self._unreadable(path, bytes(piece.data).decode("utf-8", "replace"))

    def hang_up(self) -> None:
        """Cut the connection; the agent ends, and its lock with it."""
        self._peer.hang_up()

    def close(self) -> None:
        """Hang up, and wait for the agent's end."""
        self._peer.close()

    @contextmanager
    def _asking(self) -> Iterator[None]:
        if not self._lock.acquire(blocking=False):
            raise RuntimeError(f"{self.server} still answers: read the answer to its end first")
        try:
            yield
        except AgentError as error:
            raise explained(error, self.server, self._diagnose) from None
        except PeerLost as error:
            raise self._lost(error) from None
        except NonsenseError as error:
            raise senseless(error, self.server) from None
        finally:
            self._lock.release()

    def _unreadable(self, path: str, cause: str) -> IncompleteError:
        return IncompleteError(
            "a file could not be read whole",
            server=self.server,
            path=path,
            cause=cause,
            next_step="run the same command again",
        )

    def _lost(self, error: PeerLost) -> CachemigError:
        return lost(str(error), self._peer, self.server, self._diagnose)


def _parts(items: Sequence[Any]) -> Iterator[Sequence[Any]]:
    return (items[at : at + _PATHS_AT_ONCE] for at in range(0, len(items), _PATHS_AT_ONCE))


def who_runs_this() -> str:
    """The account and process on this machine, for others that meet our lock.

    An account that the system has no name for is told by its number.
    """
    try:
        account = pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        account = str(os.geteuid())
    return f"{account}@{os.uname().nodename} pid {os.getpid()}"
