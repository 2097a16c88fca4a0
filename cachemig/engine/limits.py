"""The bandwidth cap of a run, shared out over its lanes. Pure."""

from dataclasses import dataclass, field

from cachemig.engine.batches import BATCH_BYTES

LANES_UNDER_A_CAP = 4
_SMALLEST_BATCH_BYTES = 256 * 1024
_BATCH_S = 2.0


@dataclass(slots=True)
class SharedLimit:
    """Gives every lane of every pair the same share, so that all together keep to the cap.

    The share only grows, when a pair has ended and its lanes are closed, so the sum never
    passes the cap.

    Attributes:
        bytes_per_s: the cap; 0 for none.
        lanes: how many lanes each pair that has not ended may run, by its number.
    """

    bytes_per_s: float
    lanes: dict[int, int] = field(default_factory=dict)

    def ended(self, pair: int) -> None:
        """Leave a pair's share to the others. Any thread may call."""
        self.lanes.pop(pair, None)

    def lanes_for_pair(self, wanted: int) -> int:
        """How many lanes a pair may have under the cap."""
        return min(wanted, LANES_UNDER_A_CAP) if self.bytes_per_s else wanted

    @property
    def share_bytes_per_s(self) -> float:
        """What one lane may send; 0 for no bound."""
        return self.bytes_per_s / max(1, sum(list(self.lanes.values())))

    @property
    def batch_bytes(self) -> int:
        """A batch that a lane sends within a few seconds, so that progress is seen."""
        if not self.bytes_per_s:
            return BATCH_BYTES
        return max(_SMALLEST_BATCH_BYTES, min(BATCH_BYTES, int(self.share_bytes_per_s * _BATCH_S)))
