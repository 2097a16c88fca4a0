"""Values as JSON knows them: finite, and in valid UTF-8 whatever a name is made of."""

import base64
import math
from collections.abc import Mapping
from typing import TypeAlias

from cachemig.agent.protocol import Outcome

JsonValue: TypeAlias = "str | int | float | bool | list[JsonValue] | Mapping[str, JsonValue] | None"


def field_as_json(name: str, value: object) -> dict[str, JsonValue]:
    """Give a field by its name; a text that is not UTF-8 has its bytes beside it."""
    if isinstance(value, Outcome):
        return {name: value.value}
    if isinstance(value, str):
        return text_as_json(name, value)
    return {name: value_as_json(value)}


def text_as_json(name: str, text: str) -> dict[str, JsonValue]:
    """Give a text as valid UTF-8 and, when it was not, its bytes as ``<name>_b64`` too."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raw = _raw_bytes(text)
        return {name: _valid(text), f"{name}_b64": base64.b64encode(raw).decode("ascii")}
    return {name: text}


def value_as_json(value: object) -> JsonValue:
    """Turn a field into what JSON knows; a text that is not UTF-8 is escaped."""
    if isinstance(value, Outcome):
        return value.value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, Mapping):
        pairs: dict[str, JsonValue] = {}
        for name, item in value.items():
            pairs |= field_as_json(_valid(str(name)), item)
        return pairs
    if isinstance(value, list | tuple | set | frozenset):
        return [value_as_json(item) for item in value]
    return _valid(str(value))


def _valid(text: str) -> str:
    return _raw_bytes(text).decode("utf-8", "backslashreplace")


def _raw_bytes(text: str) -> bytes:
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")
