"""Ask a destination about planned objects, in the plan's order: what does it lack?"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Protocol

from cachemig.agent.protocol import Outcome
from cachemig.catalog.plan import Pair, Plan, PlanRow
from cachemig.engine.account import Account, Done
from cachemig.engine.batches import Consignment, consign, stale_times
from cachemig.stores.base import ArchiveVerdict, FileStat

FIRST_ROWS = 1000
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


class Asker:
    """Walks one pair's part of a plan in windows, so that sending begins with the first."""

    def __init__(
        self, plan: Plan, pair: Pair, folders: Mapping[str, str], destination: Questioned
    ) -> None:
        self._plan = plan
        self._pair = pair
        self._folders = folders
        self._destination = destination

    def lacking(self, account: Account, stopped: Callable[[], bool]) -> Iterator[Consignment]:
        """Yield what must be sent; what is there already goes to the account.

        A present file's time is moved forward to that of the source, since retention and
        heat live on it.
        """
        start = 0
        while not stopped():
            rows = self._plan.rows(self._pair, start, ROWS_AT_ONCE if start else FIRST_ROWS)
            if not rows:
                return
            start += len(rows)
            items = list(self._judged(self._compare(rows)))
            account.count(Done(i, i.outcome, i.cause) for i in items if not i.wanted)
            yield from (item for item in items if item.wanted)

    def _compare(self, rows: list[PlanRow]) -> list[Consignment]:
        paths = [row.paths(self._folders[row.cache]) for row in rows]
        answers = iter(self._destination.stat([path for several in paths for path in several]))
        asked = [
            (row, several, list(islice(answers, len(several))))
            for row, several in zip(rows, paths, strict=True)
        ]
        times = [time for found in asked for time in stale_times(*found, TIME_SLACK_NS)]
        if times:
            self._destination.touch(times)
        return [consign(*found) for found in asked]

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
