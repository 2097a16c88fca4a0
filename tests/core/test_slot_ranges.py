"""Sets of slots survive the way through their short text."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachemig.core.shards import SLOTS
from cachemig.core.slot_ranges import format_slots, parse_slots
from cachemig.errors import ShardMapError


def test_a_text_that_names_slots_again_and_again_is_refused_soon():
    """Whoever can write the file must not keep the program busy."""
    began = time.process_time()

    with pytest.raises(ShardMapError, match="named twice"):
        parse_slots("00 " * 200_000)

    assert time.process_time() - began < 2


@given(st.sets(st.sampled_from(SLOTS)))
def test_slots_printed_and_read_again_are_the_same(slots):
    """Whatever the set, and however scattered."""
    assert parse_slots(format_slots(slots)) == tuple(sorted(slots))


@pytest.mark.parametrize(
    ("slots", "text"),
    [
        ((), ""),
        (("3f",), "3f"),
        (("3f", "40"), "3f-40"),
        ((*SLOTS[:64], "52", *SLOTS[96:128]), "00-3f 52 60-7f"),
        (SLOTS, "00-ff"),
    ],
)
def test_neighbours_are_written_as_a_range(slots, text):
    """The form that docs/formats.md promises."""
    assert format_slots(slots) == text


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("3F", "'3F' is neither"),
        ("00-3F", "'00-3F' is neither"),
        ("0-3f", "'0-3f' is neither"),
        ("00,01", "'00,01' is neither"),
        ("00-01-02", "'00-01-02' is neither"),
        ("100", "'100' is neither"),
        ("3f-00", "ends before it begins"),
        ("00-3f 20", "slot 20 is named twice"),
    ],
)
def test_what_is_not_clear_is_refused(text, says):
    """A range that could be read in two ways is not read at all."""
    with pytest.raises(ShardMapError, match=says):
        parse_slots(text)
