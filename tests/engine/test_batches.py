"""Objects are cut into batches whole and in order, and come to the right end."""

import itertools
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachemig.agent.protocol import Outcome
from cachemig.catalog.plan import PlannedFile, PlanRow
from cachemig.engine.batches import (
    BATCH_BYTES,
    BATCH_FILES,
    MAX_ATTEMPTS,
    Batch,
    Consignment,
    consign,
    cut,
    last_batch_bytes,
    stale_times,
)
from cachemig.stores.base import FileReceipt, FileStat

SUFFIXES = (".sig", ".siginfo", "")
SLACK_NS = 2 * 10**9
_numbers = itertools.count()

sizes = st.integers(0, 3 * BATCH_BYTES)
rows = st.lists(sizes, min_size=1, max_size=3).map(lambda several: row_of(*several))
founds = st.none() | st.builds(FileStat, st.integers(0, 5), st.integers(0, 10**19))


def row_of(*sizes_bytes: int) -> PlanRow:
    """A planned object with so many files; the last is its archive."""
    files = tuple(
        PlannedFile(suffix, size, 10**18)  # type: ignore[arg-type]
        for suffix, size in zip(SUFFIXES[-len(sizes_bytes) :], sizes_bytes, strict=True)
    )
    number = next(_numbers)
    return PlanRow(number, "lmp", "3f/a1", f"sstate:{number}", "object", files)


def lacking(row: PlanRow) -> Consignment:
    """An object of which nothing is at the destination."""
    paths = row.paths("v95")
    return consign(row, paths, [None] * len(paths))


def receipt(path: str, outcome: Outcome, cause: str = "", number: int = 0) -> FileReceipt:
    """What a lane tells of a file."""
    return FileReceipt(path, outcome, 10, f"sha-{path}", 10**18, cause, number)


consignments = st.lists(rows.map(lacking), max_size=40)


@given(items=consignments, limit_bytes=st.integers(1, 2 * BATCH_BYTES))
def test_cutting_keeps_order_and_divides_no_object(items, limit_bytes):
    """Put together again, the batches are what went in; none is empty."""
    batches = list(cut(items, lambda: limit_bytes))

    assert [item for batch in batches for item in batch.consignments] == items
    assert all(batch.consignments for batch in batches)
    assert [f for b in batches for f in b.wanted()] == [f for item in items for f in item.wanted]


@given(items=consignments, limit_bytes=st.integers(1, 2 * BATCH_BYTES))
def test_batches_keep_to_the_limits_and_are_well_filled(items, limit_bytes):
    """Only an object that is too large by itself exceeds them, alone; two neighbours do not fit."""
    batches = list(cut(items, lambda: limit_bytes))

    for batch in batches:
        assert batch.size_bytes == sum(item.size_bytes for item in batch.consignments)
        assert batch.files == len(batch.wanted()) <= BATCH_FILES
        assert batch.size_bytes <= limit_bytes or len(batch.consignments) == 1
    for batch, following in itertools.pairwise(batches):
        first = following.consignments[0]
        assert (
            batch.size_bytes + first.size_bytes > limit_bytes
            or batch.files + len(first.wanted) > BATCH_FILES
        )


def test_many_small_files_are_cut_by_their_number():
    """Else one lost batch would cost too much, and a server hold too many temps."""
    batches = list(cut(lacking(row_of(1, 1)) for _ in range(600)))

    assert [batch.files for batch in batches] == [500, 500, 200]


@given(total_bytes=st.integers(0, 10**9), lanes=st.integers(1, 32))
def test_lanes_that_always_take_the_next_batch_end_together(total_bytes, lanes):
    """However much there is: none is left to carry a large batch alone."""
    loads, left_bytes = [0] * lanes, total_bytes
    while left_bytes > 0:
        batch_bytes = min(BATCH_BYTES, last_batch_bytes(left_bytes, lanes), left_bytes)
        loads[loads.index(min(loads))] += batch_bytes
        left_bytes -= batch_bytes

    assert max(loads) - min(loads) <= 1024 * 1024


@given(items=consignments, keep=st.data())
def test_what_must_be_sent_again_of_a_batch_is_one_batch(items, keep):
    """So that none is dropped when it goes back to the board."""
    for batch in cut(items):
        again = [item for item in batch.consignments if keep.draw(st.booleans())]
        assert len(list(cut(again))) == (1 if again else 0)


@given(items=consignments.filter(bool), outcomes=st.data())
def test_every_object_of_a_batch_gets_its_own_receipts(items, outcomes):
    """By their order; what an object holds is what was told of its paths."""
    batch = Batch()
    for item in items:
        batch.add(item)
    told = [receipt(f.path, outcomes.draw(st.sampled_from(Outcome))) for f in batch.wanted()]
    by_path = {one.path: one.outcome for one in told}

    for item, settled in zip(items, batch.settled(told), strict=True):
        assert settled.outcomes == {f.path: by_path[f.path] for f in item.wanted}
        assert settled.row is item.row
        assert settled.sha256 == f"sha-{item.path}"
        assert settled.attempts == 1


