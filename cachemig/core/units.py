"""Sizes, rates and durations as people write them, parsed strictly and printed short.

Parsing takes ASCII digits and exactly the suffixes named here; a typing error is never
read as another amount.
"""

import itertools
import re
from collections.abc import Mapping
from decimal import Decimal

from cachemig.errors import UsageError

_SI_PREFIXES = ("", "k", "M", "G", "T", "P")
_IEC_PREFIXES = ("", "Ki", "Mi", "Gi", "Ti", "Pi")
_SIZE_BYTES: Mapping[str, int] = {f"{p}B": 1000**n for n, p in enumerate(_SI_PREFIXES)} | {
    f"{p}B": 1024**n for n, p in enumerate(_IEC_PREFIXES)
}
_RATE_BITS_PER_S: Mapping[str, int] = {
    **{f"{p}bit/s": 1000**n for n, p in enumerate(_SI_PREFIXES)},
    **{f"{unit}/s": 8 * size_bytes for unit, size_bytes in _SIZE_BYTES.items()},
}
_DURATION_S: Mapping[str, int] = {"w": 604_800, "d": 86_400, "h": 3_600, "min": 60, "s": 1}

_MAX_AMOUNT = 2**63 - 1
_ONE_DECIMAL_BELOW = 9.95
_NUMBER = re.compile(r"([0-9]{1,19}(?:\.[0-9]{1,9})?) ?(\S*)")
_DURATION = re.compile(
    r"(?:([0-9]{1,9})w ?)?(?:([0-9]{1,9})d ?)?(?:([0-9]{1,9})h ?)?"
    r"(?:([0-9]{1,9})min ?)?(?:([0-9]{1,9})s)?"
)


def parse_size(text: str) -> int:
    """Read a size such as ``4TiB`` or ``1.5GB`` in bytes, rounded down.

    Raises:
        UsageError: it is not a number with one of the suffixes B, kB … PB, KiB … PiB.
    """
    return int(_amount(text, _SIZE_BYTES, "a size", "4TiB, 500GB or 1.5GiB"))


def parse_rate(text: str) -> int:
    """Read a rate such as ``400Mbit/s`` or ``50MB/s`` in bytes per second, rounded down.

    Raises:
        UsageError: it is not a number with a suffix of bits or bytes per second, or it is
            under one byte per second.
    """
    example = "400Mbit/s or 50MB/s"
    rate_bytes_per_s = int(_amount(text, _RATE_BITS_PER_S, "a rate", example) / 8)
    if rate_bytes_per_s < 1:
        raise _refused(text, "a rate", "it is under one byte per second", example)
    return rate_bytes_per_s


def parse_duration(text: str) -> int:
    """Read a duration such as ``90s``, ``15d`` or ``1h30min`` in seconds.

    Raises:
        UsageError: it is not made of whole numbers with w, d, h, min, s in this order.
    """
    match = _DURATION.fullmatch(text)
    if match is None or not any(match.groups()) or text.endswith(" "):
        accepted = "the units are w, d, h, min and s, in this order"
        raise _refused(text, "a duration", accepted, "90s, 10min, 15d or 1h30min")
    counts = (int(count or 0) for count in match.groups())
    return sum(count * unit_s for count, unit_s in zip(counts, _DURATION_S.values(), strict=True))


def format_size(size_bytes: int) -> str:
    """Print bytes in the largest IEC unit that keeps the number at 1 or more."""
    return f"{_scaled(size_bytes, 1024, _IEC_PREFIXES)}B"


def format_rate(rate_bytes_per_s: float) -> str:
    """Print bytes per second as bits per second, as networks are measured."""
    return f"{_scaled(rate_bytes_per_s * 8, 1000, _SI_PREFIXES)}bit/s"


def format_duration(duration_s: float) -> str:
    """Print seconds in their two largest units, rounded to the smaller one."""
    units = list(_DURATION_S.items())
    for (large, large_s), (small, small_s) in itertools.pairwise(units):
        rounded_s = round(duration_s / small_s) * small_s
        if rounded_s >= large_s:
            count, rest_s = divmod(rounded_s, large_s)
            return f"{count}{large} {rest_s // small_s}{small}" if rest_s else f"{count}{large}"
    return f"{round(duration_s)}s"


def _amount(text: str, units: Mapping[str, int], kind: str, example: str) -> Decimal:
    match = _NUMBER.fullmatch(text)
    if match is None:
        raise _refused(text, kind, "it is not a plain number with a suffix", example)
    number, suffix = match.groups()
    if suffix not in units:
        problem = f"the suffix {suffix!r} is unknown" if suffix else "it has no suffix"
        raise _refused(text, kind, f"{problem}; known are {', '.join(units)}", example)
    amount = Decimal(number) * units[suffix]
    if amount > _MAX_AMOUNT:
        raise _refused(text, kind, "it is too large", example)
    return amount


def _refused(text: str, kind: str, cause: str, example: str) -> UsageError:
    return UsageError(f"{text[:80]!r} is not {kind}", cause=cause, next_step=f"write {example}")


def _scaled(amount: float, step: int, prefixes: tuple[str, ...]) -> str:
    """Print a number with three digits or fewer, its unit's prefix after a space."""
    power = 0
    while power < len(prefixes) - 1 and amount >= step - 0.5:
        amount /= step
        power += 1
    digits = 1 if power and amount < _ONE_DECIMAL_BELOW else 0
    return f"{amount:.{digits}f} {prefixes[power]}"
