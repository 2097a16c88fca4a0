"""The cap holds over all lanes of all pairs, and is used up by those that still send."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachemig.engine.batches import BATCH_BYTES
from cachemig.engine.limits import LANES_UNDER_A_CAP, SharedLimit

caps = st.floats(1, 1e12)
lanes_by_pair = st.dictionaries(st.integers(0, 40), st.integers(1, 32), max_size=40)


@given(cap=caps, lanes=lanes_by_pair, ends=st.data())
def test_the_sum_of_all_shares_is_the_cap(cap: float, lanes: dict[int, int], ends: st.DataObject):
    """Never more, whichever pairs have ended; and not less as long as one sends."""
    limit = SharedLimit(cap, dict(lanes))
    for pair in ends.draw(st.permutations(sorted(lanes))):
        running = sum(limit.lanes.values())
        assert limit.share_bytes_per_s * running == pytest.approx(cap)
        before = limit.share_bytes_per_s
        limit.ended(pair)
        limit.ended(pair)
        assert limit.share_bytes_per_s >= before
    assert limit.share_bytes_per_s == cap


@given(cap=caps, wanted=st.integers(1, 128))
def test_few_lanes_under_a_cap(cap: float, wanted: int):
    """Many slow lanes would each take minutes for a batch."""
    assert SharedLimit(cap).lanes_for_pair(wanted) == min(wanted, LANES_UNDER_A_CAP)
    assert SharedLimit(0).lanes_for_pair(wanted) == wanted


@given(cap=caps, lanes=lanes_by_pair)
def test_a_batch_is_small_enough_to_be_seen_moving(cap: float, lanes: dict[int, int]):
    """A few seconds of a lane's share, but no crumbs and nothing over the usual size."""
    limit = SharedLimit(cap, lanes)

    assert 256 * 1024 <= limit.batch_bytes <= BATCH_BYTES
    assert limit.batch_bytes <= max(256 * 1024, 2 * limit.share_bytes_per_s)


def test_no_cap_is_no_bound():
    """A share of 0 says so, and batches have their usual size."""
    limit = SharedLimit(0, {0: 8})
    assert (limit.share_bytes_per_s, limit.batch_bytes) == (0, BATCH_BYTES)
