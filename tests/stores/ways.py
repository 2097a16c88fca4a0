"""The ways in which a root can be reached, and a ground for the tests of one way."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from cachemig.agent.bootstrap import BOOTSTRAP, PYTHON_FLAGS
from cachemig.stores.base import FileReceipt, WantedFile
from cachemig.stores.diagnosis import diagnose
from cachemig.stores.lane import Lane, LanePlan
from cachemig.stores.open import here_argv
from cachemig.stores.remote import Holder, RemoteStore, Rooted
from tests.nobody import as_nobody

SILENCE_S = 30.0
_writers = itertools.count()


def local_argv(python: str) -> tuple[str, ...]:
    """An agent on this machine."""
    return (python, *PYTHON_FLAGS, "-c", BOOTSTRAP)


@dataclass(frozen=True, slots=True)
class Way:
    """One way: `argv` leads to an agent, `nobodys_argv` to one that is an ordinary user."""

    name: str
    argv: tuple[str, ...]
    nobodys_argv: tuple[str, ...]

    @classmethod
    def local(cls, name: str, python: str) -> "Way":
        """Through a child process."""
        argv = local_argv(python)
        return cls(name, argv, as_nobody(argv))

    @classmethod
    def remote(cls, name: str, argv: Sequence[str]) -> "Way":
        """Through an ssh client, whose last argument is the command for the far side."""
        (*client, command) = argv
        words = " ".join(as_nobody(("python3",)))
        nobodys = command.replace("exec python3", f"exec {words}")
        assert words in nobodys
        return cls(name, tuple(argv), (*client, nobodys))

    def rooted(self, root: Path, follow: Sequence[Path] = ()) -> Rooted:
        """A root that is reached this way."""
        return Rooted("nfs-9", self.argv, str(root), follow=tuple(map(str, follow)))

    @contextmanager
    def open(
        self, root: Path, follow: Sequence[Path] = (), holder: Holder | None = None
    ) -> Iterator[RemoteStore]:
        """A connection of its own."""
        store = RemoteStore(self.rooted(root, follow), diagnose, SILENCE_S, holder)
        try:
            yield store
        finally:
            store.close()

    @contextmanager
    def open_as_nobody(self, root: Path) -> Iterator[RemoteStore]:
        """A connection whose agent is refused what an ordinary user is refused."""
        place = self.rooted(root)._replace(argv=self.nobodys_argv)
        store = RemoteStore(place, diagnose, SILENCE_S)
        try:
            yield store
        finally:
            store.close()

    def lane(
        self,
        source: Rooted,
        root: Path,
        *,
        dial_source: bool = True,
        destination: Rooted | None = None,
    ) -> Lane:
        """A mover on this machine that dials the destination, and the source unless told not to."""
        plan = LanePlan(
            mover_argv=here_argv(),
            mover_host="",
            source=source,
            source_is_local=not dial_source,
            destination=destination or self.rooted(root),
            run_id="run-1",
            source_site="old",
            silence_limit_s=SILENCE_S,
        )
        return Lane(plan, f"run-1-{next(_writers):x}", diagnose)


@dataclass(slots=True)
class Place:
    """Two roots reached one way, with an open store at the second and a lane between them."""

    way: Way
    source_root: Path
    root: Path
    store: RemoteStore
    lane: Lane
    number: Callable[[], int] = field(default_factory=lambda: itertools.count().__next__)

    @classmethod
    @contextmanager
    def at(cls, way: Way, folder: Path) -> Iterator["Place"]:
        """Make the roots and connect."""
        source_root, root = folder / "old", folder / "new"
        source_root.mkdir()
        root.mkdir()
        lane = way.lane(way.rooted(source_root), root)
        try:
            with way.open(root) as store:
                yield cls(way, source_root, root, store, lane)
        finally:
            lane.close()

    def ground(self) -> "Ground":
        """A folder of one test's own, below both roots."""
        return Ground(self, f"cache-{self.number()}")


@dataclass(frozen=True, slots=True)
class Ground:
    """One test's own part of a place."""

    place: Place
    folder: str

    @property
    def store(self) -> RemoteStore:
        """The open store at the destination."""
        return self.place.store

    @property
    def source(self) -> Path:
        """The test's folder at the source, made."""
        return _made(self.place.source_root / self.folder)

    @property
    def target(self) -> Path:
        """The test's folder at the destination, made."""
        return _made(self.place.root / self.folder)

    def bring(self, *names: str) -> dict[str, FileReceipt]:
        """Send files of the test's folder as one batch; the receipt of each name."""
        wanted = [wanted_file(f"{self.folder}/{name}") for name in names]
        return dict(zip(names, send(self.place.lane, wanted), strict=True))

    def entries(self) -> set[bytes]:
        """What lies directly in the test's folder at the destination."""
        return {_as_bytes(path) for path in self.target.iterdir()}


def wanted_file(path: str, source_path: str | None = None) -> WantedFile:
    """A file of a batch, planned with 10 MB; it keeps its path unless another one is given."""
    return WantedFile(path if source_path is None else source_path, path, 10_000_000, 0)


def send(lane: Lane, wanted: Sequence[WantedFile], rate: float = 0) -> Sequence[FileReceipt]:
    """Hand a batch to a lane and wait for its receipts."""
    number = lane.send(wanted, rate)
    receipts = [answer.receipts for answer in lane.answers() if answer.receipts is not None]
    assert number
    assert len(receipts) == 1
    return receipts[0]


def _as_bytes(path: Path) -> bytes:
    return path.name.encode("utf-8", "surrogateescape")


def _made(path: Path) -> Path:
    path.mkdir(exist_ok=True)
    return path
