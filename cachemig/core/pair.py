"""A server that bytes come from and one that they go to."""

from typing import NamedTuple


class Pair(NamedTuple):
    """A source server and a destination server."""

    source_server: str
    server: str

    def __str__(self) -> str:
        """Write it as an arrow."""
        return f"{self.source_server} -> {self.server}"
