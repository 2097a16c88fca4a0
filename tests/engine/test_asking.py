"""What is lacking comes in the plan's order, but for large objects: none is left to the end."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from cachemig.catalog.candidates import Destination
from cachemig.catalog.plan import make_plan
from cachemig.core.pair import Pair
from cachemig.core.shards import SLOTS, ShardMap
from cachemig.engine.account import Account
from cachemig.engine.asking import FIRST_ROWS, Asker, Question
from cachemig.engine.batches import BATCH_BYTES
from cachemig.engine.seen import Seen
from cachemig.stores.base import ArchiveVerdict, FileStat
from tests.catalog.made import OLD_NS, Held, file, inventory_of, listing, object_name

PAIR = Pair("a", "x")
MAPS = {"lmp": ShardMap("new", "lmp", "slots", {"x": 1.0}, ("x",) * len(SLOTS))}


class Nothing:
    """A destination that holds nothing."""

    def stat(self, paths: Sequence[str]) -> Sequence[FileStat | None]:
        """No name is there."""
        return [None] * len(paths)

    def touch(self, times: Iterable[tuple[str, int]]) -> int:
        """Nothing is there to be touched."""
        return len(list(times))

    def check(self, _paths: Sequence[str]) -> Iterable[ArchiveVerdict]:
        """Nothing is there to be checked."""
        return []


def sizes_in_order(folder: Path, sizes: Sequence[int]) -> list[int]:
    """The sizes of objects, newest first, as they are to be sent."""
    files = [
        file(object_name(pn=f"pn{number}"), size_bytes, OLD_NS - number)
        for number, size_bytes in enumerate(sizes)
    ]
    inventory = inventory_of(folder, [Held("a", "lmp", listing("3f/a1", *files))])
    plan = make_plan(inventory, Destination("new", MAPS), folder / "plan.parquet")
    question = Question(plan, PAIR, {"lmp": ""})
    asker = Asker(question, Nothing(), Seen(0))
    lacking = asker.lacking(Account(PAIR, lambda _: None), lambda: False)
    return [item.size_bytes for item in lacking]


def test_the_hottest_objects_keep_their_order(tmp_path: Path) -> None:
    """Whatever their size: of the first window the newest goes first."""
    sizes = [BATCH_BYTES + number if number % 3 else 10 + number for number in range(99)]
    assert sizes_in_order(tmp_path, sizes) == sizes


def test_later_a_large_object_comes_before_those_asked_about_with_it(tmp_path: Path) -> None:
    """Both kinds in their order."""
    small = list(range(10, 10 + FIRST_ROWS + 50))
    large = [BATCH_BYTES + 2, BATCH_BYTES + 1]
    first, rest = small[:FIRST_ROWS], small[FIRST_ROWS:]

    assert sizes_in_order(tmp_path, [*small, *large]) == [*first, *large, *rest]
