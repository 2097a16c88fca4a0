"""Results as aligned text."""

from dataclasses import dataclass
from typing import NamedTuple

import pytest

from cachemig.agent.protocol import Outcome
from cachemig.report.table import table_lines, values_of


class Total(NamedTuple):
    """A row with every kind of column."""

    server: str
    objects: int
    size_bytes: int
    share: float
    whole: bool
    note: str | None


@dataclass(frozen=True)
class Found:
    """A row that is a dataclass."""

    outcome: Outcome


def test_columns_are_aligned_and_amounts_can_be_compared_by_eye():
    """Names to the left, numbers to the right, bytes in units, no trailing blanks."""
    rows = [Total("nfs-1", 12_345, 5 * 2**30, 0.5, True, None), Total("n", 1, 0, 1.0, False, "x")]

    assert list(table_lines([values_of(row) for row in rows])) == [
        "server  objects     size  share  whole  note",
        "nfs-1    12,345  5.0 GiB    0.5  yes    -",
        "n             1      0 B    1.0  no     x",
    ]


def test_nothing_found_prints_nothing():
    """No heads without rows."""
    assert list(table_lines([])) == []


def test_names_from_elsewhere_are_safe_to_print():
    """A path can not move the cursor or break the table."""
    (_, line) = table_lines([{"path": "a\x1b[2J\nb\u202e"}])

    assert line == "a\\x1b[2J\\nb\\u202e"


def test_dataclasses_are_rows_and_other_things_are_not():
    """A mistake of a command shows at once."""
    assert values_of(Found(Outcome.FOREIGN)) == {"outcome": "foreign"}
    with pytest.raises(TypeError):
        values_of({"a": 1})
