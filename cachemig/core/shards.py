"""Which server of a site holds which slot of a cache, and how to change that cheaply.

A *slot* is the first two hex digits of an object's hash, so there are 256, and about the
same number of objects in each. Every server gets an exact number of them by its weight.
Which ones, a weighted rendezvous decides: each server draws a lot for each slot, and the
best lots win until a server has its number. The same servers therefore always give the
same map, in whatever order they are named.

Source: Thaler and Ravishankar, "Using name-based mappings to increase hit rates" (1998),
for the rendezvous; xxHash's XXH3 for the lots; Hamilton's largest remainders for the shares.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final, Literal, NamedTuple, TypeAlias

import xxhash

from cachemig.errors import ShardMapError

SLOTS: Final[tuple[str, ...]] = tuple(f"{number:02x}" for number in range(256))
_SLOT_NUMBERS: Final = {slot: number for number, slot in enumerate(SLOTS)}

Placement: TypeAlias = Literal["slots", "whole"]


@dataclass(frozen=True, slots=True)
class ShardMap:
    """Who holds what of one cache at one site.

    Attributes:
        site: the site's name.
        cache: the cache's name.
        placement: ``slots`` spreads the slots; ``whole`` keeps the cache on one server.
        weights: the share of every server that may hold slots; 0 for one that is drained.
        owners: the server of each of the 256 slots, in the order of `SLOTS`.

    Raises:
        ShardMapError: not 256 owners, an owner without weight, or several for ``whole``.
    """

    site: str
    cache: str
    placement: Placement
    weights: Mapping[str, float]
    owners: tuple[str, ...]

    def __post_init__(self) -> None:
        check_weights(self.weights)
        if len(self.owners) != len(SLOTS):
            raise self._broken(f"names {len(self.owners)} owners for {len(SLOTS)} slots")
        unknown = sorted(set(self.owners) - set(self.weights))
        if unknown:
            raise self._broken(f"gives slots to {unknown[0]}, which has no weight")
        if self.placement == "whole" and len(set(self.owners)) > 1:
            raise self._broken("is `whole`, but has more than one owner")

    def owner(self, slot: str) -> str:
        """The server that holds a slot, such as ``3f``.

        Raises:
            ShardMapError: there is no such slot.
        """
        try:
            return self.owners[_SLOT_NUMBERS[slot]]
        except KeyError:
            raise self._broken(f"has no slot {slot!r}") from None

    def slots_of(self, server: str) -> tuple[str, ...]:
        """The slots that a server holds, in order."""
        return tuple(s for s, owner in zip(SLOTS, self.owners, strict=True) if owner == server)

    def _broken(self, how: str) -> ShardMapError:
        return ShardMapError(
            f"the shard map of cache {self.cache} at site {self.site} {how}",
            next_step="put its last good version back, or delete it and run "
            f"`cachemig shards init {self.site}`",
        )


class Move(NamedTuple):
    """One slot of a cache that changes its server."""

    cache: str
    slot: str
    source: str
    target: str


def new_map(
    site: str, cache: str, weights: Mapping[str, float], placement: Placement = "slots"
) -> ShardMap:
    """Spread a cache over servers that hold nothing of it yet.

    Raises:
        ShardMapError: no server has a weight above 0, or a weight is no number.
    """
    live = _live(weights)
    if placement == "whole":
        winner = max(
            live, key=lambda server: (_lot(f"cache {cache}", server, live[server]), server)
        )
        owners: Sequence[str] = [winner] * len(SLOTS)
    else:
        owners = _fill([None] * len(SLOTS), quotas(live), live)
    return ShardMap(site, cache, placement, _by_name(weights), tuple(owners))


def rebalance(
    before: ShardMap, weights: Mapping[str, float], placement: Placement | None = None
) -> ShardMap:
    """Give each server its exact share, and move no slot that need not move.

    A server that is left out of `weights`, or has weight 0, is emptied. `placement` is
    the old one unless given.

    Raises:
        ShardMapError: no server has a weight above 0, or a weight is no number.
    """
    live = _live(weights)
    held = Counter(before.owners)
    placement = placement or before.placement
    if placement == "whole":
        stays = max(
            live,
            key=lambda s: (held[s], _lot(f"cache {before.cache}", s, live[s]), s),
        )
        owners: Sequence[str] = [stays] * len(SLOTS)
    else:
        room = quotas(live, held)
        owners = _fill(_keep(before.owners, room, live), room, live)
    return ShardMap(before.site, before.cache, placement, _by_name(weights), tuple(owners))


def moves(before: ShardMap, after: ShardMap) -> list[Move]:
    """List the slots whose server differs, in slot order."""
    return [
        Move(after.cache, slot, source, target)
        for slot, source, target in zip(SLOTS, before.owners, after.owners, strict=True)
        if source != target
    ]


def quotas(weights: Mapping[str, float], held: Mapping[str, int] | None = None) -> dict[str, int]:
    """Split the 256 slots by weight; no server is a whole slot off its exact share.

    Largest remainders are rounded up. Between equal ones, a server that would otherwise
    have to give a slot away (it has `held` too many) goes first, then the first by name.

    Raises:
        ShardMapError: no weight is above 0, or one is no number.
    """
    check_weights(weights)
    held = held or {}
    total = sum(map(Fraction, weights.values()))
    exact = {server: len(SLOTS) * Fraction(weight) / total for server, weight in weights.items()}
    shares = {server: math.floor(share) for server, share in exact.items()}
    left_over = len(SLOTS) - sum(shares.values())

    def rank(server: str) -> tuple[Fraction, bool, str]:
        return shares[server] - exact[server], held.get(server, 0) <= shares[server], server

    for server in sorted(shares, key=rank)[:left_over]:
        shares[server] += 1
    return shares


def check_weights(weights: Mapping[str, float]) -> None:
    """Refuse weights that no map can be made from.

    Raises:
        ShardMapError: no weight is above 0, or one is negative, infinite or no number.
    """
    for server, weight in weights.items():
        if not (math.isfinite(weight) and weight >= 0):
            raise ShardMapError(
                f"{weight} is not a weight",
                server=server,
                next_step="give every server a weight of 0 (it holds nothing) or more",
            )
    if not any(weights.values()):
        raise ShardMapError(
            "no server is left that may hold slots",
            next_step="give at least one server of the site a weight above 0",
        )


def _live(weights: Mapping[str, float]) -> dict[str, float]:
    check_weights(weights)
    return {server: weight for server, weight in weights.items() if weight > 0}


def _by_name(weights: Mapping[str, float]) -> dict[str, float]:
    return {server: float(weight) for server, weight in sorted(weights.items())}


def _lot(thing: str, server: str, weight: float) -> float:
    """Draw a server's lot for a slot or a cache; the greatest wins, in proportion to weight."""
    number = xxhash.xxh3_64_intdigest(f"{thing}\0{server}".encode(errors="surrogatepass"))
    return math.log((number + 1) / 2**64) / weight


def _best_first(weights: Mapping[str, float]) -> list[tuple[int, str]]:
    """All pairs of slot number and server, the best lot first."""
    lots = {
        (number, server): _lot(f"slot {slot}", server, weight)
        for number, slot in enumerate(SLOTS)
        for server, weight in weights.items()
    }
    return sorted(lots, key=lambda pair: (-lots[pair], pair))


def _keep(
    owners: Sequence[str], room: dict[str, int], weights: Mapping[str, float]
) -> list[str | None]:
    """Leave each server the best of its slots as far as its room goes; takes the room away."""
    kept: list[str | None] = [None] * len(SLOTS)
    for number, server in _best_first(weights):
        if owners[number] == server and room[server]:
            kept[number] = server
            room[server] -= 1
    return kept


def _fill(
    owners: Sequence[str | None], room: dict[str, int], weights: Mapping[str, float]
) -> list[str]:
    """Give the slots without owner to the servers that have room, the best lot first."""
    filled = dict(enumerate(owners))
    for number, server in _best_first(weights):
        if filled[number] is None and room[server]:
            filled[number] = server
            room[server] -= 1
    return [server for server in filled.values() if server is not None]
