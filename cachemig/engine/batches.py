"""Objects on their way between two servers, and the batches they travel in. Pure."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from cachemig.agent.protocol import Outcome
from cachemig.catalog.plan import PlanRow
from cachemig.stores.base import FileReceipt, FileStat, WantedFile

BATCH_BYTES = 8 * 1024 * 1024
BATCH_FILES = 500
MAX_ATTEMPTS = 3
_SMALLEST_BATCH_BYTES = 1024 * 1024
_WORST_FIRST = (Outcome.FAILED, Outcome.REJECTED, Outcome.CHANGED)
_SPOILS_OBJECT = frozenset(_WORST_FIRST)


@dataclass(frozen=True, slots=True)
class Consignment:
    """One object on its way: what of it must be sent, and what is known already.

    Attributes:
        row: the object as planned.
        path: its main file, below the server's root: what it is called in reports.
        wanted: files that are to be sent, companions first.
        outcomes: what became of its other files, by path.
        attempts: how often it was sent.
        cause: why it has not arrived, as far as it was told.
        met_there: `cause` is about what has its name at the destination.
    """

    row: PlanRow
    path: str
    wanted: tuple[WantedFile, ...]
    outcomes: Mapping[str, Outcome]
    sha256: str = ""
    attempts: int = 0
    cause: str = ""
    met_there: bool = False

    @property
    def size_bytes(self) -> int:
        """What is to be sent of it."""
        return sum(file.size_bytes for file in self.wanted)

    @property
    def outcome(self) -> Outcome:
        """What became of the object as a whole.

        That of its main file, unless a companion failed; an object that was there but for
        a companion was published.
        """
        main = self.outcomes.get(self.path, Outcome.NOT_ATTEMPTED)
        others = set(self.outcomes.values())
        spoiled = others & _SPOILS_OBJECT
        if spoiled:
            return next(outcome for outcome in _WORST_FIRST if outcome in spoiled)
        if main is Outcome.PRESENT and Outcome.PUBLISHED in others:
            return Outcome.PUBLISHED
        return main

    def met(self, outcome: Outcome, cause: str) -> "Consignment":
        """Note that what has the archive's name at the destination is no whole archive."""
        outcomes = {**self.outcomes, self.path: outcome}
        return replace(self, outcomes=outcomes, cause=cause, met_there=True)

    def settled(self, receipts: Iterable[FileReceipt]) -> "Consignment":
        """Take in what a lane told of its files; files worth another try stay wanted."""
        told = {receipt.path: receipt for receipt in receipts}
        again = self.attempts + 1 < MAX_ATTEMPTS
        kept = tuple(f for f in self.wanted if again and _worth_another_try(told[f.path]))
        causes = [told[f.path].cause for f in self.wanted if told[f.path].cause]
        main = told.get(self.path)
        return replace(
            self,
            wanted=kept,
            outcomes={**self.outcomes, **{p: r.outcome for p, r in told.items()}},
            sha256=main.sha256 if main else self.sha256,
            attempts=self.attempts + 1,
            cause=causes[-1] if causes else self.cause,
        )


def _worth_another_try(receipt: FileReceipt) -> bool:
    """Bytes that got lost and sources that changed may be better now; a full disk is not."""
    transient = receipt.outcome is Outcome.FAILED and receipt.errno == 0
    return transient or receipt.outcome is Outcome.CHANGED


@dataclass(slots=True)
class Batch:
    """Objects that are sent, made durable and acknowledged together."""

    consignments: list[Consignment] = field(default_factory=list)
    size_bytes: int = 0
    files: int = 0

    @property
    def is_large(self) -> bool:
        """Whether it is one object that fills more than a batch."""
        return self.size_bytes > BATCH_BYTES

    def add(self, consignment: Consignment) -> None:
        """Put one more in."""
        self.consignments.append(consignment)
        self.size_bytes += consignment.size_bytes
        self.files += len(consignment.wanted)

    def wanted(self) -> list[WantedFile]:
        """All files, in the order in which they are to be linked."""
        return [file for item in self.consignments for file in item.wanted]

    def settled(self, receipts: Sequence[FileReceipt]) -> list[Consignment]:
        """Hand each object its own receipts."""
        done, at = [], 0
        for item in self.consignments:
            done.append(item.settled(receipts[at : at + len(item.wanted)]))
            at += len(item.wanted)
        return done


def last_batch_bytes(left_bytes: int, lanes: int) -> int:
    """How large a batch may be so that all lanes end at about the same time.

    Half of an even share of what is left: each batch is smaller than the one before it
    (guided self-scheduling, Polychronopoulos and Kuck 1987).
    """
    return max(_SMALLEST_BATCH_BYTES, left_bytes // (2 * max(1, lanes)))


def cut(
    consignments: Iterable[Consignment], batch_bytes: Callable[[], int] = lambda: BATCH_BYTES
) -> Iterator[Batch]:
    """Fill batches in order; an object is never divided, a large one travels alone."""
    batch = Batch()
    for item in consignments:
        too_big = batch.size_bytes + item.size_bytes > batch_bytes()
        too_many = batch.files + len(item.wanted) > BATCH_FILES
        if batch.consignments and (too_big or too_many):
            yield batch
            batch = Batch()
        batch.add(item)
    if batch.consignments:
        yield batch


def consign(row: PlanRow, paths: Sequence[str], there: Sequence[FileStat | None]) -> Consignment:
    """Compare a planned object with what lies under its paths, by name and size.

    What lies under a companion's name and is no file fails the object: an archive goes to
    no place where its companion can not be.
    """
    wanted: list[WantedFile] = []
    outcomes: dict[str, Outcome] = {}
    blocked = ""
    for file, path, found in zip(row.files, paths, there, strict=True):
        if found is None:
            wanted.append(WantedFile(path, path, file.size_bytes, file.mtime_ns))
        elif found.size_bytes == file.size_bytes:
            outcomes[path] = Outcome.PRESENT
        elif found.size_bytes < 0 and path != paths[-1]:
            outcomes[path] = Outcome.FAILED
            blocked = f"there already: {path.rpartition('/')[2]} is not a regular file"
        else:
            outcomes[path] = Outcome.FOREIGN
    return Consignment(row, paths[-1], () if blocked else tuple(wanted), outcomes, cause=blocked)


def stale_times(
    row: PlanRow, paths: Sequence[str], there: Sequence[FileStat | None], slack_ns: int
) -> Iterator[tuple[str, int]]:
    """List present files whose time at the source is newer by more than the slack."""
    for file, path, found in zip(row.files, paths, there, strict=True):
        if found is not None and file.mtime_ns > found.mtime_ns + slack_ns:
            yield path, file.mtime_ns
