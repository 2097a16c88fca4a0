"""Objects that ended badly for one reason: the first are told singly, the rest by their number."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from cachemig.core.events import ObjectDone

LINES_PER_KIND = 20
_MAX_KINDS = 100
_OTHER_CAUSES = "other causes"


class _Kind(NamedTuple):
    """What such objects have in common."""

    outcome: str
    place: str
    cause: str

    def __str__(self) -> str:
        because = f": {self.cause}" if self.cause else ""
        return f"{self.outcome} {self.place}{because}"


class AlikeObjects:
    """Counts objects by outcome, server and cause, so that a full disk does not fill the screen.

    It holds numbers only, and those of so many kinds: causes that come late are one.
    """

    def __init__(self) -> None:
        self._told: Counter[_Kind] = Counter()

    def worth_a_line(self, event: ObjectDone) -> bool:
        """Count an object, and tell whether it is one of the first of its kind."""
        kind = _kind(event)
        if kind not in self._told and len(self._told) >= _MAX_KINDS:
            kind = kind._replace(cause=_OTHER_CAUSES)
        self._told[kind] += 1
        return self._told[kind] <= LINES_PER_KIND

    def rest(self, log_path: Path | None) -> Iterator[str]:
        """Say of each kind how many were not told, and where they are kept."""
        where = f"; see {log_path}" if log_path else ""
        for kind, objects in self._told.items():
            if objects > LINES_PER_KIND:
                yield f"… and {objects - LINES_PER_KIND:,} more like these: {kind}{where}"


def _kind(event: ObjectDone) -> _Kind:
    """Leave out of the cause what names the object; a damaged archive belongs where it lies."""
    name = event.path.rpartition("/")[2]
    cause = event.cause.replace(event.path, "…").replace(name, "…") if name else event.cause
    if event.damaged_at:
        holder = event.source if event.damaged_at == "source" else event.server
        return _Kind(event.outcome.value, f"on {holder}", cause)
    return _Kind(event.outcome.value, f"for {event.server}", cause)
