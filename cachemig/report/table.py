"""Rows of a result as aligned text."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

from cachemig.core.json_values import JsonValue, value_as_json
from cachemig.core.quoting import printable
from cachemig.core.units import format_size

_BYTES_SUFFIX = "_bytes"


def table_lines(rows: Sequence[Mapping[str, JsonValue]]) -> Iterator[str]:
    """Print rows below the names of their columns; numbers stand to the right."""
    if not rows:
        return
    names = list(rows[0])
    cells = [[_cell(name, row[name]) for name in names] for row in rows]
    heads = [name.removesuffix(_BYTES_SUFFIX).replace("_", " ") for name in names]
    widths = [max(map(len, column)) for column in zip(heads, *cells, strict=True)]
    numeric = [_is_number(rows[0][name]) for name in names]
    for line in (heads, *cells):
        aligned = (
            text.rjust(width) if right else text.ljust(width)
            for text, width, right in zip(line, widths, numeric, strict=True)
        )
        yield "  ".join(aligned).rstrip()


def values_of(row: object) -> dict[str, JsonValue]:
    """Give the fields of a NamedTuple or dataclass by name, as JSON values."""
    if dataclasses.is_dataclass(row):
        fields = {field.name: getattr(row, field.name) for field in dataclasses.fields(row)}
    elif isinstance(row, tuple) and hasattr(row, "_asdict"):
        fields = row._asdict()
    else:
        raise TypeError(f"a row is a NamedTuple or a dataclass, not {type(row).__name__}")
    return {name: value_as_json(value) for name, value in fields.items()}


def _is_number(value: JsonValue) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _cell(name: str, value: JsonValue) -> str:
    if name.endswith(_BYTES_SUFFIX) and isinstance(value, int):
        return format_size(value)
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else printable(str(value))
