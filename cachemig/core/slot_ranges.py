"""Sets of slots as short text: ``00-3f 52 60-7f``."""

import re
from collections import Counter
from collections.abc import Collection, Iterable
from itertools import pairwise

from cachemig.core.shards import SLOTS
from cachemig.errors import ShardMapError

_RANGE = re.compile(r"([0-9a-f]{2})(?:-([0-9a-f]{2}))?")


def format_slots(slots: Collection[str]) -> str:
    """Write slots as ranges, in order; empty for none."""
    numbers = sorted(int(slot, 16) for slot in slots)
    starts = [n for before, n in pairwise([-2, *numbers]) if n != before + 1]
    ends = [n for n, after in pairwise([*numbers, 999]) if after != n + 1]
    return " ".join(
        SLOTS[first] if first == last else f"{SLOTS[first]}-{SLOTS[last]}"
        for first, last in zip(starts, ends, strict=True)
    )


def parse_slots(text: str) -> tuple[str, ...]:
    """Read what `format_slots` writes, in any order.

    Raises:
        ShardMapError: something is no slot or range, or a slot is named twice.
    """
    slots: list[str] = []
    for word in text.split():
        slots += _slots_of(word)
    doubled = [slot for slot, times in Counter(slots).items() if times > 1]
    if doubled:
        raise ShardMapError(f"slot {min(doubled)} is named twice", next_step="name it once")
    return tuple(sorted(slots))


def _slots_of(word: str) -> Iterable[str]:
    match = _RANGE.fullmatch(word)
    if match is None:
        raise ShardMapError(
            f"{word!r} is neither a slot nor a range of slots",
            next_step="write two lower-case hex digits, such as 3f, or a range, such as 00-3f",
        )
    first, last = int(match[1], 16), int(match[2] or match[1], 16)
    if last < first:
        raise ShardMapError(
            f"the range {word} ends before it begins",
            next_step=f"write {match[2]}-{match[1]}",
        )
    return SLOTS[first : last + 1]
