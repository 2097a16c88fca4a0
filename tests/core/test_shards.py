"""Laws that a shard map obeys, whatever the servers and their weights are."""

import math
from collections import Counter
from fractions import Fraction
from itertools import permutations, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachemig.core.shards import SLOTS, ShardMap, moves, new_map, quotas, rebalance
from cachemig.errors import ShardMapError

some_weight = st.integers(1, 9) | st.floats(0.001, 1e6)
any_weight = st.just(0) | some_weight
fleets = st.dictionaries(
    st.sampled_from(["nfs-1", "nfs-2", "nfs-3", "nfs-4", "nfs-5", "nfs-6", "nfs-7"]),
    any_weight,
    min_size=1,
    max_size=7,
).filter(lambda weights: any(weights.values()))
placements = st.sampled_from(["slots", "whole"])


def surplus(before: ShardMap, share: dict[str, int]) -> int:
    """How many slots lie on servers over and above their share."""
    return sum(max(0, n - share.get(s, 0)) for s, n in Counter(before.owners).items())


@given(fleets)
def test_every_slot_has_one_owner_and_every_server_its_exact_share(weights):
    """The map is total, and the shares are those of the largest remainders."""
    made = new_map("west", "lmp-95", weights)

    assert [made.owner(slot) for slot in SLOTS] == list(made.owners)
    assert Counter(made.owners) == Counter(quotas(weights))


@given(fleets)
def test_no_server_is_a_whole_slot_off_its_share(weights):
    """Also where weights are floats far apart: nothing is lost in rounding."""
    total = sum(map(Fraction, weights.values()))

    assert sum(quotas(weights).values()) == len(SLOTS)
    for server, share in quotas(weights).items():
        assert abs(share - len(SLOTS) * Fraction(weights[server]) / total) < 1


@given(fleets, fleets)
def test_rebalance_moves_the_surplus_and_nothing_else(old, new):
    """A server over its share gives up just the excess; a server under it gives nothing."""
    before = new_map("west", "lmp-95", old)
    after = rebalance(before, new)
    share = Counter(after.owners)

    assert len(moves(before, after)) == surplus(before, share)
    assert not {move.source for move in moves(before, after)} & {
        server for server, held in Counter(before.owners).items() if held <= share[server]
    }


@given(fleets, fleets)
def test_no_fair_map_needs_fewer_moves(old, new):
    """Over every way to round the shares fairly: tried out, not derived."""
    before = new_map("west", "lmp-95", old)
    total = sum(map(Fraction, new.values()))
    exact = {s: len(SLOTS) * Fraction(w) / total for s, w in new.items()}
    floors = {s: math.floor(share) for s, share in exact.items()}
    left_over = len(SLOTS) - sum(floors.values())
    remainders = sorted((exact[s] - floors[s] for s in new), reverse=True)
    worst_taken = remainders[left_over - 1] if left_over else Fraction(2)
    fair = [
        {s: floors[s] + up for s, up in zip(new, ups, strict=True)}
        for ups in product((0, 1), repeat=len(new))
        if sum(ups) == left_over
        and all(
            (up or exact[s] - floors[s] <= worst_taken)
            and (not up or exact[s] - floors[s] >= worst_taken)
            for s, up in zip(new, ups, strict=True)
        )
    ]

    assert len(moves(before, rebalance(before, new))) == min(
        surplus(before, share) for share in fair
    )


@given(fleets, fleets, placements, placements)
def test_a_level_map_stays_as_it_is(old, new, first, second):
    """Rebalancing twice is the same as once, and a new map is level from the start."""
    made = new_map("west", "lmp-95", old, first)
    once = rebalance(made, new, second)

    assert rebalance(made, old) == made
    assert rebalance(once, new) == once


@given(fleets.filter(lambda weights: len(weights) <= 4), placements)
def test_the_order_of_the_servers_does_not_matter(weights, placement):
    """Two machines with the same servers make the same map, however they list them."""
    orders = [dict(order) for order in permutations(weights.items())]

    assert len({new_map("west", "c", order, placement).owners for order in orders}) == 1


@given(fleets, fleets, placements)
def test_a_drained_server_holds_nothing(old, new, placement):
    """Whether it is left out or has weight 0."""
    after = rebalance(new_map("west", "c", old, placement), new)

    assert all(new.get(owner, 0) > 0 for owner in after.owners)


