"""Amounts are read exactly as written, or refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachemig.core.units import (
    format_duration,
    format_rate,
    format_size,
    parse_duration,
    parse_rate,
    parse_size,
)
from cachemig.errors import UsageError

PEBI = 1024**5
sizes = st.integers(0, 900 * PEBI)


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [
        ("0B", 0),
        ("10GB", 10 * 1000**3),
        ("10GiB", 10 * 1024**3),
        ("4TiB", 4 * 1024**4),
        ("1.5 kB", 1500),
        ("0.1B", 0),
    ],
)
def test_sizes_are_read_in_bytes(text, size_bytes):
    """SI suffixes count in 1000s, IEC suffixes in 1024s."""
    assert parse_size(text) == size_bytes


@pytest.mark.parametrize(
    ("text", "rate_bytes_per_s"),
    [("400Mbit/s", 50_000_000), ("50MB/s", 50_000_000), ("1KiB/s", 1024), ("8bit/s", 1)],
)
def test_rates_are_read_in_bytes_per_second(text, rate_bytes_per_s):
    """Networks are measured in bits, disks in bytes; both may be written."""
    assert parse_rate(text) == rate_bytes_per_s


@pytest.mark.parametrize(
    ("text", "duration_s"),
    [("90s", 90), ("10min", 600), ("15d", 1_296_000), ("1h30min", 5400), ("2w 1d", 1_296_000)],
)
def test_durations_are_read_in_seconds(text, duration_s):
    """Units may be combined, the larger first."""
    assert parse_duration(text) == duration_s


BAD = ["", " ", "10", "10g", "-1GB", "+1GB", "NaNGB", "infGB", "1e9B", "\u0661\u0660GB", "1GB "]
BAD += ["10gb", "1,5GB", "0x10B", "10GB/s", "GB", "1GB\n", "9" * 30 + "B", "9999999999999999PB"]
BAD += ["\uff11GB"]


@pytest.mark.parametrize("text", BAD)
def test_what_is_not_a_size_is_refused_with_an_example(text):
    """A typing error is never read as another amount."""
    with pytest.raises(UsageError, match="is not a size") as refused:
        parse_size(text)
    assert "4TiB" in refused.value.next_step


@pytest.mark.parametrize("text", ["400Mb/s", "400Mbit", "400", "0Mbit/s", "7bit/s", "1GB", ""])
def test_what_is_not_a_rate_is_refused(text):
    """A rate of nothing would never end; bits are written as bit."""
    with pytest.raises(UsageError, match="is not a rate"):
        parse_rate(text)


@pytest.mark.parametrize("text", ["", "10", "10m", "1.5h", "-1s", "30min1h", "\u0663s", "1h "])
def test_what_is_not_a_duration_is_refused(text):
    """A lone m could be a minute or a month."""
    with pytest.raises(UsageError, match="is not a duration"):
        parse_duration(text)


@pytest.mark.parametrize("parse", [parse_size, parse_rate, parse_duration])
@given(text=st.text(max_size=30))
def test_any_text_is_read_or_refused(parse, text):
    """Nothing but a UsageError comes out of a text that is no amount."""
    try:
        amount = parse(text)
    except UsageError:
        return
    assert amount >= 0


@given(sizes)
def test_a_printed_size_is_close_and_can_be_read_again(size_bytes):
    """Printing rounds by less than one part in nineteen."""
    again = parse_size(format_size(size_bytes))

    assert abs(again - size_bytes) <= size_bytes / 19


@given(st.integers(1, 10**15))
def test_a_printed_rate_is_close_and_can_be_read_again(rate_bytes_per_s):
    """Printing rounds by less than one part in nineteen."""
    again = parse_rate(format_rate(rate_bytes_per_s))

    assert abs(again - rate_bytes_per_s) <= rate_bytes_per_s / 19 + 1


@given(st.floats(0, 10**8))
def test_a_printed_duration_is_close_and_can_be_read_again(duration_s):
    """Printing rounds by half of the smaller unit."""
    again = parse_duration(format_duration(duration_s))

    assert abs(again - duration_s) <= max(0.5, duration_s / 14)


@pytest.mark.parametrize(
    ("printed", "expected"),
    [
        (format_size(0), "0 B"),
        (format_size(1023), "1023 B"),
        (format_size(1024), "1.0 KiB"),
        (format_size(10 * 1024**3), "10 GiB"),
        (format_rate(50e6), "400 Mbit/s"),
        (format_duration(0.2), "0s"),
        (format_duration(61), "1min 1s"),
        (format_duration(86_399), "1d"),
        (format_duration(5400), "1h 30min"),
    ],
)
def test_amounts_are_printed_short(printed, expected):
    """Two or three digits tell enough."""
    assert printed == expected
