"""How many objects came to which end, in numbers that add up, and what that is worth."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple

from cachemig.agent.protocol import Outcome
from cachemig.errors import ExitCode, worst

_CODES: Mapping[Outcome, ExitCode] = {
    Outcome.FAILED: ExitCode.PARTIAL,
    Outcome.REJECTED: ExitCode.PARTIAL,
    Outcome.DAMAGED: ExitCode.INTEGRITY,
    Outcome.VANISHED: ExitCode.SOURCE_MOVED,
    Outcome.CHANGED: ExitCode.SOURCE_MOVED,
}


class Amount(NamedTuple):
    """A number of objects and what they weigh."""

    objects: int = 0
    size_bytes: int = 0

    def plus(self, other: "Amount") -> "Amount":
        """Add objects to objects and bytes to bytes."""
        return Amount(self.objects + other.objects, self.size_bytes + other.size_bytes)


@dataclass(frozen=True, slots=True)
class Tally:
    """The amount of every outcome; outcomes that did not occur may be left out."""

    amounts: Mapping[Outcome, Amount] = field(default_factory=lambda: MappingProxyType({}))

    @classmethod
    def of(cls, outcome: Outcome, objects: int = 1, size_bytes: int = 0) -> "Tally":
        """Count objects that came to the same end."""
        return cls({outcome: Amount(objects, size_bytes)})

    def __add__(self, other: "Tally") -> "Tally":
        """Add up outcome by outcome."""
        return Tally({outcome: self[outcome].plus(other[outcome]) for outcome in Outcome})

    def __getitem__(self, outcome: Outcome) -> Amount:
        """Tell the amount of one outcome; nothing when it did not occur."""
        return self.amounts.get(outcome, Amount())

    @property
    def total(self) -> Amount:
        """Everything that was counted, whatever became of it."""
        total = Amount()
        for amount in self.amounts.values():
            total = total.plus(amount)
        return total

    def completed(self, planned: Amount) -> "Tally":
        """Count what was planned and has no outcome yet as not attempted.

        The sum of the outcomes is then the plan, or more when more was done than planned.
        """
        done = self.total
        missing = Amount(
            max(0, planned.objects - done.objects), max(0, planned.size_bytes - done.size_bytes)
        )
        return self + Tally({Outcome.NOT_ATTEMPTED: missing})


def exit_code(tally: Tally, reason: ExitCode = ExitCode.OK) -> ExitCode:
    """Tell the exit code that a tally deserves, or `reason` when that is worse.

    Objects that were not attempted make a run partial only when nothing else says why.
    """
    codes = [reason, *(_CODES.get(o, ExitCode.OK) for o in Outcome if tally[o].objects)]
    if reason is ExitCode.OK and tally[Outcome.NOT_ATTEMPTED].objects:
        codes.append(ExitCode.PARTIAL)
    return worst(codes)
