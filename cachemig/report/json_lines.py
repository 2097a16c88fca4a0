"""Events as JSON Lines: the output of ``--json``, and the run log.

Every line is one JSON object of at most 64 KiB in ASCII (so valid UTF-8), with the time
it was told in UTC. `events.schema.json` beside this file describes every line.
"""

import json
from collections.abc import Callable, Mapping
from datetime import datetime

from cachemig.core.events import Event, JsonValue
from cachemig.report.output import LineOutput

MAX_LINE_BYTES = 64 * 1024
_LONG_TEXT_CHARACTERS = 4096
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
    if len(line) > MAX_LINE_BYTES:
        line = _encode({name: _shortened(value) for name, value in fields.items()}, told_at)
    if len(line) > MAX_LINE_BYTES:
        kept = {name: value for name, value in fields.items() if isinstance(value, int)}
        line = _encode({"type": event.type, **kept, "cut": True}, told_at)
    return line


def _encode(fields: Mapping[str, JsonValue], told_at: datetime) -> bytes:
    stamp = told_at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    stamped = {"type": fields["type"], "time": stamp, **fields}
    return json.dumps(stamped, allow_nan=False, separators=(",", ":")).encode("ascii") + b"\n"


def _shortened(value: JsonValue) -> JsonValue:
    if isinstance(value, str) and len(value) > _LONG_TEXT_CHARACTERS:
        return value[:_LONG_TEXT_CHARACTERS] + "…"
    if isinstance(value, list):
        short = [_shortened(item) for item in value[:_MANY_ITEMS]]
        return [*short, "…"] if len(value) > _MANY_ITEMS else short
    if isinstance(value, Mapping):
        return {name: _shortened(item) for name, item in list(value.items())[:_MANY_ITEMS]}
    return value
