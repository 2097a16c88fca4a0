"""Lanes log in ahead of what they carry, few enough for any sshd, and none outlives its run."""

import os
from contextlib import closing
from pathlib import Path

import pytest

from cachemig.core.pair import Pair
from cachemig.engine.connections import log_in_for_a_first_sync
from cachemig.engine.lanes import Lanes
from cachemig.engine.routes import Detour, all_routes
from cachemig.errors import AccessError
from tests.e2e.battle import descendants, wait_until
from tests.engine.sites import Sites

FIRST = Pair("a", "x")
PAIRS = 6


@pytest.fixture
def sites(tmp_path: Path) -> Sites:
    """Three old servers and two new ones."""
    made = Sites(tmp_path)
    made.fill()
    return made


def lanes_of(sites: Sites) -> Lanes:
    """Lanes of a run between them."""
    ends = sites.config.site("old"), sites.config.site("new")
    return Lanes(sites.config, ends, all_routes(sites.config, *ends, Detour()), "run-1")


def ours() -> set[int]:
    """All processes below this one."""
    return set(descendants(os.getpid()))


def test_a_lane_that_logged_in_early_is_handed_out_first(sites: Sites) -> None:
    """To open it starts no process; the one after it is new."""
    before, early = ours(), 2 * PAIRS
    with closing(lanes_of(sites)) as lanes:
        lanes.log_in_early(1)
        wait_until(lambda: len(ours() - before) == early, "a mover and an end for each", 20)
        with closing(lanes.open(FIRST)):
            assert len(ours() - before) <= early
            with closing(lanes.open(FIRST)):
                wait_until(lambda: len(ours() - before) == early + 2, "a new lane", 20)


def test_lanes_that_nobody_took_end_with_the_run(sites: Sites) -> None:
    """No agent stays behind, also not of one that was still logging in."""
    before = ours()
    with closing(lanes_of(sites)) as lanes:
        lanes.log_in_early(2)

    wait_until(lambda: not ours() - before, "the end of all agents", 20)


@pytest.mark.parametrize(("wanted", "lanes_per_pair"), [(0, 0), (1, 1), (2, 2), (9, 2)])
def test_no_more_log_in_early_than_get_through_the_gate(
    sites: Sites, wanted: int, lanes_per_pair: int
) -> None:
    """An sshd drops logins beyond its MaxStartups: of three servers each gets two to a new one."""
    before = ours()
    with closing(lanes_of(sites)) as lanes:
        lanes.log_in_early(wanted)
        handed_out = [lanes.open(FIRST) for _ in range(lanes_per_pair + 1)]
        expected = 2 * PAIRS * lanes_per_pair + 2
        wait_until(lambda: len(ours() - before) >= expected, "the early lanes and one more", 20)
        for lane in handed_out:
            lane.close()
        wait_until(lambda: len(ours() - before) == expected - 2 * len(handed_out), "the rest", 20)


def test_why_an_early_lane_failed_is_told_to_who_wants_it(sites: Sites) -> None:
    """And the next one tries anew."""
    sites.root("x").rename(sites.root("elsewhere"))
    with closing(lanes_of(sites)) as lanes:
        lanes.log_in_early(1)
        with pytest.raises(AccessError, match="root is missing") as refused:
            lanes.open(FIRST)
        assert refused.value.server == "x"
        sites.root("elsewhere").rename(sites.root("x"))
        lanes.open(FIRST).close()


@pytest.mark.parametrize("synced", [False, True])
def test_lanes_log_in_early_when_nothing_was_ever_brought(sites: Sites, *, synced: bool) -> None:
    """Later runs know whether they need any."""
    if synced:
        sites.sync()
    ends = sites.config.site("old"), sites.config.site("new")
    before = ours()
    with closing(lanes_of(sites)) as lanes:
        log_in_for_a_first_sync(sites.config, ends, 1, lanes)
        with closing(lanes.open(FIRST)):
            expected = 2 if synced else 2 * PAIRS
            wait_until(lambda: len(ours() - before) == expected, f"{expected} processes", 20)
