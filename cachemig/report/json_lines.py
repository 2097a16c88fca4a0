"""Events as JSON Lines: the output of ``--json``, and the run log.

Every line is one JSON object of at most 64 KiB in ASCII (so valid UTF-8), with the time
it was told in UTC. `events.schema.json` beside this file describes every line.
"""

import json
from collections.abc import Callable, Mapping
from datetime import datetime

from cachemig.core.events import Event
from cachemig.core.json_values import JsonValue
from cachemig.report.output import LineOutput

MAX_LINE_BYTES = 64 * 1024
_SHORTER_TEXT_CHARACTERS = (4096, 512, 64)
_MANY_ITEMS = 64


class JsonLines:
    """Prints each event as one line of JSON as soon as it is told."""

    def __init__(self, output: LineOutput, now: Callable[[], datetime]) -> None:
        self._output = output
        self._now = now

    def tell(self, event: Event) -> None:
        """Print one event.

        Raises:
            OutputError: the line could not be written.
        """
        self._output.write(json_line(event, self._now()))


def json_line(event: Event, told_at: datetime) -> bytes:
    """Make the line of one event; texts and lists that are too long are cut, which shows."""
    fields = event.as_json()
    line = _encode(fields, told_at)
    for characters in _SHORTER_TEXT_CHARACTERS:
        if len(line) <= MAX_LINE_BYTES:
            return line
        short = {name: _shortened(value, characters) for name, value in fields.items()}
        line = _encode(short, told_at)
    return (
        line if len(line) <= MAX_LINE_BYTES else _encode({"type": event.type, "cut": True}, told_at)
    )


def _encode(fields: Mapping[str, JsonValue], told_at: datetime) -> bytes:
    stamp = told_at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    stamped = {"type": fields["type"], "time": stamp, **fields}
    return json.dumps(stamped, allow_nan=False, separators=(",", ":")).encode("ascii") + b"\n"


def _shortened(value: JsonValue, characters: int) -> JsonValue:
    if isinstance(value, str):
        return value if len(value) <= characters else value[:characters] + "…"
    if isinstance(value, list):
        short = [_shortened(item, characters) for item in value[:_MANY_ITEMS]]
        return [*short, "…"] if len(value) > _MANY_ITEMS else short
    if isinstance(value, Mapping):
        first = list(value.items())[:_MANY_ITEMS]
        return {name[:characters]: _shortened(item, characters) for name, item in first}
    return value