@given(fleets, fleets)
def test_the_way_back_is_as_long_as_the_way_there(old, new):
    """Every move can be undone by one move."""
    before = new_map("west", "c", old)
    after = rebalance(before, new)

    back = {(m.slot, m.target, m.source) for m in moves(after, before)}
    assert back == {(m.slot, m.source, m.target) for m in moves(before, after)}


@given(fleets)
def test_a_whole_cache_has_one_owner(weights):
    """All 256 slots go to one live server."""
    owners = set(new_map("west", "c", weights, "whole").owners)

    assert len(owners) == 1
    assert weights[owners.pop()] > 0


def test_whole_caches_spread_by_weight():
    """Many customers, each with a cache of their own, fill a site evenly."""
    winners = Counter(
        new_map("west", f"customer-{n}", {"big": 3.0, "small": 1.0}, "whole").owners[0]
        for n in range(1000)
    )

    assert 700 < winners["big"] < 800


def test_a_whole_cache_stays_where_it_is_when_servers_join():
    """Only a server that leaves sends its caches away."""
    before = new_map("west", "c", {"nfs-1": 1}, "whole")

    assert not moves(before, rebalance(before, {"nfs-1": 1, "nfs-2": 99}))
    assert len(moves(before, rebalance(before, {"nfs-2": 1}))) == len(SLOTS)


def test_a_cache_gathered_into_one_goes_where_most_of_it_is():
    """Changing `slots` to `whole` moves the smaller part."""
    before = new_map("west", "c", {"nfs-1": 1, "nfs-2": 3})

    after = rebalance(before, {"nfs-1": 1, "nfs-2": 1}, "whole")

    assert set(after.owners) == {"nfs-2"}
    assert len(moves(before, after)) == 64


def test_a_fleet_that_grows_by_one_moves_a_share_and_no_more():
    """The number that an operator plans a night by."""
    before = new_map("west", "c", {"nfs-1": 1, "nfs-2": 1, "nfs-3": 1})
    after = rebalance(before, {"nfs-1": 1, "nfs-2": 1, "nfs-3": 1, "nfs-4": 1})

    changed = moves(before, after)
    assert len(changed) == 64
    assert {move.target for move in changed} == {"nfs-4"}
    assert changed == sorted(changed, key=lambda move: move.slot)


def test_between_equal_remainders_the_server_that_holds_too_much_goes_first():
    """The odd slot of 256 over three stays where it is."""
    before = new_map("west", "c", {"nfs-1": 1, "nfs-2": 1, "nfs-3": 1})
    assert Counter(before.owners)["nfs-1"] == 86

    after = rebalance(before, {"nfs-0": 1, "nfs-1": 1, "nfs-2": 1})

    assert Counter(after.owners) == {"nfs-0": 85, "nfs-1": 86, "nfs-2": 85}


def test_the_map_of_a_fleet_never_changes():
    """A changed formula would send every site's caches travelling; so it is pinned."""
    made = new_map("west", "c", {"nfs-1": 2.0, "nfs-2": 1.0})

    assert " ".join(made.slots_of("nfs-2")[:8]) == "00 01 08 0a 0f 18 1e 1f"


@pytest.mark.parametrize("weights", [{}, {"a": 0}, {"a": -1.0, "b": 2}, {"a": math.nan}])
def test_weights_that_make_no_map_are_refused(weights):
    """The error says so; it does not divide by zero."""
    with pytest.raises(ShardMapError):
        new_map("west", "c", weights)


@pytest.mark.parametrize(
    ("owners", "placement", "says"),
    [
        (("a",) * 255, "slots", "255 owners"),
        (("a",) * 255 + ("z",), "slots", "z, which has no weight"),
        (("a",) * 255 + ("b",), "whole", "more than one owner"),
    ],
)
def test_a_map_that_is_not_whole_can_not_be_made(owners, placement, says):
    """Nothing that holds a `ShardMap` needs to check it again."""
    with pytest.raises(ShardMapError, match=says):
        ShardMap("west", "c", placement, {"a": 1.0, "b": 1.0}, owners)


@pytest.mark.parametrize("slot", ["", "3F", "100", "zz"])
def test_there_are_256_slots_and_no_others(slot):
    """A wrong slot is an error, never some server."""
    with pytest.raises(ShardMapError, match="no slot"):
        new_map("west", "c", {"a": 1}).owner(slot)
