"""What to type after a run that left something to do."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from cachemig.agent.protocol import Outcome
from cachemig.core.events import Event, ObjectDone
from cachemig.errors import ExitCode

_NOTHING_TO_DO = {ExitCode.OK, ExitCode.USAGE, ExitCode.IDENTITY}


class Onward:
    """The command to go on with: the same again, unless something has to be done before.

    Args:
        argv: the words of this run, without secrets.
    """

    def __init__(self, argv: Sequence[str]) -> None:
        self._argv = tuple(argv)
        self._config: tuple[str, ...] = ()
        self._instead: list[tuple[str, ...]] = []
        self._sites: Mapping[str, str] = {}
        self._damaged: set[str] = set()

    def configured(self, path: Path, default: Path) -> None:
        """Note which configuration other commands need as well."""
        self._config = () if path == default else ("--config", str(path))

    def between(self, old: str, new: str) -> None:
        """Note which sites a copy goes between: damaged archives are cleared where they lie."""
        self._sites = {"source": old, "destination": new}

    def instead(self, *words: str) -> None:
        """Go on with another command than this; several are typed in their order."""
        if words not in self._instead:
            self._instead.append(words)

    def take(self, event: Event) -> None:
        """Note what went wrong."""
        if isinstance(event, ObjectDone) and event.outcome is Outcome.DAMAGED:
            self._damaged.add(event.damaged_at)

    def command(self, code: ExitCode) -> str:
        """Write what to type after a run with this exit code; nothing when nothing helps."""
        if code in _NOTHING_TO_DO:
            return ""
        cures = [
            ("quarantine", site) for side, site in self._sites.items() if side in self._damaged
        ]
        before = [("cachemig", *words, *self._config) for words in (*cures, *self._instead)]
        again = [] if self._instead else [("cachemig", *self._argv)]
        return " && ".join(map(shlex.join, [*before, *again]))
