"""More lanes as long as more helps."""

from hypothesis import given
from hypothesis import strategies as st

from cachemig.engine.adapt import MAX_LANES, LaneCount

rates = st.floats(0, 1e12, allow_nan=False)
MUCH = 10**18
PATIENCE = 3


@given(start=st.integers(1, 40), seen=st.lists(rates, max_size=30))
def test_lanes_are_never_taken_away_nor_too_many(start: int, seen: list[float]):
    """A lane that is open stays; the limit holds whatever is measured."""
    limit = max(start, MAX_LANES)
    count = LaneCount(start, limit)
    before = count.lanes
    for rate in seen:
        after = count.observe(rate, MUCH)
        assert before <= after == count.lanes <= limit
        before = after


@given(start=st.integers(1, 31), rate=st.floats(1, 1e12), more=st.lists(rates, max_size=9))
def test_once_more_did_not_help_the_number_stays(start: int, rate: float, more: list[float]):
    """A clean link is full with the first few; that is found out once."""
    count = LaneCount(start)
    reached = [count.observe(rate, MUCH) for _ in range(1 + PATIENCE)]

    assert {*reached, *(count.observe(later, MUCH) for later in more)} == {reached[0]}


@given(start=st.integers(1, 8), dips=st.lists(st.floats(0, 1.09), max_size=PATIENCE - 1))
def test_a_rate_that_only_dips_settles_nothing(start: int, dips: list[float]):
    """Loss comes in bursts; the next interval may tell another story."""
    count = LaneCount(start)
    reached = count.observe(1e6, MUCH)
    for dip in dips:
        assert count.observe(dip * 1e6, MUCH) == reached
    assert count.observe(2e6, MUCH) == 2 * reached


def test_a_lossy_link_gets_as_many_as_allowed():
    """Each connection carries its little part there."""
    count = LaneCount(8)
    lanes = [8]
    while lanes[-1] < MAX_LANES:
        lanes.append(count.observe(lanes[-1] * 1e6, MUCH))
    assert lanes == [8, 16, 32]


def test_a_full_link_stays_with_one_step_more():
    """The step that told so."""
    count = LaneCount(8)
    assert [count.observe(1e8, MUCH) for _ in range(3)] == [16, 16, 16]


def test_no_lane_is_opened_for_what_is_done_soon():
    """A login costs more than it brings then; the question stays open for the next interval."""
    count = LaneCount(8)
    assert count.observe(1e8, left_bytes=10**9) == 8
    assert count.observe(1e6, left_bytes=10**9) == 16
