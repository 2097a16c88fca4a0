"""What is lacking comes in the plan's order, but for large objects that can not wait."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cachemig.catalog.candidates import Destination
from cachemig.catalog.plan import make_plan
from cachemig.core.pair import Pair
from cachemig.core.shards import SLOTS, ShardMap
from cachemig.engine.account import Account
from cachemig.engine.asking import FIRST_ROWS, LARGEST_ROWS, Asker, Question
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


def sizes_in_order(folder: Path, sizes: Sequence[int], is_due: Callable[[int], bool]) -> list[int]:
    """The sizes of objects, newest first, as they are to be sent."""
    files = [
        file(object_name(pn=f"pn{number}"), size_bytes, OLD_NS - number)
        for number, size_bytes in enumerate(sizes)
    ]
    inventory = inventory_of(folder, [Held("a", "lmp", listing("3f/a1", *files))])
    plan = make_plan(inventory, Destination("new", MAPS), folder / "plan.parquet")
    asker = Asker(Question(plan, PAIR, {"lmp": ""}), Nothing(), Seen(0))
    lacking = asker.lacking(Account(PAIR, lambda _: None), lambda: False, is_due)
    return [item.size_bytes for item in lacking]


SIZES = [*range(10, 10 + FIRST_ROWS + 50), 8_000_000, 9_000_000, *range(5000, 5020), 7_000_000]


def test_the_newest_are_sent_first(tmp_path: Path) -> None:
    """Whatever their size, as long as none is due."""
    assert sizes_in_order(tmp_path, SIZES, lambda _: False) == SIZES


def test_what_is_due_is_sent_before_all_others(tmp_path: Path) -> None:
    """The largest first, and nothing twice."""
    due = [9_000_000, 8_000_000]
    rest = [size_bytes for size_bytes in SIZES if size_bytes not in due]
    assert sizes_in_order(tmp_path, SIZES, lambda size: size > 7_500_000) == [*due, *rest]


def test_what_becomes_due_comes_before_its_window(tmp_path: Path) -> None:
    """What was asked about before has its place already."""
    asked: list[int] = []

    def is_due(size_bytes: int) -> bool:
        """Nothing is, until the first window was asked about."""
        asked.append(size_bytes)
        return len(asked) > LARGEST_ROWS and size_bytes == 7_000_000

    first, rest = SIZES[:FIRST_ROWS], SIZES[FIRST_ROWS:-1]
    assert sizes_in_order(tmp_path, SIZES, is_due) == [*first, 7_000_000, *rest]


@given(data=st.data())
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_everything_is_sent_once(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Whatever is due, and whenever."""
    is_due = data.draw(st.functions(like=lambda _: True, returns=st.booleans()))
    found = sizes_in_order(tmp_path_factory.mktemp("plan"), SIZES, is_due)
    assert sorted(found) == sorted(SIZES)
