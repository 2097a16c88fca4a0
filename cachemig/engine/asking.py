"""Ask a destination about planned objects, in the plan's order: what does it lack?"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Protocol

from cachemig.agent.protocol import Outcome
from cachemig.catalog.plan import Plan, PlanRow
from cachemig.catalog.settled import CHANGED, Settled, rest_of
from cachemig.core.pair import Pair
from cachemig.core.paths import joined
from cachemig.engine.account import Account, Done
from cachemig.engine.batches import Consignment, consign, stale_times
from cachemig.engine.seen import Seen
from cachemig.stores.base import ArchiveVerdict, FileStat

FIRST_ROWS = 500
LARGEST_ROWS = 64
ROWS_AT_ONCE = 8000
TIME_SLACK_NS = 2_000_000_000


class Questioned(Protocol):
    """What a destination is asked; the methods are those of a `Store`."""

    def stat(self, paths: Sequence[str]) -> Sequence[FileStat | None]:
        """Look at planned names."""

    def touch(self, times: Iterable[tuple[str, int]]) -> int:
        """Move modification times forward."""

    def check(self, paths: Sequence[str]) -> Iterable[ArchiveVerdict]:
        """Check the structure of archives."""


@dataclass(frozen=True, slots=True)
class Question:
    """One pair's part of a plan; `folders` are those of the caches below a server's root."""

    plan: Plan
    pair: Pair
    folders: Mapping[str, str]

    def path(self, cache: str, directory: str) -> str:
        """Name a directory of a cache below a server's root."""
        return joined(self.folders[cache], directory)


class Asker:
    """Walks one pair's part of a plan in windows, so that sending begins with the first."""

    def __init__(self, question: Question, destination: Questioned, seen: Seen) -> None:
        self._question = question
        self._destination = destination
        self._seen = seen

    def pass_over(self, settled: Sequence[Settled], rest_path: Path, account: Account) -> None:
        """Ask no more about directories that are as an earlier run saw them whole.

        What they hold goes to the account. The plan without them is written to `rest_path`.
        """
        question = self._question
        asked = [place for place in settled if place.mtime_ns != CHANGED]
        found = self._destination.stat([question.path(*place[:2]) for place in asked])
        same = [
            place
            for place, there in zip(asked, found, strict=True)
            if there is not None and there.mtime_ns == place.mtime_ns
        ]
        if same:
            self._seen.recalled(same)
            rest, present = rest_of(question.plan, question.pair, same, rest_path)
            account.count_present(present)
            self._question = replace(question, plan=rest)

    def lacking(
        self, account: Account, stopped: Callable[[], bool], is_due: Callable[[int], bool]
    ) -> Iterator[Consignment]:
        """Yield what must be sent; what is there already goes to the account.

        A present file's time is moved forward to that of the source, since retention and
        heat live on it.

        Args:
            account: of the pair.
            stopped: whether nothing more shall be asked.
            is_due: whether an object of so many bytes can not wait for its turn; if it is one
                of the largest, it then comes before the window that is asked about.
        """
        pair = self._question.pair
        with self._question.plan.reading() as plan:
            waiting = plan.largest(pair, LARGEST_ROWS)
            ahead: set[int] = set()
            start = 0
            while not stopped():
                rows = plan.rows(pair, start, ROWS_AT_ONCE if start else FIRST_ROWS)
                if not rows:
                    return
                waiting = [row for row in waiting if row.n >= start]
                due = [row for row in waiting if row.n not in ahead and is_due(row.size_bytes)]
                ahead |= {row.n for row in due}
                asked = [*due, *(row for row in rows if row.n not in ahead)]
                yield from self._wanted(asked, account)
                start += len(rows)

    def _wanted(self, rows: list[PlanRow], account: Account) -> list[Consignment]:
        """Ask about rows; what need not be sent goes to the account."""
        items = list(self._judged(self._compare(rows)))
        done = [item for item in items if not item.wanted]
        self._seen.take(done)
        account.count(Done(item, item.outcome, item.cause) for item in done)
        return [item for item in items if item.wanted]

    def _compare(self, rows: list[PlanRow]) -> list[Consignment]:
        folders = self._question.folders
        paths = [row.paths(folders[row.cache]) for row in rows]
        places = list(dict.fromkeys((row.cache, row.directory) for row in rows))
        asked = [self._question.path(*place) for place in places]
        found = self._destination.stat([*asked, *(path for several in paths for path in several)])
        answers = iter(found)
        times = zip(places, islice(answers, len(places)), strict=True)
        self._seen.looked({place: there.mtime_ns for place, there in times if there is not None})
        told = [
            (row, several, list(islice(answers, len(several))))
            for row, several in zip(rows, paths, strict=True)
        ]
        stale = [time for each in told for time in stale_times(*each, TIME_SLACK_NS)]
        if stale:
            self._destination.touch(stale)
        return [consign(*each) for each in told]

    def _judged(self, items: list[Consignment]) -> Iterator[Consignment]:
        """Look whether what is there with another size is a whole archive, damaged, or none."""
        odd = [item.path for item in items if item.outcomes.get(item.path) is Outcome.FOREIGN]
        verdicts = self._destination.check(odd) if odd else ()
        wrong = {verdict.path: verdict for verdict in verdicts if verdict.damage or verdict.problem}
        for item in items:
            verdict = wrong.get(item.path)
            if verdict is None:
                yield item
            elif verdict.damage:
                yield item.met(Outcome.DAMAGED, f"there already: {verdict.damage}")
            else:
                yield item.met(Outcome.FAILED, f"there already: {verdict.problem}")