@pytest.mark.parametrize(
    ("siginfo", "archive", "expected"),
    [
        ("published", "published", "published"),
        ("present", "present", "present"),
        ("published", "present", "published"),
        ("present", "published", "published"),
        ("foreign", "present", "present"),
        ("foreign", "published", "published"),
        ("published", "foreign", "foreign"),
        ("present", "foreign", "foreign"),
        ("vanished", "published", "published"),
        ("published", "vanished", "vanished"),
        ("damaged", "published", "published"),
        ("published", "damaged", "damaged"),
        ("changed", "published", "changed"),
        ("published", "changed", "changed"),
        ("failed", "published", "failed"),
        ("failed", "present", "failed"),
        ("published", "failed", "failed"),
        ("rejected", "published", "rejected"),
        ("published", "rejected", "rejected"),
        ("rejected", "failed", "failed"),
        ("changed", "rejected", "rejected"),
        ("failed", "damaged", "failed"),
        ("changed", "vanished", "changed"),
    ],
)
def test_what_became_of_an_object(siginfo: str, archive: str, expected: str):
    """As its archive, unless a companion failed; a companion added to it is worth a mention."""
    item = lacking(row_of(1, 1))
    told = [
        receipt(file.path, Outcome(outcome))
        for file, outcome in zip(item.wanted, (siginfo, archive), strict=True)
    ]

    assert replace(item, attempts=MAX_ATTEMPTS).settled(told).outcome is Outcome(expected)


def test_an_object_that_was_never_sent_was_not_attempted():
    """It is no failure of its own."""
    assert lacking(row_of(1, 1)).outcome is Outcome.NOT_ATTEMPTED


@pytest.mark.parametrize(
    ("outcome", "number", "again"),
    [
        (Outcome.FAILED, 0, True),
        (Outcome.CHANGED, 0, True),
        (Outcome.FAILED, 28, False),
        (Outcome.FAILED, 13, False),
        (Outcome.DAMAGED, 0, False),
        (Outcome.VANISHED, 0, False),
        (Outcome.REJECTED, 0, False),
        (Outcome.FOREIGN, 0, False),
        (Outcome.PRESENT, 0, False),
        (Outcome.PUBLISHED, 0, False),
    ],
)
def test_only_what_may_be_better_now_is_sent_again(outcome: Outcome, number: int, again: bool):
    """Lost bytes and sources that changed; a disk that refuses, refuses again."""
    item = lacking(row_of(1))

    settled = item.settled([receipt(item.path, outcome, "why", number)])

    assert bool(settled.wanted) is again
    assert settled.outcome is outcome
    assert settled.cause == "why"


def test_no_object_is_tried_for_ever():
    """It has so many attempts, and then its last outcome."""
    item = lacking(row_of(1, 1))
    for attempt in range(1, MAX_ATTEMPTS + 1):
        item = item.settled([receipt(f.path, Outcome.FAILED, "lost") for f in item.wanted])
        assert item.attempts == attempt

    assert not item.wanted
    assert item.outcome is Outcome.FAILED


def test_a_second_try_brings_only_what_failed():
    """The companion that arrived is not sent again, and its outcome is kept."""
    item = lacking(row_of(1, 1))
    first, second = item.wanted

    item = item.settled(
        [receipt(first.path, Outcome.PUBLISHED), receipt(second.path, Outcome.FAILED)]
    )
    assert item.wanted == (second,)
    item = item.settled([receipt(second.path, Outcome.PUBLISHED)])

    assert item.outcomes == {first.path: Outcome.PUBLISHED, second.path: Outcome.PUBLISHED}
    assert item.outcome is Outcome.PUBLISHED
    assert item.attempts == 2


@given(row=rows, there=st.lists(founds, min_size=3, max_size=3))
def test_a_planned_object_is_compared_by_name_and_size(row, there):
    """Each file is wanted, present or foreign; the archive comes last of what is wanted."""
    paths, found = row.paths("v95"), there[: len(row.files)]

    item = consign(row, paths, found)

    for file, path, stat in zip(row.files, paths, found, strict=True):
        expected = None if stat is None else stat.size_bytes == file.size_bytes
        assert item.outcomes.get(path) == {
            None: None,
            True: Outcome.PRESENT,
            False: Outcome.FOREIGN,
        }.get(expected)
        assert (path in [wanted.path for wanted in item.wanted]) == (stat is None)
    assert [wanted.path for wanted in item.wanted] == [p for p in paths if p not in item.outcomes]


@pytest.mark.parametrize("archive", [None, FileStat(1, 0)], ids=["lacking", "there"])
def test_what_can_not_be_a_companion_fails_its_object(archive: FileStat | None):
    """A folder or pipe under its name is told; the archive does not go without its companion."""
    row = row_of(1, 1)

    item = consign(row, row.paths("v95"), [FileStat(-1, 0), archive])

    assert item.outcome is Outcome.FAILED
    assert "not a regular file" in item.cause
    assert not item.wanted


@given(row=rows, there=st.lists(founds, min_size=3, max_size=3))
def test_times_move_forward_only_and_not_for_a_trifle(row, there):
    """A present file gets the source's time when that is newer by more than the slack."""
    paths, found = row.paths("v95"), there[: len(row.files)]

    moves = dict(stale_times(row, paths, found, SLACK_NS))

    for file, path, stat in zip(row.files, paths, found, strict=True):
        newer = stat is not None and file.mtime_ns - stat.mtime_ns > SLACK_NS
        assert moves.get(path) == (file.mtime_ns if newer else None)
