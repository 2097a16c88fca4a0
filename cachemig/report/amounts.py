"""How far a sync is: what was planned, what is done, and how many bytes are still to go."""

from cachemig.agent.protocol import Outcome
from cachemig.core.events import Event, ObjectDone, ObjectsCounted, SyncPlanned, SyncProgress
from cachemig.core.outcomes import Amount


class SyncAmounts:
    """Adds up the events of a sync by pair of servers.

    What turns out to be there already, or can not be sent, is no longer to be sent.
    """

    def __init__(self) -> None:
        self._planned: dict[str, Amount] = {}
        self._sent: dict[str, Amount] = {}
        self._spared_bytes: dict[str, int] = {}

    @property
    def pairs(self) -> tuple[str, ...]:
        """The pairs for which something was planned."""
        return tuple(self._planned)

    def take(self, event: Event) -> None:
        """Take in an event; those of other kinds change nothing."""
        match event:
            case SyncPlanned(source=source, destination=destination):
                pair = _pair(source, destination)
                amount = Amount(event.objects, event.size_bytes)
                self._planned[pair] = self._planned.get(pair, Amount()).plus(amount)
            case SyncProgress(source=source, destination=destination):
                amount = Amount(event.objects, event.size_bytes)
                self._sent[_pair(source, destination)] = amount
            case ObjectsCounted(source=source, server=server, size_bytes=size_bytes):
                self._spare(_pair(source, server), event.outcome, size_bytes)
            case ObjectDone(source=source, server=server, size_bytes=size_bytes):
                self._spare(_pair(source, server), event.outcome, size_bytes)
            case _:
                pass

    def objects(self, *pairs: str) -> Amount:
        """How many objects of these pairs are done, and how many bytes were sent for them."""
        return _sum([self._sent.get(pair, Amount()) for pair in pairs])

    def planned(self, *pairs: str) -> Amount:
        """How many objects of these pairs were planned, and how many bytes are to be sent."""
        planned = _sum([self._planned.get(pair, Amount()) for pair in pairs])
        spared = sum(self._spared_bytes.get(pair, 0) for pair in pairs)
        return Amount(planned.objects, max(0, planned.size_bytes - spared))

    def _spare(self, pair: str, outcome: Outcome, size_bytes: int) -> None:
        # What the scan saw to be damaged was never part of the planned bytes; a little too
        # much is spared then, which a bar does not show.
        if outcome is not Outcome.PUBLISHED:
            self._spared_bytes[pair] = self._spared_bytes.get(pair, 0) + size_bytes


def _pair(source: str, destination: str) -> str:
    return f"{source} -> {destination}"


def _sum(amounts: list[Amount]) -> Amount:
    total = Amount()
    for amount in amounts:
        total = total.plus(amount)
    return total
