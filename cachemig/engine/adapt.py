"""How many lanes a pair of servers should have: more as long as more helps. Pure."""

from dataclasses import dataclass

MAX_LANES = 32
_GAIN_WORTH_IT = 1.1
_GROWTH = 2
_PAYS_BACK_S = 15.0
_PATIENCE = 3


@dataclass(slots=True)
class LaneCount:
    """Grows the number of lanes while the rate grows with it.

    A lossy link gives each connection little, so more of them carry more, but its rate goes up
    and down; so a few rates in a row must tell that more did not help. A clean link is full
    with the first few. To open a lane costs both
    machines some seconds, so none is opened for what is done soon.

    Attributes:
        lanes: how many there should be now.
        limit: never more than this.
    """

    lanes: int
    limit: int = MAX_LANES
    _best_rate: float = 0.0
    _without_gain: int = 0
    _settled: bool = False

    def observe(self, rate_bytes_per_s: float, left_bytes: int) -> int:
        """Take in the rate that the present number of lanes reached; returns the next number.

        Args:
            rate_bytes_per_s: of all lanes together.
            left_bytes: what is still to be brought, at most.
        """
        if self._settled or left_bytes < rate_bytes_per_s * _PAYS_BACK_S:
            return self.lanes
        if rate_bytes_per_s < self._best_rate * _GAIN_WORTH_IT:
            self._without_gain += 1
            self._settled = self._without_gain == _PATIENCE
            return self.lanes
        self._without_gain = 0
        self._best_rate = rate_bytes_per_s
        self.lanes = min(self.limit, self.lanes * _GROWTH)
        self._settled = self.lanes == self.limit
        return self.lanes
